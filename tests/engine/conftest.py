"""The samples decoded, tracked and spoken once for all tests of the engine."""

from dataclasses import dataclass

import pytest

from gpu_tasks.draft.lips import DraftLips
from gpu_tasks.draft.models import FaceModels, face_models
from gpu_tasks.draft.speech import MouthShapes, mouth_shapes
from gpu_tasks.faces.arrays import Floats, Frame
from tests.engine.footage import FPS, source_image, target_frames, voice_16k


@dataclass(frozen=True)
class Spoken:
    """The target, what is said, and the target saying it."""

    frames: list[Frame]
    meshes: list[Floats]
    shapes: MouthShapes
    spoken: list[Frame]


@pytest.fixture(scope="session")
def models() -> FaceModels:
    return face_models(1)


@pytest.fixture(scope="session")
def frames() -> list[Frame]:
    return target_frames()


@pytest.fixture(scope="session")
def source() -> Frame:
    return source_image()


@pytest.fixture(scope="session")
def meshes(models: FaceModels, frames: list[Frame]) -> list[Floats]:
    tracker = models.new_tracker()
    return [tracker.track(frame)[0].mesh_468 for frame in frames]


@pytest.fixture(scope="session")
def spoken(frames: list[Frame], meshes: list[Floats]) -> Spoken:
    shapes, lips = mouth_shapes(voice_16k(), FPS, len(frames)), DraftLips()
    changed = [
        lips.apply(frame, mesh, float(opening), float(spread))
        for frame, mesh, opening, spread in zip(frames, meshes, shapes.opening, shapes.spread, strict=True)
    ]
    return Spoken(frames, meshes, shapes, changed)
