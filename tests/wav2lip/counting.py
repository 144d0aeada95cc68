"""A network that counts what it is asked, and takes only so much at once."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gpu_tasks.faces.arrays import Floats
from gpu_tasks.wav2lip.engine import Alignment


@dataclass
class Counting:
    """A network of which only so many rows fit; says what it sees, inverted."""

    fits: int
    size: int = 96
    alignment: Alignment = Alignment.FACE
    most_at_once: int = 8
    on_gpu: bool = False
    rows: int = 0
    asked: list[int] = field(default_factory=list)

    def say(self, chunks: Floats, crops: NDArray[np.uint8]) -> Floats:
        self.asked.append(len(crops))
        if len(crops) > self.fits:
            raise MemoryError
        self.rows += len(chunks)
        return 255 - crops.astype(np.float32)
