"""What a frame itself shows of a mouth: the light on the skin around it, and whether teeth are seen in it."""

from typing import NamedTuple

import cv2
import numpy as np

from gpu_tasks.draft.colours import luma_and_redness
from gpu_tasks.draft.mouth import MouthColumns
from gpu_tasks.faces.arrays import Frame

_COLUMNS, _DEPTHS = 24, 8
_WIDTH = 0.38  # of the mouth's width, to either side: beyond are the corners
_FROM_LIPS = 0.15  # of the parting, at either end: there lip and mouth are mixed in the pixels
# Teeth are no redder than the skin and not in the dark: measured on the sample, where teeth fill 4 to 35 % of the mouth
# and lips, tongue and shade are below 2 %. Judged: from this share on they are seen as teeth.
_TEETH_LUMA = 0.4
_TEETH_SHARE = (0.02, 0.06)


class Seen(NamedTuple):
    """What the frame shows.

    Attributes:
        skin_luma: Of the skin above and below the mouth, 0..255.
        teeth: 0 no teeth are seen between the lips, 1 they are.
    """

    skin_luma: float
    teeth: float


def look(frame: Frame, columns: MouthColumns) -> Seen:
    """Look at a few hundred places in and around the mouth as it is.

    Args:
        frame: (height, width, 3) uint8 BGR.
        columns: Where the lines of the mouth are in it.
    """
    across = np.linspace(-_WIDTH, _WIDTH, _COLUMNS, dtype=np.float32) * np.float32(columns.axes.width_px)
    which = np.searchsorted(columns.t, across)
    upper, gap = columns.inner_upper[which], (columns.inner_lower - columns.inner_upper)[which]
    depths = np.linspace(_FROM_LIPS, 1 - _FROM_LIPS, _DEPTHS, dtype=np.float32)
    inside = np.asarray(upper + gap * depths[:, None], np.float32)
    around = np.stack(
        [
            (columns.nose + columns.outer_upper)[which] / 2,
            columns.outer_lower[which] + (columns.chin - columns.outer_lower)[which] / 3,
        ]
    ).astype(np.float32)
    places = columns.t[which]
    skin_luma, skin_redness = (
        float(np.median(values)) for values in luma_and_redness(frame, columns.axes, places, around)
    )
    # Of neighbours together: the noise of a dark picture has any colour.
    luma, redness = (cv2.blur(values, (3, 3)) for values in luma_and_redness(frame, columns.axes, places, inside))
    white = float(((luma > _TEETH_LUMA * skin_luma) & (redness < skin_redness)).mean())
    return Seen(skin_luma, float(np.clip((white - _TEETH_SHARE[0]) / (_TEETH_SHARE[1] - _TEETH_SHARE[0]), 0, 1)))
