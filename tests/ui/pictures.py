"""The pictures of the documentation: which there are, and how one is kept."""

import asyncio
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from playwright.async_api import Page

from gpu_tasks.contract.sentences import Language

DOCUMENTED = Path(__file__).parents[2] / "docs" / "screenshots"
PLACES = ("start", "compose", "task", "result", "history")
OPERATORS_PLACES = ("run", "artifacts", "sheet", "summary", "schedule", "automations")
_QUALITY = 72
_WIDEST_PX = 1280


class Look(NamedTuple):
    language: Language
    scheme: str
    device: str

    @property
    def name(self) -> str:
        return "-".join(self)


LOOKS = (
    Look(Language.JAPANESE, "light", "desktop"),
    Look(Language.ENGLISH, "dark", "desktop"),
    Look(Language.JAPANESE, "dark", "phone"),
    Look(Language.ENGLISH, "light", "phone"),
)
NAMES = frozenset(
    [f"{look.name}-{place}" for look in LOOKS for place in PLACES]
    + [f"operators-{place}" for place in OPERATORS_PLACES]
)


class Pictures(NamedTuple):
    """Those that one run of the tests makes."""

    folder: Path

    async def keep(self, page: Page, name: str) -> None:
        """Keep what is seen as a small file."""
        assert name in NAMES
        shot = await page.screenshot(animations="disabled")
        pixels = cv2.imdecode(np.frombuffer(shot, np.uint8), cv2.IMREAD_COLOR)
        assert pixels is not None
        if pixels.shape[1] > _WIDEST_PX:
            pixels = cv2.resize(pixels, None, fx=_WIDEST_PX / pixels.shape[1], fy=_WIDEST_PX / pixels.shape[1])
        _, packed = cv2.imencode(".webp", pixels, [cv2.IMWRITE_WEBP_QUALITY, _QUALITY])
        await asyncio.to_thread((self.folder / f"{name}.webp").write_bytes, packed.tobytes())
