"""What can go wrong with a deployment, each with a sentence that names the thing and the fix.

DeployError
├── DeclarationError   the file, or a variable it names, cannot be used: nothing was asked of anybody
├── PreflightError     the account or a registry cannot give what is declared: nothing was changed
├── PrefectError       Prefect's server refused what was asked of it, or is not there
└── AccountError       RunPod refused a request or did not answer it
    └── AnswerLostError    a write was sent and its answer lost: `apply` again finds out what became of it
"""


class DeployError(Exception):
    """A deployment cannot be planned or carried out; the message says why, and what to do."""


class DeclarationError(DeployError):
    """The declaration cannot be used."""


class PreflightError(DeployError):
    """What is declared cannot be had."""


class PrefectError(DeployError):
    """The Prefect server refused, or cannot be reached."""


class AccountError(DeployError):
    """RunPod refused, or cannot be reached."""


class AnswerLostError(AccountError):
    """Nobody knows whether the last write was carried out."""
