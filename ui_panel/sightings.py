"""Files of the page as browsers see them: in the bucket, under addresses that are signed and run out."""

import asyncio

from api_shim.calls import ApiError, ApiUnreachableError
from ui_panel.door import Door
from ui_panel.media import Media
from ui_panel.state import PageState


async def seen(media: Media | None, door: Door) -> Media | None:
    """Return a file with an address of now, without one while nobody can sign, None when it is gone from the bucket."""
    if media is None:
        return None
    try:
        return media.seen_at(await door.look_up(media.key))
    except ApiUnreachableError:
        return media.seen_at(None)
    except ApiError:
        return None


async def sign_anew(state: PageState, door: Door) -> None:
    """Give everything on the page an address of now; what is gone stays until a person removes it."""
    files = (state.voice, state.video, *state.faces)
    voice, video, *faces = await asyncio.gather(*(seen(media, door) for media in files))
    state.param.update(
        voice=voice or state.voice,
        video=video or state.video,
        faces=tuple(new or old for new, old in zip(faces, state.faces, strict=True)),
    )
