"""The bundled samples as examples: sent to the bucket when somebody asks for one, once per process."""

import asyncio
from pathlib import Path
from types import MappingProxyType
from typing import Final

from pydantic import BaseModel, ConfigDict

from api_shim.client import Kind
from ui_panel.door import Door
from ui_panel.media import Media, Slot


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)

    slot: Slot
    file: str
    kind: Kind
    media_type: str


_VOICE: Final = _Part(slot=Slot.VOICE, file="speech.wav", kind="audio", media_type="audio/wav")
_VIDEO: Final = _Part(slot=Slot.VIDEO, file="target.mp4", kind="video", media_type="video/mp4")
_FACE: Final = _Part(slot=Slot.FACES, file="source.jpg", kind="source", media_type="image/jpeg")
EXAMPLES: Final = MappingProxyType({"both": (_VOICE, _VIDEO, _FACE), "lips": (_VOICE, _VIDEO), "swap": (_VIDEO, _FACE)})


class Examples:
    """Knows which samples are there; their folder is also served, so that a browser shows them at once."""

    def __init__(self, folder: Path | None, door: Door) -> None:
        self.folder = folder
        self._door = door
        self._stored: dict[str, Media] = {}
        self._lock = asyncio.Lock()

    @property
    def names(self) -> tuple[str, ...]:
        """Examples of which every file is there."""
        if self.folder is None:
            return ()
        folder = self.folder
        return tuple(name for name, parts in EXAMPLES.items() if all((folder / part.file).is_file() for part in parts))

    async def media(self, name: str) -> dict[Slot, Media]:
        """Store an example's files and return them.

        Raises:
            ClientError: As the client's upload.
            KeyError: There is no such example.
        """
        if name not in self.names or self.folder is None:
            raise KeyError(name)
        async with self._lock:
            found = {}
            for part in EXAMPLES[name]:
                if part.file not in self._stored:
                    path = self.folder / part.file
                    answer = await self._door.upload(path, kind=part.kind)
                    self._stored[part.file] = Media(
                        key=answer.key, name=part.file, size=answer.size, media_type=part.media_type
                    )
                found[part.slot] = self._stored[part.file]
            return found
