"""Options that make a request's jobs its own: simulated workers refuse none of them."""

from typing import Any
from uuid import uuid4

_BLENDINGS, _SHIFTS = 101, 51
OPTIONS = _BLENDINGS * _SHIFTS


def options_of(number: int) -> dict[str, Any]:
    """Return the options of request `number` of at most OPTIONS; no stage of one is a stage of another."""
    return {
        "wav2lip": {"blending": number % _BLENDINGS, "audio_shift": number // _BLENDINGS % _SHIFTS - 25},
        "facefusion": {"face_swapper_weight": number % OPTIONS / OPTIONS},
    }


def own_options() -> dict[str, Any]:
    """Return options that hardly anybody else has."""
    return options_of(uuid4().int % OPTIONS)
