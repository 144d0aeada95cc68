"""How lengths, sizes and times are told."""

from collections.abc import Mapping

_MINUTE = 60
_HOUR = 3600


def length(seconds: float | None, said: Mapping[str, str]) -> str:
    """Return a duration in words, rounded to what matters."""
    if seconds is None:
        return ""
    if seconds < _MINUTE:
        shown = f"{seconds:.1f}".removesuffix(".0") if seconds < _MINUTE / 6 else f"{seconds:.0f}"
        return said["time.seconds"].format(count=shown)
    if seconds < _HOUR:
        minutes, rest = divmod(round(seconds), _MINUTE)
        told = said["time.minutes"].format(count=minutes)
        return f"{told} {said['time.seconds'].format(count=rest)}" if rest and minutes < _MINUTE / 6 else told
    hours, rest = divmod(round(seconds), _HOUR)
    return said["time.hours"].format(hours=hours, minutes=rest // _MINUTE)
