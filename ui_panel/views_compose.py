"""What the composing half of the page shows, as plain data for its components."""

from typing import Any

from gpu_tasks.contract.consent import ConsentBasis
from gpu_tasks.contract.faults import Fault, FaultCode
from gpu_tasks.contract.looks import Estimate
from gpu_tasks.contract.options import SyncMode
from ui_panel.composing import has_media, missing, result_seconds
from ui_panel.media import Media
from ui_panel.showing import length
from ui_panel.state import PageState, Place, Preset, Route, Work
from ui_panel.text import advice, words

Shown = dict[str, Any]
MAX_FACES = 16


def hero(state: PageState, examples: tuple[str, ...]) -> Shown:
    """The words above, and the examples."""
    is_empty = not (state.voice or state.video or state.faces)
    return {
        "is_here": state.place is Place.COMPOSE,
        "examples": list(examples),
        "is_large": is_empty,
        "is_loading": Work.EXAMPLE in state.busy,
    }


def medium(state: PageState, slot: str) -> Shown:
    """The card of the voice or of the video."""
    media = state.voice if slot == "voice" else state.video
    return {
        "is_here": state.place is Place.COMPOSE,
        "slot": slot,
        "step": 1 if slot == "voice" else 2,
        "media": _media(media),
        "span": state.span.model_dump() if slot == "video" else None,
        "is_needed": slot == "video" or media is not None or not state.faces,
    }


def faces(state: PageState) -> Shown:
    """The card of the sources."""
    return {
        "is_here": state.place is Place.COMPOSE,
        "slot": "faces",
        "step": 3,
        "faces": [_media(face) for face in state.faces],
        "most": MAX_FACES,
    }


def choices(state: PageState) -> Shown:
    """Everything between the inputs and the button, and the button."""
    said = words(state.language)
    return {
        "is_here": state.place is Place.COMPOSE,
        "cast": _cast(state),
        "sync": _sync(state),
        "quality": [_quality(state, preset) for preset in Preset],
        "tells_costs": state.routes is None or state.offers(Route.ESTIMATE),
        "warnings": _warnings(state),
        "retains": state.retains if state.voice and state.faces else None,
        "preview": _preview(state),
        "consent": {
            "bases": [{"value": basis.value, "words": said[f"consent.basis.{basis.value}"]} for basis in ConsentBasis],
            "basis": state.basis,
            "name": state.declared_by,
        },
        "missing": list(missing(state)),
        "is_sending": Work.SENDING in state.busy,
        "is_away": state.is_api_away,
        "trouble": _trouble(state, state.trouble) if not state.is_api_away else None,
    }


def _media(media: Media | None) -> Shown | None:
    return media.model_dump(mode="json") if media else None


def _trouble(state: PageState, fault: Fault | None) -> Shown | None:
    return {"sentence": advice(fault, state.language), "code": fault.code.value} if fault else None


def _cast(state: PageState) -> Shown:
    found = state.found
    return {
        "is_shown": bool(state.faces and state.video),
        "is_missing": Route.FACES in state.lacks,
        "is_finding": Work.FACES in state.busy,
        "trouble": _trouble(state, state.looks_fault) if found is None else None,
        "faces": None
        if found is None
        else [
            {
                "position": face.position,
                "url": face.crop_url,
                "percent": round(face.coverage_percent),
                "source": state.cast.get(face.position),
            }
            for face in found.faces
        ],
        "sources": [{"name": face.name, "url": face.url, "key": face.key} for face in state.faces],
    }


def _sync(state: PageState) -> Shown:
    said = words(state.language)
    voice = state.voice.seconds if state.voice else None
    whole = state.video.seconds if state.video else None
    video = state.span.seconds_of(whole) if whole is not None else None
    longest = max((seconds for seconds in (voice, video) if seconds), default=0.0)
    # Of a file that this browser cannot read, the service still tells what comes of the choice.
    answer = state.estimates.get(state.preset)
    told = answer.duration_sec if isinstance(answer, Estimate) else None
    modes = []
    for mode in SyncMode:
        result = result_seconds(mode, voice, video) if voice and video else told if mode is state.sync_mode else None
        modes.append(
            {
                "value": mode.value,
                "title": said[f"sync.{mode.value}"],
                "words": said[f"sync.{mode.value}_words"],
                "seconds": result,
                "length": said["sync.length"].format(length=length(result, said)) if result else "",
                "share": result / longest if result and longest else None,
            }
        )
    return {
        "is_shown": state.voice is not None and state.video is not None,
        "value": state.sync_mode.value,
        "modes": modes,
        "unknown": said["sync.unknown_told"] if told else said["sync.unknown"],
        "voice": voice,
        "video": video,
        "voice_share": voice / longest if voice and longest else None,
        "video_share": video / longest if video and longest else None,
    }


def _quality(state: PageState, preset: Preset) -> Shown:
    said = words(state.language)
    answer = state.estimates.get(preset)
    shown: Shown = {
        "value": preset.value,
        "title": said[f"quality.{preset.value}"],
        "words": said[f"quality.{preset.value}_words"],
        "is_chosen": state.preset is preset,
        "is_asking": answer is None and has_media(state) and state.offers(Route.ESTIMATE),
        "cost": "",
        "reason": "",
    }
    if isinstance(answer, Fault):
        shown["reason"] = said["quality.unavailable"].format(reason=advice(answer, state.language))
    elif answer is not None:
        shown["cost"] = _cost(answer, state)
    return shown


def _cost(estimate: Estimate, state: PageState) -> str:
    said = words(state.language)
    if estimate.stages and all(stage.cached for stage in estimate.stages):
        return said["quality.cached"]
    told = [said["quality.wall"].format(time=length(estimate.wall_seconds, said))]
    if estimate.usd is not None:
        usd = f"{estimate.usd:.3f}" if estimate.usd < 1 else f"{estimate.usd:.2f}"
        told.append(said["quality.usd"].format(usd=usd))
    elif estimate.gpu_seconds > 0:
        told.append(said["quality.gpu"].format(seconds=length(estimate.gpu_seconds, said)))
    else:
        told.append(said["quality.free"])
    return " · ".join(told)


def _warnings(state: PageState) -> list[str]:
    answer = state.estimates.get(state.preset)
    notices = answer.warnings if isinstance(answer, Estimate) else ()
    # That there is no face is told beside the faces.
    found = [one for one in state.found.warnings if one.code != FaultCode.NO_FACE_DETECTED] if state.found else ()
    said = words(state.language)
    told = (said.get(f"warning.{notice.code}", notice.sentence) for notice in (*notices, *found))
    return list(dict.fromkeys(told))


def _preview(state: PageState) -> Shown:
    made = state.preview
    whole = state.video.seconds if state.video else None
    voice = state.voice.seconds if state.voice else None
    video = state.span.seconds_of(whole) if whole is not None else None
    return {
        "is_shown": has_media(state),
        "is_missing": Route.PREVIEW in state.lacks,
        "is_making": Work.PREVIEW in state.busy,
        "kind": state.preview_kind.value,
        "longest": result_seconds(state.sync_mode, voice, video),
        "made": {"url": made.url, "media_type": made.media_type, "width": made.width, "height": made.height}
        if made
        else None,
        "trouble": _trouble(state, state.looks_fault),
    }
