"""The one place where the C2PA library is set up: nothing is fetched, nothing embedded, memory bounded."""

from typing import Any

import c2pa

from gpu_tasks.provenance.certificates import Trust

# Temporary files instead of memory above this size: halves the peak (measured, 271 MB file: 533 -> 275 MB).
_MEMORY_MEGABYTES = 16
# emailProtection and C2PA claim signing: the second alone is unknown to the library's defaults.
_KEY_USAGES = "1.3.6.1.5.5.7.3.4\n1.3.6.1.4.1.62558.2.1\n"
# Names of our lists of anchors. The library lets a list of the kind "tsa" vouch for signers too (0.91.3, measured), but
# says which list it was: only SIGNERS counts.
SIGNERS = "urn:lipswap:signers"
_CLOCKS = "urn:lipswap:clocks"


def context(trust: Trust | None = None) -> Any:  # noqa: ANN401  # c2pa publishes no types
    """Return a c2pa Context that believes `trust` and nobody else; close it, or use it as a context."""
    believed: dict[str, Any] = {"trust_config": _KEY_USAGES}
    if trust is not None:
        # The first list in which a root stands is the one that the library names.
        believed["anchors"] = [_anchors(trust.anchors_pem, "manifest", SIGNERS)]
        if trust.tsa_anchors_pem is not None:
            believed["anchors"].append(_anchors(trust.tsa_anchors_pem, "tsa", _CLOCKS))
    settings = {
        "trust": believed,
        # The library would otherwise embed pictures of the result, and of the source's face.
        "builder": {"thumbnail": {"enabled": False}},
        "core": {"backing_store_memory_threshold_in_mb": _MEMORY_MEGABYTES},
        # A file names the address of its manifest or of its certificate's revocation list: never ask there.
        "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
    }
    return c2pa.Context(settings=c2pa.Settings.from_dict(settings))


def _anchors(pem: str, kind: str, name: str) -> dict[str, str]:
    return {"trust_anchors": pem, "trust_kind": kind, "trust_uri": name}
