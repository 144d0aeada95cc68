"""How confined work can end without an answer.

FaultError                  what the function itself found out
ConfinedError
├── TooMuchError            it took more CPU time, memory or disk than it may
├── TooLongError            its deadline has passed
├── BrokenError             it died by itself, or wrote something that is no reply: it was made to by the file
├── StumbledError           it raised what it does not announce; the trace is in the log
├── KilledError             somebody else ended it or its template, as the memory guard of the system does
└── NotStartedError         there is no template: our own fault
"""


class ConfinedError(Exception):
    """Confined work ended without an answer."""


class TooMuchError(ConfinedError):
    """It took more CPU time, memory or disk than it may."""


class TooLongError(ConfinedError):
    """Its deadline has passed."""


class BrokenError(ConfinedError):
    """It died by itself, or wrote something that is no reply."""


class StumbledError(ConfinedError):
    """It raised what it does not announce."""


class KilledError(ConfinedError):
    """It was ended from outside."""


class NotStartedError(ConfinedError):
    """The template did not start."""
