"""`python -m api_shim`: the shim as a process."""

import copy
import gc
import logging
from typing import Any

import uvicorn
import uvicorn.config

from api_shim.app import create_app
from api_shim.auth import HOOKS
from api_shim.patience import protocol
from api_shim.settings import ShimSettings
from blocks.logs import JsonLines, LogFormat, Redacting
from gpu_tasks import tracing

_SHUTDOWN_SECONDS = 2
# Longer than clients and proxies (Caddy: two minutes) keep a connection that nobody uses: whoever sends a POST over one
# that is just being closed cannot know whether it arrived.
_KEEP_ALIVE_SECONDS = 130


class _WithoutQuery(logging.Filter):
    """Cuts the query off an access line, and the token off a hook's: callers put secrets and signatures there."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple) and len(record.args) > 2:  # noqa: PLR2004  # client, method, path, ...
            client, method, path, *rest = record.args
            told = str(path).partition("?")[0]
            record.args = (client, method, HOOKS if told.startswith(HOOKS) else told, *rest)
        return True


def _log_config(log_format: LogFormat) -> dict[str, Any]:
    config = copy.deepcopy(uvicorn.config.LOGGING_CONFIG)
    config["filters"] = {"without_query": {"()": _WithoutQuery}}
    config["handlers"]["access"]["filters"] = ["without_query"]
    if log_format is LogFormat.JSON:
        for formatter in config["formatters"]:
            config["formatters"][formatter] = {"()": JsonLines}
    else:
        config["formatters"]["default"] = {
            "()": Redacting,
            "inner": logging.Formatter("%(levelname)s:     %(message)s"),
        }
    config["loggers"]["blocks"] = {"handlers": ["default"], "level": "INFO", "propagate": False}
    config["loggers"]["api_shim"] = {"handlers": ["default"], "level": "INFO", "propagate": False}
    return config


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    settings = ShimSettings()
    tracing.set_up("lipswap-api", settings.otel_endpoint)
    app = create_app(settings)
    # Two hundred thousand objects that stay for good: looked through again and again they would hold up requests, and
    # what requests leave behind would be let lie until it were worth looking through so many.
    gc.collect()
    gc.freeze()
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        log_config=_log_config(settings.log_format),
        http=protocol(settings.head_seconds),
        # Whoever waits with wait=true asks again elsewhere.
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        server_header=False,
    )


if __name__ == "__main__":
    main()
