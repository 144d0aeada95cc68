"""Looks at one frame a second of the target, in the same pass, and refuses what may not be changed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict

from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.jobs import Segment
from gpu_tasks.facefusion.tensors import Colour, tensor_of
from gpu_tasks.faces.arrays import Floats, Frame
from gpu_tasks.runtime.sessions import OnnxNetwork


class ContentVerdict(BaseModel):
    """What was seen.

    Attributes:
        looked_at: Frames that were looked at.
        flagged: How many of them most models flagged.
        threshold: Of the frames to look at, the share from above which the target is refused.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    looked_at: int
    flagged: int
    threshold: float
    is_refused: bool


@dataclass(frozen=True, slots=True)
class ContentFacts:
    """How a network takes a frame (RGB, in a black square), and what it says of it.

    Attributes:
        size: Of the square's side.
        mean: Of red, green, blue, 0..1.
        std: The same.
        score: From its first output to a number.
        limit: From above which the frame is flagged.
    """

    size: int
    mean: Colour
    std: Colour
    score: Callable[[Floats], float]
    limit: float


# Scores and limits: as the published pipeline reads these files (FaceFusion 3.8).
CONTENT_MODELS: Final[Mapping[str, ContentFacts]] = {
    "nsfw_1": ContentFacts(640, (0, 0, 0), (1, 1, 1), lambda made: float(made[:, 4:].max()), 0.2),
    "nsfw_2": ContentFacts(384, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), lambda made: float(made[0, 0] - made[0, 1]), 0.25),
    "nsfw_3": ContentFacts(
        448,
        (0.48145466, 0.4578275, 0.40821073),
        (0.26862954, 0.26130258, 0.27577711),
        lambda made: float(made[0, 2] + made[0, 3] - made[0, 0] - made[0, 1]),
        10.5,
    ),
}


class ContentModel:
    """One network's opinion.

    Args:
        network: Input `input` (1, 3, size, size).
        facts: How it is asked.
    """

    def __init__(self, network: OnnxNetwork, facts: ContentFacts) -> None:
        network.check({"input": ("n", 3, facts.size, facts.size)})
        self._network = network
        self._facts = facts

    def flags(self, frame: Frame) -> bool:
        """Tell whether a frame, (height, width, 3) uint8 BGR, shows what may not be changed."""
        facts = self._facts
        tensor = tensor_of(contained(frame, facts.size)[None], facts.mean, facts.std)
        return facts.score(self._network.run({"input": tensor})[0]) > facts.limit


class ContentCheck:
    """Counts the flagged frames of one job.

    Which frames are looked at depends on their place on the timeline alone.

    Args:
        models: A frame is flagged when more than half of them flag it.
        threshold: Share of the frames to look at.
        frames: The job's part of the timeline.
        fps: Of the timeline.
    """

    def __init__(self, models: Sequence[ContentModel], threshold: float, frames: Segment, fps: Fraction) -> None:
        self._models = models
        self._threshold = threshold
        self._step = max(1, round(fps))
        first = -(-frames.start_frame // self._step) * self._step
        self._total = len(range(first, frames.stop_frame, self._step))
        self._looked_at = self._flagged = 0

    def look(self, index: int, frame: Frame) -> None:
        """Look at a frame of the timeline if it is its turn.

        Raises:
            FaultError: CONTENT_REFUSED as soon as no other frame can change the verdict.
        """
        if not self._models or index % self._step:
            return
        self._looked_at += 1
        self._flagged += sum(model.flags(frame) for model in self._models) * 2 > len(self._models)
        verdict = self.verdict
        if verdict.is_refused:
            raise FaultError(
                FaultCode.CONTENT_REFUSED, f"{verdict.flagged} of {self._total} frames looked at are flagged."
            )

    @property
    def verdict(self) -> ContentVerdict:
        """What was seen so far; a refusal is final."""
        return ContentVerdict(
            looked_at=self._looked_at,
            flagged=self._flagged,
            threshold=self._threshold,
            is_refused=self._flagged > self._threshold * self._total,
        )


def contained(frame: Frame, size: int) -> Frame:
    """Fit a frame into the middle of a black square: (size, size, 3) uint8 BGR."""
    height, width = frame.shape[:2]
    share = size / max(height, width)
    shape = (max(1, int(width * share)), max(1, int(height * share)))
    canvas = np.zeros((size, size, 3), np.uint8)
    left, top = (size - shape[0]) // 2, (size - shape[1]) // 2
    canvas[top : top + shape[1], left : left + shape[0]] = cv2.resize(frame, shape)
    return canvas
