"""From what is on the page to the request that is sent."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from flows.request import PipelineRequest
from gpu_tasks.contract.options import EngineChoice, SyncMode
from ui_panel.media import Span
from ui_panel.state import PageState, Preset
from ui_panel.text import words

# Fields that controls of the page stand for; all others of a task that is done again are kept as they were.
SHOWN: Final = frozenset(
    {
        *("audio_key", "target_key", "source_keys", "engine", "sync_mode", "trim", "face_map", "consent"),
        *("retain_intermediate", "labels"),
    }
)
# Written by a task for itself: another one asks for new ones.
_OWN: Final = frozenset({"output_key", "wav2lip_output_key", "webhook_url"})
_ENGINES: Final[Mapping[Preset, EngineChoice]] = MappingProxyType(
    {Preset.QUICK: EngineChoice.DRAFT, Preset.STANDARD: EngineChoice.AUTO, Preset.FINE: EngineChoice.NEURAL}
)
# Twice the side of the crop that the default swapper works at, and an encoder that takes its time.
_FINE_SWAP: Final = {"face_swapper_pixel_boost": 512, "output_video_preset": "medium"}


def missing(state: PageState) -> tuple[str, ...]:
    """Name what a person still has to give, in the order of the page."""
    lacking = []
    if state.voice is None and not state.faces:
        lacking.append("voice")
    if state.video is None:
        lacking.append("video")
    if not state.basis or not state.declared_by.strip():
        lacking.append("consent")
    return tuple(lacking)


def has_media(state: PageState) -> bool:
    """Tell whether there is enough to ask what a run would take."""
    return state.video is not None and (state.voice is not None or bool(state.faces))


def compose(state: PageState, preset: Preset | None = None) -> PipelineRequest:
    """Return the request for what is on the page; `has_media` must hold.

    Raises:
        pydantic.ValidationError: What the page kept from an older task does not fit any more.
    """
    if state.video is None:
        raise ValueError("a request needs a video")
    chosen = preset or state.preset
    fields: dict[str, Any] = {name: value for name, value in state.extra.items() if name not in SHOWN | _OWN}
    if chosen is Preset.FINE and state.faces:
        fields["facefusion"] = {**_FINE_SWAP, **fields.get("facefusion", {})}
    face_map = [
        {"source_index": source, "position": position}
        for position, source in sorted(state.cast.items())
        if source < len(state.faces)
    ]
    if face_map:
        fields.pop("face_selection", None)
    return PipelineRequest.model_validate(
        {
            **fields,
            "audio_key": state.voice.key if state.voice else None,
            "target_key": state.video.key,
            "source_keys": [face.key for face in state.faces],
            "engine": _ENGINES[chosen],
            "sync_mode": state.sync_mode,
            "trim": None if state.span == Span() else state.span.model_dump(),
            "face_map": face_map,
            "retain_intermediate": state.retains,
            "consent": _consent(state),
            "labels": {"made-with": "page", "name": state.video.name[:256] or "video"},
        }
    )


def preset_of(request: Mapping[str, Any]) -> Preset:
    """Return the preset that comes nearest to a task's request."""
    engine = request.get("engine", EngineChoice.AUTO)
    return next((preset for preset, choice in _ENGINES.items() if choice == engine), Preset.STANDARD)


def result_seconds(mode: SyncMode, voice: float | None, video: float | None) -> float | None:
    """How long the result is, to within a frame (docs/lengths.md); None where a length is not known."""
    if video is None:
        return None
    if voice is None:
        return video
    match mode:
        case SyncMode.CUT_OFF:
            return min(voice, video)
        case SyncMode.SILENCE:
            return max(voice, video)
        case _:
            return voice


def _consent(state: PageState) -> dict[str, str] | None:
    if not state.basis or not state.declared_by.strip():
        return None
    said = words(state.language)
    return {
        "basis": state.basis,
        "statement": f"{said['consent.statement']} {said[f'consent.basis.{state.basis}']}",
        "declared_by": state.declared_by.strip()[:200],
    }
