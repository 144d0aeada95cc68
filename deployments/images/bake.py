"""Fetches models into an image while it is built: `MODELS="wav2lip gfpgan_1.4" python bake.py`.

Nothing named is nothing fetched: the models then lie on a volume. A licence that must be acknowledged is acknowledged
by whoever builds, in LIPSWAP_ACKNOWLEDGED_LICENCES.
"""

import os
import sys
import urllib.request

from gpu_tasks.contract.faults import FaultError
from gpu_tasks.downloads import DownloadLimits
from gpu_tasks.settings import WeightSettings
from gpu_tasks.weights import open_weights


def main() -> int:
    """Return 0 when every named model is there and right."""
    store = open_weights(WeightSettings())
    store.folder.mkdir(parents=True, exist_ok=True)
    limits = DownloadLimits(proxies=urllib.request.getproxies())
    try:
        asked = os.environ.get("MODELS", "").split()
        names = dict.fromkeys(needed for name in asked for needed in store.manifest.with_needs(name))
        for name in names:
            store.check_licence(name)
        for name in names:
            sys.stdout.write(f"{name}: {store.pull(name, limits=limits)}\n")
    except FaultError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
