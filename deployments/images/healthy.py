"""Whether the process in this container answers: `python healthy.py http://127.0.0.1:8000/health`. For HEALTHCHECK."""

import sys
import urllib.request
from http import HTTPStatus

_SECONDS = 5.0
_ARGUMENTS = 2


def main() -> int:
    """Return 0 when the address answers with 200, and 1 otherwise, as Docker wants it."""
    if len(sys.argv) != _ARGUMENTS or not sys.argv[1].startswith("http://127.0.0.1:"):
        sys.stderr.write("usage: healthy.py http://127.0.0.1:PORT/PATH\n")
        return 1
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(sys.argv[1], timeout=_SECONDS) as answer:
            return 0 if answer.status == HTTPStatus.OK else 1
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
