"""The extra samples are what they say, and the draft engine changes their faces and nothing else."""

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from deployments.samples import recipes
from deployments.samples.catalogue import Sample, describe, make_sample, make_samples
from deployments.samples.recipes import Originals, Recipe
from gpu_tasks.contract.options import FaceMapping
from gpu_tasks.contract.tracks import FaceWarning
from gpu_tasks.faces.coverage import head_pose
from gpu_tasks.faces.mesh import NOSE_BASE
from gpu_tasks.media.probe import probe
from gpu_tasks.media.reader import VideoReader
from tests.samples.working import LIPS_REACH, ORIGINALS, SWAP_REACH, Workplace

# Enough frames of each to see what is hard about it.
PARTS = {
    Sample.PORTRAIT: (0, 12),
    Sample.TWO_FACES: (0, 12),
    Sample.GAP: (20, 68),
    Sample.PROFILE: (0, 45),
    Sample.UHD: (0, 4),
    Sample.LOW_LIGHT: (56, 68),
}
GAP = range(10, 40)
Places = Callable[[Sample], Workplace]


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture of the driver, as a second source."""
    path = tmp_path_factory.mktemp("driver") / "driver.png"
    with VideoReader(ORIGINALS / "target.mp4") as reader:
        cv2.imwrite(str(path), next(iter(reader)).pixels)
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, driver: Path) -> Places:
    """Make a part of a sample and track it, once."""
    made: dict[Sample, Workplace] = {}

    def of(sample: Sample) -> Workplace:
        if sample not in made:
            folder = tmp_path_factory.mktemp(sample)
            first, stop = PARTS[sample]
            path = make_sample(sample, folder / "target.mp4", ORIGINALS, first=first, stop=stop)
            made[sample] = Workplace(folder, path, (ORIGINALS / "source.jpg", driver))
        return made[sample]

    return of


@pytest.mark.parametrize("sample", PARTS)
def test_the_swap_changes_every_face_of_every_frame_and_nothing_else(place: Places, sample: Sample) -> None:
    # Two different sources: one of them is not the target's own face.
    face_map = tuple(FaceMapping(source_index=index, position=index) for index in range(2))
    for worked in place(sample).swapped(face_map=face_map if sample is Sample.TWO_FACES else ()):
        assert not worked.is_changed_elsewhere(SWAP_REACH)
        for face in worked.faces:
            assert worked.change_in(face) > 1


@pytest.mark.parametrize("sample", PARTS)
def test_lip_sync_moves_the_mouth_of_one_face_and_nothing_else(place: Places, sample: Sample) -> None:
    moved = []
    for worked in place(sample).spoken():
        assert not worked.is_changed_elsewhere(LIPS_REACH)
        changes = [worked.change_in(face, below=NOSE_BASE) for face in worked.faces]
        assert sum(change > 0 for change in changes) <= 1
        moved += [max(changes)] if changes else []
    assert np.mean(np.array(moved) > 0.3) > 0.8


def test_a_second_without_a_face_stays_as_it_is_bit_for_bit(place: Places) -> None:
    gap = place(Sample.GAP)
    for work in (gap.spoken, gap.swapped):
        for index, worked in enumerate(work()):
            assert bool(worked.faces) == (index not in GAP)
            assert (worked.after == worked.before).all() == (index in GAP)


def test_the_portrait_is_stored_on_its_side_and_seen_upright(place: Places) -> None:
    portrait = place(Sample.PORTRAIT)
    assert (portrait.info.rotation_degrees, portrait.info.width, portrait.info.height) == (90, 244, 432)
    worked = next(portrait.swapped())
    assert worked.after.shape == (432, 244, 3)
    assert abs(head_pose(worked.faces[0].mesh_468).roll) < 20


def test_both_faces_are_found_and_each_is_given_its_own_source(place: Places) -> None:
    two = place(Sample.TWO_FACES)
    assert two.report.track_count == 2
    assert FaceWarning.SEVERAL_FACES in two.report.warnings
    # Each one's own face is put on it first, then the other's.
    same, other = (
        next(two.swapped(face_map=tuple(FaceMapping(source_index=s, position=p) for p, s in enumerate(sources))))
        for sources in ((1, 0), (0, 1))
    )
    for face in same.faces:
        assert other.change_in(face) > 2 * same.change_in(face)
    left = min(same.faces, key=lambda face: face.centre_x)
    alone = next(two.swapped(face_map=(FaceMapping(source_index=0, position=0),)))
    assert [alone.change_in(face) > 0 for face in same.faces] == [face is left for face in same.faces]


def test_the_head_turns_away_until_it_is_lost(place: Places) -> None:
    frames = [worked.faces for worked in place(Sample.PROFILE).swapped()]
    yaw = [head_pose(faces[0].mesh_468).yaw for faces in frames if faces]
    assert abs(yaw[0]) < 6
    assert max(yaw) > 35
    assert len(yaw) > 22


def test_four_k_keeps_its_size(place: Places) -> None:
    uhd = place(Sample.UHD)
    assert (uhd.info.width, uhd.info.height) == (3840, 2160)
    assert uhd.report.height_px_median > 1000


def test_little_light_is_little_light(place: Places) -> None:
    for worked in islice(place(Sample.LOW_LIGHT).swapped(), 3):
        face = worked.faces[0].mesh_468
        x, y = np.rint(face[4, :2]).astype(int)
        nose = np.s_[y - 20 : y + 20, x - 20 : x + 20]
        assert worked.before[nose].mean() < 60
        assert worked.before[nose].std() > 2
        # The source was lit by a studio's lamps.
        assert abs(worked.after[nose].mean() - worked.before[nose].mean()) < 6


@pytest.mark.parametrize("recipe", [recipes.two_faces, recipes.low_light, recipes.profile])
def test_the_same_frames_are_calculated_twice(recipe: Recipe) -> None:
    one, other = (np.stack(list(islice(recipe(Originals.of(ORIGINALS)), 12))) for _ in range(2))
    assert (one == other).all()


def test_every_sample_has_a_description() -> None:
    assert all(describe(sample) for sample in Sample)


@pytest.mark.bench
@pytest.mark.timeout(900)
def test_whole_samples_are_made_and_a_minute_is_worked_on(tmp_path: Path) -> None:
    paths = make_samples(tmp_path, ORIGINALS)
    assert [path.stem for path in paths] == list(Sample)
    minute = tmp_path / f"{Sample.MINUTE}.mp4"
    video = probe(minute).video
    assert video is not None
    assert abs(video.duration_seconds - 60) < 0.05
    place = Workplace(tmp_path, minute)
    for work in (place.spoken, place.swapped):
        for worked in work():
            assert worked.faces
            assert not worked.is_changed_elsewhere(LIPS_REACH)
