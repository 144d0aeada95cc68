"""What the gate costs, in CPU seconds per second of media: wall time on a busy machine says little."""

import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpu_tasks.confinement.confined import Confines
from gpu_tasks.media.confined import run_confined
from gpu_tasks.media.decision import changes_of_video, recipe_of_video
from gpu_tasks.media.facts import Examined, examine_video
from gpu_tasks.media.limits import GatePolicy, MediaLimits
from gpu_tasks.media.normalise import CheckedFile, check_video, normalise_video
from tests.media.corpus.table import CORPUS
from tests.media.footage import write_video
from tests.media.gating import answer
from tests.media.misbehaving import Order, Told
from tests.media.misbehaving import answer as echo

pytestmark = pytest.mark.bench

SECONDS, FPS = 6, 30
HLG = {"preset": "ultrafast", "x265-params": "log-level=none:colorprim=9:transfer=18:colormatrix=9"}


def moving_720p(count: int) -> Any:  # noqa: ANN401  # a generator of frames
    """Grain over a moving slope: harder to encode than a face before a wall."""
    grain = np.random.default_rng(5).normal(0, 4, (720, 1400, 3))
    slope = np.linspace(30, 220, 1400)[None, :, None] + np.linspace(-20, 20, 720)[:, None, None]
    base = np.clip(slope + grain, 0, 255).astype(np.uint8)
    return (np.ascontiguousarray(base[:, number % 100 : number % 100 + 1280]) for number in range(count))


@pytest.mark.parametrize("case", ["conforming", "turned", "varying rate", "HLG, HEVC"])
def test_the_gate_takes_less_cpu_than_the_clip_lasts(tmp_path: Path, case: str) -> None:
    path = tmp_path / "clip.mp4"
    how: dict[str, Any] = {"fps": Fraction(FPS), "options": {"preset": "ultrafast", "crf": "20"}}
    if case == "turned":
        how["rotation"] = 90
    if case == "varying rate":
        how["times"] = [Fraction(n + (n > 50), FPS) for n in range(SECONDS * FPS)]
    if case == "HLG, HEVC":
        how |= {"codec": "libx265", "options": HLG}
    write_video(path, moving_720p(SECONDS * FPS), **how)
    examined = Examined(path=path, limits=MediaLimits())
    before = time.process_time()
    facts = examine_video(examined)
    recipe = recipe_of_video(facts, GatePolicy(), source=path, destination=tmp_path / "made.mp4")
    if any(change.kind.alters_the_file for change in changes_of_video(facts, GatePolicy())):
        normalise_video(recipe)
    else:
        check_video(CheckedFile(path=path))
    ratio = (time.process_time() - before) / SECONDS
    print(f"\n{case}, 720p, {FPS} fps: {ratio:.2f} CPU seconds per second")  # noqa: T201  # a benchmark is read
    assert ratio <= 1.0


def test_refusals_take_less_than_half_a_second(tmp_path: Path) -> None:
    run_confined(echo, Order(), reply=Told, confines=Confines(cpu_seconds=5, deadline_seconds=30))
    slowest = (0.0, "")
    for place, specimen in enumerate(CORPUS):
        folder = tmp_path / str(place)
        folder.mkdir()
        path = folder / specimen.file_name
        specimen.make(path)
        begun = time.monotonic()
        answer(specimen, path)
        if not isinstance(specimen.verdict, frozenset):
            slowest = max(slowest, (time.monotonic() - begun, specimen.name))
    print(f"\nslowest refusal: {slowest[0]:.3f} s ({slowest[1]})")  # noqa: T201  # a benchmark is read
    assert slowest[0] < 0.5
