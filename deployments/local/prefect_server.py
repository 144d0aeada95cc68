"""The Prefect server on our Postgres: loopback, no analytics, everything it writes inside the data directory."""

import sys

from pydantic import BaseModel, ConfigDict

from deployments.local.http_probe import ask
from deployments.local.layout import HOST, DataDirectory, Ports
from deployments.local.postgres_server import PostgresAddress
from deployments.local.processes import Program, base_environment
from deployments.local.services import Service, ServiceName


class PrefectAddress(BaseModel):
    """Where programs and people reach Prefect."""

    model_config = ConfigDict(frozen=True)

    api_url: str
    ui_url: str


def prefect_address(ports: Ports) -> PrefectAddress:
    """Return where this stack's Prefect server listens."""
    ui = f"http://{HOST}:{ports.prefect}"
    return PrefectAddress(api_url=f"{ui}/api", ui_url=ui)


def prefect_environment(directory: DataDirectory, address: PrefectAddress, process: str) -> dict[str, str]:
    """Return what every process that imports prefect gets: its home (profiles, storage) is its own directory."""
    return base_environment(directory.home) | {
        "PREFECT_HOME": str(directory.of(process) / "prefect"),
        "PREFECT_API_URL": address.api_url,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
        "PREFECT_CLI_PROMPT": "false",
        "PREFECT_LOGGING_EXTRA_LOGGERS": "flows,blocks,gpu_tasks",
        "PREFECT_LOGGING_COLORS": "false",
    }


def prefect_service(directory: DataDirectory, postgres: PostgresAddress, address: PrefectAddress, port: int) -> Service:
    """Return the Prefect server, with its page, as a service."""
    name = ServiceName.PREFECT_SERVER
    home = directory.of(name)
    origins = f"http://{HOST}:{port},http://localhost:{port}"
    return Service(
        name=name,
        program=Program(
            command=(
                *(sys.executable, "-m", "prefect", "server", "start"),
                *("--host", HOST, "--port", str(port), "--analytics-off"),
            ),
            log_path=directory.log(name),
            directory=home,
            environment=prefect_environment(directory, address, name)
            | {
                "PREFECT_SERVER_DATABASE_CONNECTION_URL": postgres.url().get_secret_value(),
                "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
                "PREFECT_SERVER_UI_ENABLED": "true",
                "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
                # The page's files are copied at the first start; the environment may not be ours to write to.
                "PREFECT_UI_STATIC_DIRECTORY": str(home / "page"),
                # By default any web page may read this API.
                "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": origins,
                # Events are most of the database: 118 MB after 960 runs with the default of seven days (measured).
                "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": "P2D",
                "PREFECT_SERVER_EVENTS_MAXIMUM_WEBSOCKET_BACKFILL": "PT15M",
            },
        ),
        depends_on=frozenset({ServiceName.POSTGRES}),
        probe=lambda: _probe(address),
        start_seconds=90.0,
        stop_seconds=3.0,
    )


async def _probe(address: PrefectAddress) -> None:
    await ask(f"{address.api_url}/health")
    await ask(f"{address.api_url}/admin/version")
