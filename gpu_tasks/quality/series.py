"""The curves behind the figures, for pictures of them and for finding the frames to look at."""

from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpu_tasks.quality.agreement import Agreement
from gpu_tasks.quality.looking import Seen
from gpu_tasks.quality.steadiness import flicker_ratio
from gpu_tasks.quality.voice import Voice


class Series(NamedTuple):
    """One value per frame of the result; what was not measured is NaN, or not among the keys.

    Attributes:
        flicker: Levels in grey values, of the result and of the target where there is one.
        outside: PSNR in dB.
    """

    fps: Fraction
    seen: Seen
    voice: Voice | None
    agreement: Agreement | None
    flicker: dict[int, tuple[float, ...]]
    outside: dict[int, float]

    @property
    def outside_db(self) -> NDArray[np.float64]:
        """PSNR outside the face, (frames,)."""
        curve = np.full(len(self.seen.opening), np.nan)
        curve[list(self.outside)] = list(self.outside.values())
        return curve

    @property
    def flicker_ratios(self) -> NDArray[np.float64]:
        """Flicker of the result to that of the target, (frames,); all NaN without a target."""
        curve = np.full(len(self.seen.opening), np.nan)
        both = {frame: levels for frame, levels in self.flicker.items() if len(levels) == 2}  # noqa: PLR2004  # a target
        if both:
            levels = np.array(list(both.values()))
            curve[list(both)] = flicker_ratio(levels[:, 0], levels[:, 1])
        return curve
