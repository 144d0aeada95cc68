"""The Prefect server on our Postgres: loopback, no analytics, everything it writes inside the data directory.

Whoever reaches its API reads secrets out of blocks and has flows run as the stack's user; on a machine with several
accounts that is every one of them, so a stack that is left running asks for a login.
"""

import base64
import sys

from pydantic import BaseModel, ConfigDict, SecretStr

from deployments.local.http_probe import ask
from deployments.local.layout import HOST, DataDirectory, Ports
from deployments.local.postgres_server import PostgresAddress
from deployments.local.processes import Program, base_environment
from deployments.local.services import Service, ServiceName


class PrefectAddress(BaseModel):
    """Where programs and people reach Prefect, and the `name:password` it asks for, if it asks."""

    model_config = ConfigDict(frozen=True)

    api_url: str
    ui_url: str
    login: SecretStr | None

    @property
    def headers(self) -> dict[str, str]:
        """What a request needs to be let in."""
        if self.login is None:
            return {}
        return {"Authorization": f"Basic {base64.b64encode(self.login.get_secret_value().encode()).decode()}"}


def prefect_address(ports: Ports, login: SecretStr | None) -> PrefectAddress:
    """Return where this stack's Prefect server listens."""
    ui = f"http://{HOST}:{ports.prefect}"
    return PrefectAddress(api_url=f"{ui}/api", ui_url=ui, login=login)


def prefect_environment(directory: DataDirectory, address: PrefectAddress, process: str) -> dict[str, str]:
    """Return what every process that imports prefect gets: its home (profiles, storage) is its own directory."""
    login = {} if address.login is None else {"PREFECT_API_AUTH_STRING": address.login.get_secret_value()}
    return base_environment(directory.home) | {
        "PREFECT_HOME": str(directory.of(process) / "prefect"),
        "PREFECT_API_URL": address.api_url,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
        "PREFECT_CLI_PROMPT": "false",
        "PREFECT_LOGGING_EXTRA_LOGGERS": "flows,blocks,gpu_tasks",
        "PREFECT_LOGGING_COLORS": "false",
        **login,
    }


def prefect_service(directory: DataDirectory, postgres: PostgresAddress, address: PrefectAddress, port: int) -> Service:
    """Return the Prefect server, with its page, as a service."""
    name = ServiceName.PREFECT_SERVER
    home = directory.of(name)
    origins = f"http://{HOST}:{port},http://localhost:{port}"
    login = {} if address.login is None else {"PREFECT_SERVER_API_AUTH_STRING": address.login.get_secret_value()}
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
                **login,
            },
        ),
        depends_on=frozenset({ServiceName.POSTGRES}),
        probe=lambda: _probe(address),
        start_seconds=90.0,
        stop_seconds=3.0,
    )


async def _probe(address: PrefectAddress) -> None:
    await ask(f"{address.api_url}/health")
    await ask(f"{address.api_url}/admin/version", headers=address.headers)
