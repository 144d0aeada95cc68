"""`python -m api_shim`: the shim as a process."""

import copy
import logging
from typing import Any

import uvicorn
import uvicorn.config

from api_shim.app import create_app
from api_shim.auth import HOOKS
from api_shim.settings import ShimSettings

_SHUTDOWN_SECONDS = 2


class _WithoutQuery(logging.Filter):
    """Cuts the query off an access line, and the token off a hook's: callers put secrets and signatures there."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple) and len(record.args) > 2:  # noqa: PLR2004  # client, method, path, ...
            client, method, path, *rest = record.args
            told = str(path).partition("?")[0]
            record.args = (client, method, HOOKS if told.startswith(HOOKS) else told, *rest)
        return True


def _log_config() -> dict[str, Any]:
    config = copy.deepcopy(uvicorn.config.LOGGING_CONFIG)
    config["filters"] = {"without_query": {"()": _WithoutQuery}}
    config["handlers"]["access"]["filters"] = ["without_query"]
    config["loggers"]["api_shim"] = {"handlers": ["default"], "level": "INFO", "propagate": False}
    return config


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    settings = ShimSettings()
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        log_config=_log_config(),
        # Whoever waits with wait=true asks again elsewhere.
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        server_header=False,
    )


if __name__ == "__main__":
    main()
