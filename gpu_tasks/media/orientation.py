"""Display matrices: how a stored frame is turned and mirrored to be seen upright."""

from typing import Self, cast

import av
import cv2
import numpy as np
from av.sidedata.sidedata import SideDataContainer, Type
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

_MATRIX_NUMBERS = 9


class Orientation(BaseModel):
    """First rows and columns change places, then the frame is mirrored left-right, then upside-down.

    Every display matrix (ISO/IEC 14496-12, 6.2.2) of quarter turns and mirrors is one of these eight; one that tilts is
    taken for the nearest, as players do.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    transposed: bool = False
    mirrored_x: bool = False
    mirrored_y: bool = False

    @classmethod
    def of(cls, frame: av.VideoFrame) -> Self:
        """Read the orientation that a decoded frame is tagged with; without a tag it is upright."""
        try:
            # PyAV's types know it as a dict of motion vectors only.
            tag = cast("SideDataContainer", frame.side_data)[Type.DISPLAYMATRIX]
        except KeyError:
            return cls()
        numbers = np.frombuffer(bytes(tag), dtype=np.int32)
        if numbers.size < _MATRIX_NUMBERS:
            return cls()
        # x' = a x + c y, y' = b x + d y; y grows downwards.
        a, b, _, c, d = (int(number) for number in numbers[:5])
        if abs(b) + abs(c) > abs(a) + abs(d):
            return cls(transposed=True, mirrored_x=c < 0, mirrored_y=b < 0)
        return cls(mirrored_x=a < 0, mirrored_y=d < 0)

    @property
    def is_upright(self) -> bool:
        return self == Orientation()

    @property
    def mirrors(self) -> bool:
        """Tell whether left and right are exchanged, beyond what turning explains."""
        return self.transposed ^ self.mirrored_x ^ self.mirrored_y

    @property
    def turn_degrees(self) -> int:
        """Counter-clockwise turn that is part of it: 0, 90, 180 or 270; mirroring left-right comes after it."""
        if self.transposed:
            # A transposed frame that is mirrored once is turned; which way tells the mirror's direction.
            return 90 if self.mirrored_y else 270
        return 180 if self.mirrored_y else 0

    def applied(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the upright frame (HWC uint8)."""
        upright = cv2.transpose(pixels) if self.transposed else pixels
        if self.mirrored_x or self.mirrored_y:
            # OpenCV's code: 1 is left-right, 0 upside-down, -1 both.
            upright = cv2.flip(upright, -1 if self.mirrored_x and self.mirrored_y else int(self.mirrored_x))
        return np.asarray(upright, dtype=np.uint8)
