"""How far a run is, in percent of the whole, from how far its stage is."""

from collections.abc import Mapping
from types import MappingProxyType

from flows.request import PipelineRequest
from gpu_tasks.contract.jobs import Stage

# Rough shares of a run's time: GPU stages take most of it.
_WEIGHTS: Mapping[Stage, float] = MappingProxyType(
    {Stage.INGEST: 1.0, Stage.WAV2LIP: 8.0, Stage.FACEFUSION: 8.0, Stage.ASSEMBLE: 1.0, Stage.PUBLISH: 0.5}
)


class Course:
    """The stages that a run goes through, in order."""

    def __init__(self, stages: tuple[Stage, ...]) -> None:
        self._total = sum(_WEIGHTS[stage] for stage in stages)
        self._before: dict[Stage, float] = {}
        passed = 0.0
        for stage in stages:
            self._before[stage] = passed
            passed += _WEIGHTS[stage]

    @classmethod
    def of(cls, request: PipelineRequest) -> "Course":
        """Return the course that a request takes."""
        skipped = set()
        if not request.wants_lip_sync:
            skipped.add(Stage.WAV2LIP)
        if not request.wants_face_swap:
            skipped.add(Stage.FACEFUSION)
        return cls(tuple(stage for stage in Stage if stage not in skipped))

    def percent(self, stage: Stage, done: float, *, ahead: Mapping[Stage, float] = MappingProxyType({})) -> float:
        """Return the percent (0..100) of the run when `done` (0..1) of a stage is over.

        `ahead`: what of later stages is done already, because segments do not wait for each other.
        """
        share = self._before[stage] + _WEIGHTS[stage] * min(1.0, max(0.0, done))
        share += sum(_WEIGHTS[later] * done for later, done in ahead.items())
        return round(100.0 * share / self._total, 1)
