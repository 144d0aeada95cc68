"""What can go wrong with Content Credentials.

FaultError
└── ProvenanceError       a file could not be signed
ValueError
└── SigningSettingsError  certificates, key or anchors are not usable: said at the start of a process
"""

from gpu_tasks.contract.faults import FaultError


class ProvenanceError(FaultError):
    """A file could not be signed, or not be looked at."""


class SigningSettingsError(ValueError):
    """The certificates, the key or the anchors that the settings name cannot be used; the sentence says why."""
