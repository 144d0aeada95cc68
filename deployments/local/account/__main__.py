"""`python -m deployments.local.account FOLDER PORT WORKER_QUOTA`; the key comes from RUNPOD_API_KEY.

Its first line on standard output is its address; port 0 is any free one.
"""

import os
import socket
import sys
from pathlib import Path

from aiohttp import web

from deployments.local.account.server import LocalAccount, LocalAccountV2, account_app
from deployments.local.layout import HOST

_ARGUMENTS = 4
_BAD_USAGE = 2


def main() -> int:
    """Serve until SIGTERM or Ctrl-C; 2 for wrong usage."""
    key = os.environ.get("RUNPOD_API_KEY")
    if len(sys.argv) != _ARGUMENTS or not key:
        sys.stderr.write("usage: RUNPOD_API_KEY=... python -m deployments.local.account FOLDER PORT WORKER_QUOTA\n")
        return _BAD_USAGE
    folder, quota = Path(sys.argv[1]), int(sys.argv[3])
    accounts = tuple(kind(folder / f"{kind.version}.json", quota) for kind in (LocalAccount, LocalAccountV2))
    with socket.create_server((HOST, int(sys.argv[2]))) as listening:
        sys.stdout.write(f"http://{HOST}:{listening.getsockname()[1]}\n")
        sys.stdout.flush()
        web.run_app(account_app(accounts, key), sock=listening, print=None)
    return 0


if __name__ == "__main__":
    sys.exit(main())
