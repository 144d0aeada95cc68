"""All checks, one after the other; each takes a moment, changes nothing and asks no network."""

from collections.abc import Iterator
from pathlib import Path

from deployments.doctor.environment import (
    look_at_codecs,
    look_at_models,
    look_at_packages,
    look_at_python,
    needed_packages,
)
from deployments.doctor.findings import Finding
from deployments.doctor.machine import (
    look_at_account,
    look_at_clock,
    look_at_data_folder,
    look_at_disk,
    look_at_memory,
    look_for_chromium,
)
from deployments.doctor.stack import SERVERS, look_at_ports, look_at_server, look_at_stack


def examine(data: Path) -> Iterator[Finding]:
    """Yield what each check finds.

    Args:
        data: The data folder of the local stack; need not exist.
    """
    yield look_at_python()
    yield look_at_packages(needed_packages())
    yield look_at_codecs()
    yield look_at_models()
    yield look_at_disk(data)
    yield look_at_memory()
    yield look_at_data_folder(data)
    yield look_at_account()
    yield look_at_ports(data)
    yield look_at_stack(data)
    for server in SERVERS:
        yield look_at_server(server)
    yield look_at_clock()
    yield look_for_chromium()
