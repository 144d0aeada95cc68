"""Files of the page as browsers see them: in the bucket, under addresses that are signed and run out."""

import asyncio

from api_shim.calls import ClientError
from gpu_tasks.contract.faults import FaultCode
from ui_panel.door import Door
from ui_panel.media import Media
from ui_panel.state import PageState

_GONE = frozenset({FaultCode.OBJECT_MISSING, FaultCode.KEY_NOT_ALLOWED})


async def seen(media: Media | None, door: Door) -> Media | None:
    """Return a file with an address of now, without one while nobody can sign, None when it is gone from the bucket."""
    if media is None:
        return None
    try:
        return media.seen_at(await door.look_up(media.key))
    except ClientError as error:
        # A service that is busy or away for a moment says nothing of the file.
        return None if error.fault.code in _GONE else media.seen_at(None)


async def sign_anew(state: PageState, door: Door) -> None:
    """Give everything on the page an address of now; what is gone stays until a person removes it."""
    files = (state.voice, state.video, *state.faces)
    found = await asyncio.gather(*(seen(media, door) for media in files))
    urls = {media.key: media.url for media in found if media and media.url}

    def signed(media: Media) -> Media:
        return media.seen_at(urls.get(media.key, media.url))

    # A person may have put something else there meanwhile.
    state.param.update(
        voice=state.voice and signed(state.voice),
        video=state.video and signed(state.video),
        faces=tuple(signed(face) for face in state.faces),
    )
