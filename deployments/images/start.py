"""Entry point of the containers: secrets from files into the environment, then the command takes this process's place.

`NAME_FILE=/run/secrets/name` gives NAME, for the variables that hold secrets, Prefect's own among them: container
engines hand secrets over as files, and a variable in a compose file is in everybody's `docker inspect`.
"""

import os
import sys
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Final, NoReturn

SECRETS: Final = (
    "CLOUDFLARE_API_TOKEN",
    "FF_API_SECRET",
    "JOBSTORE_REDIS_URL",
    "LIPSWAP_ALERT_URL",
    "LIPSWAP_PAGE_COOKIE_SECRET",
    "LIPSWAP_PAGE_PASSWORD",
    "LIPSWAP_RUNPOD_HOOK_TOKEN",
    "LIPSWAP_WEBHOOK_SECRET",
    "PANEL_OAUTH_SECRET",
    "PREFECT_API_AUTH_STRING",
    "PREFECT_API_KEY",
    "PREFECT_REDIS_MESSAGING_URL",
    "PREFECT_SERVER_API_AUTH_STRING",
    "PREFECT_SERVER_DATABASE_CONNECTION_URL",
    "PREFECT_SERVER_DOCKET_URL",
    "PREFECT_SERVER_ENCRYPTION_KEY",
    "R2_ACCESS_KEY_ID",
    "R2_SECRET_ACCESS_KEY",
    "RUNPOD_API_KEY",
)
_BAD_USAGE: Final = 2
_LARGEST_BYTES: Final = 64 * 1024


class SecretFileError(ValueError):
    """A file that should hold a secret cannot be used; the sentence names the variable, never a value."""


def secrets_from_files(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what the files hold, by variable; the line end that editors put behind it is not part of a secret.

    Raises:
        SecretFileError: A file cannot be read or is empty, or a secret is given in both ways.
    """
    found = {}
    for name in SECRETS:
        path = environment.get(f"{name}_FILE")
        if not path:
            continue
        if environment.get(name):
            raise SecretFileError(f"Both {name} and {name}_FILE are set; remove one.")
        try:
            with Path(path).open("rb") as file:
                value = file.read(_LARGEST_BYTES).decode().strip("\r\n")
        except OSError as error:
            raise SecretFileError(f"{name}_FILE: {path} cannot be read: {error.strerror}.") from error
        except UnicodeDecodeError as error:
            raise SecretFileError(f"{name}_FILE: {path} is no text.") from error
        if not value:
            raise SecretFileError(f"{name}_FILE: {path} is empty.")
        found[name] = value
    return found


def prepare(environment: MutableMapping[str, str]) -> None:
    """Put the secrets into an environment in the place of their files.

    Raises:
        SecretFileError: As `secrets_from_files`.
    """
    for name, value in secrets_from_files(environment).items():
        environment[name] = value
        del environment[f"{name}_FILE"]


def main() -> NoReturn:
    """Become the command; exits with 2 for wrong usage and 1 for a secret that cannot be read."""
    if not sys.argv[1:]:
        sys.stderr.write("usage: python -m deployments.images.start COMMAND [ARGUMENT]...\n")
        sys.exit(_BAD_USAGE)
    try:
        prepare(os.environ)
    except SecretFileError as error:
        sys.exit(str(error))
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606  # the container's own command


if __name__ == "__main__":
    main()
