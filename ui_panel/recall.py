"""A task's request back onto the page, to be changed and sent again."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from gpu_tasks.contract.options import SyncMode
from ui_panel.composing import SHOWN, preset_of
from ui_panel.door import Door
from ui_panel.media import Media, Span
from ui_panel.sightings import seen
from ui_panel.state import PageState, Place


async def recall(state: PageState, request: Mapping[str, Any], door: Door) -> None:
    """Fill the page with a request. Consent is not kept in records: it is declared anew."""
    target = await _media(door, request.get("target_key"), str((request.get("labels") or {}).get("name", "")))
    sources = [await _media(door, key) for key in request.get("source_keys") or ()]
    trim = request.get("trim") or {}
    # Sources behind one that is gone move up; what it was cast for keeps its own face.
    left = [source for source, media in enumerate(sources) if media]
    cast = {
        entry["position"]: left.index(entry["source_index"])
        for entry in request.get("face_map") or ()
        if entry.get("position") is not None and entry["source_index"] in left
    }
    state.param.update(
        place=Place.COMPOSE,
        voice=await _media(door, request.get("audio_key")),
        video=target,
        faces=tuple(media for media in sources if media),
        span=Span(start=trim.get("start") or 0.0, end=trim.get("end")),
        sync_mode=SyncMode(request.get("sync_mode") or SyncMode.LOOP),
        preset=preset_of(request),
        retains=bool(request.get("retain_intermediate", True)),
        found=None,
        cast=cast,
        extra={name: value for name, value in request.items() if name not in SHOWN},
        basis="",
    )


async def _media(door: Door, key: object, name: str = "") -> Media | None:
    if not isinstance(key, str):
        return None
    try:
        media = Media(key=key, name=name or key.rpartition("/")[2])
    except ValidationError:
        # An object that clients may not name.
        return None
    return await seen(media, door)
