"""The tracking pass: what it finds, bridges, steadies and reports."""

from collections.abc import Iterable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.jobs import Segment
from gpu_tasks.contract.tracks import WARNING_SENTENCES, FaceReport, FaceWarning
from gpu_tasks.draft.models import FaceModels, topology
from gpu_tasks.faces.arrays import Floats, Frame
from gpu_tasks.faces.coverage import BLURRED_SHARPNESS, CoverageMeter, head_pose, sharpness
from gpu_tasks.faces.settling import Settler
from gpu_tasks.faces.tracker import FaceTracker, TrackedFace
from gpu_tasks.faces.trackfile import TracksReader
from gpu_tasks.faces.tracks import track_faces
from gpu_tasks.media.writer import VideoWriter
from tests.engine.footage import FPS, SAMPLES, correlation


def write(path: Path, frames: Iterable[Frame]) -> Path:
    frames = list(frames)
    with VideoWriter(path, width=frames[0].shape[1], height=frames[0].shape[0], fps=FPS) as writer:
        for frame in frames:
            writer.write(frame)
    return path


def settled(frames: Iterable[tuple[TrackedFace, ...]], fps: Fraction = FPS) -> list[tuple[TrackedFace, ...]]:
    settler = Settler(fps)
    out: list[tuple[TrackedFace, ...]] = []
    for faces in frames:
        out += settler.push(faces)
    return [*out, *settler.finish()]


def moved(mesh: Floats, x: float, y: float = 0.0) -> Floats:
    return np.asarray(mesh + np.array([x, y, 0], np.float32), np.float32)


@pytest.fixture(scope="module")
def raw(models: FaceModels, frames: list[Frame]) -> list[TrackedFace]:
    tracker = FaceTracker(models.detector, models.mesh, steady=False)
    return [tracker.track(frame)[0] for frame in frames]


@pytest.fixture(scope="module")
def tracked(models: FaceModels, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FaceReport]:
    path = tmp_path_factory.mktemp("tracks") / "sample.tracks"
    return path, track_faces(SAMPLES / "target.mp4", path, models.detector, models.mesh)


def test_the_sample_is_one_face_in_every_frame_without_a_warning(tracked: tuple[Path, FaceReport]) -> None:
    path, report = tracked
    assert report.percent_with_face == 100
    assert report.frames_by_face_count == (0, 120)
    assert report.track_count == 1
    assert report.coverage.ratio == 1
    assert 150 < report.height_px_min <= report.height_px_median < 200
    assert report.warnings == ()
    with TracksReader(path) as tracks:
        assert all(len(tracks.faces(frame)) == 1 for frame in range(120))
    assert FaceReport.model_validate_json(report.model_dump_json()) == report


def test_the_same_target_gives_the_same_file(
    models: FaceModels, tracked: tuple[Path, FaceReport], tmp_path: Path
) -> None:
    again = tmp_path / "again.tracks"
    track_faces(SAMPLES / "target.mp4", again, models.detector, models.mesh)
    assert again.read_bytes() == tracked[0].read_bytes()


def test_settled_meshes_tremble_less_and_keep_lips_and_place(
    tracked: tuple[Path, FaceReport], raw: list[TrackedFace]
) -> None:
    with TracksReader(tracked[0]) as tracks:
        steady = np.stack([tracks.faces(frame)[0].mesh_468[:, :2] for frame in range(120)])
    as_placed = np.stack([face.mesh_468[:, :2] for face in raw])

    def trembling(meshes: Floats) -> float:
        return float(np.abs(np.diff(meshes, n=2, axis=0)).mean())

    assert trembling(steady) < 0.6 * trembling(as_placed)
    gap, placed_gap = (meshes[:, 14, 1] - meshes[:, 13, 1] for meshes in (steady, as_placed))
    assert gap.std() > 0.97 * placed_gap.std()
    assert correlation(gap, placed_gap) > 0.99
    # Neither ahead nor behind: over the clip the differences have no direction in time.
    lag = ((steady - as_placed) * np.gradient(as_placed, axis=0)).mean()
    assert abs(lag) < 0.05 * (np.gradient(as_placed, axis=0) ** 2).mean()


def test_even_motion_and_even_acceleration_are_left_as_they_are(raw: list[TrackedFace]) -> None:
    mesh = raw[0].mesh_468
    path = [4.0 * step + 0.3 * step * step for step in range(30)]
    out = settled([(TrackedFace(0, moved(mesh, x), 1.0),) for x in path])
    assert (
        max(abs(float((faces[0].mesh_468 - moved(mesh, x)).max())) for faces, x in zip(out, path, strict=True)) < 0.05
    )


def test_a_cut_is_not_smoothed_over(raw: list[TrackedFace]) -> None:
    mesh = raw[0].mesh_468
    places = [0.0] * 10 + [200.0] * 10
    out = settled([(TrackedFace(0, moved(mesh, x), 1.0),) for x in places])
    assert [round(float((faces[0].mesh_468 - mesh)[:, 0].mean()), 1) for faces in out] == places


@pytest.mark.parametrize(("missing", "is_bridged"), [(1, True), (8, True), (9, False), (20, False)])
def test_gaps_of_up_to_three_tenths_of_a_second_are_bridged_under_one_name(
    raw: list[TrackedFace],
    missing: int,
    is_bridged: bool,  # noqa: FBT001  # a column of the table above
) -> None:
    mesh = raw[0].mesh_468
    before = [(TrackedFace(0, moved(mesh, x), 1.0),) for x in range(10)]
    after = [(TrackedFace(1, moved(mesh, x), 1.0),) for x in range(10 + missing, 30 + missing)]
    out = settled([*before, *[()] * missing, *after], Fraction(28))
    assert len(out) == len(before) + missing + len(after)
    assert [len(faces) for faces in out[10 : 10 + missing]] == [int(is_bridged)] * missing
    assert {face.track_id for faces in out for face in faces} == ({0} if is_bridged else {0, 1})
    if is_bridged:
        xs = [float(faces[0].mesh_468[:, 0].mean()) for faces in out]
        assert all(abs(b - a - 1) < 0.05 for a, b in pairwise(xs))


def test_a_face_that_appears_elsewhere_is_another_one(raw: list[TrackedFace]) -> None:
    mesh = raw[0].mesh_468
    before, after = TrackedFace(0, mesh, 1.0), TrackedFace(1, moved(mesh, 150), 1.0)
    out = settled([(before,)] * 5 + [()] * 2 + [(after,)] * 5)
    assert [len(faces) for faces in out] == [1] * 5 + [0] * 2 + [1] * 5
    assert {face.track_id for faces in out for face in faces} == {0, 1}


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 12])
def test_every_frame_comes_back_once_and_in_order(raw: list[TrackedFace], count: int) -> None:
    given = [(TrackedFace(0, moved(raw[0].mesh_468, x), 1.0),) for x in range(count)]
    out = settled(given)
    assert [round(float((faces[0].mesh_468 - raw[0].mesh_468)[:, 0].mean())) for faces in out] == list(range(count))


def test_a_face_hidden_for_a_moment_stays_one_track(models: FaceModels, frames: list[Frame], tmp_path: Path) -> None:
    blank = np.full_like(frames[0], 90)
    clip = write(tmp_path / "hidden.mp4", [*frames[:12], *[blank] * 4, *frames[16:30], *[blank] * 14, *frames[44:50]])
    report = track_faces(clip, tmp_path / "t", models.detector, models.mesh)
    assert report.frames_by_face_count == (14, 36)
    assert report.track_count == 2
    assert report.warnings == (FaceWarning.FACE_MISSING_OFTEN,)


def test_only_the_clip_is_looked_at(models: FaceModels, frames: list[Frame], tmp_path: Path) -> None:
    blank = np.full_like(frames[0], 90)
    target = write(tmp_path / "t.mp4", [*[blank] * 5, *frames[:10], *[blank] * 5])
    report = track_faces(
        target, tmp_path / "t", models.detector, models.mesh, clip=Segment(start_frame=5, stop_frame=15)
    )
    assert report.frames_by_face_count == (0, 10)
    with TracksReader(tmp_path / "t") as tracks:
        assert tracks.header.target_frame_count == 20
        assert len(tracks.faces(5)) == 1
        with pytest.raises(FaultError) as caught:
            tracks.faces(4)
    assert caught.value.fault.code is FaultCode.REQUEST_INVALID


def test_a_target_without_any_face_is_refused_and_leaves_nothing(models: FaceModels, tmp_path: Path) -> None:
    target = write(tmp_path / "t.mp4", [np.full((240, 320, 3), 90, np.uint8)] * 12)
    with pytest.raises(FaultError) as caught:
        track_faces(target, tmp_path / "tracks", models.detector, models.mesh)
    assert caught.value.fault.code is FaultCode.NO_FACE_DETECTED
    assert not list(tmp_path.glob("tracks*"))


def test_who_asks_may_stop_the_pass(models: FaceModels, tmp_path: Path) -> None:
    class Stopped(Exception):  # noqa: N818  # no error: a wish
        pass

    def stop() -> None:
        raise Stopped

    with pytest.raises(Stopped):
        track_faces(SAMPLES / "target.mp4", tmp_path / "tracks", models.detector, models.mesh, checkpoint=stop)
    assert not list(tmp_path.iterdir())


def test_small_blurred_and_several_faces_are_warned_of(models: FaceModels, frames: list[Frame], tmp_path: Path) -> None:
    small = [np.asarray(cv2.resize(frame, (264, 216), interpolation=cv2.INTER_AREA), np.uint8) for frame in frames[:12]]
    report = track_faces(write(tmp_path / "s.mp4", small), tmp_path / "s", models.detector, models.mesh)
    assert report.warnings == (FaceWarning.FACE_SMALL,)
    soft = [np.asarray(cv2.GaussianBlur(frame, (0, 0), 3), np.uint8) for frame in frames[:12]]
    report = track_faces(write(tmp_path / "b.mp4", soft), tmp_path / "b", models.detector, models.mesh)
    assert report.warnings == (FaceWarning.FACE_BLURRED,)
    pairs = [np.hstack([frame, frame[:, ::-1]]) for frame in frames[:12]]
    report = track_faces(write(tmp_path / "p.mp4", pairs), tmp_path / "p", models.detector, models.mesh)
    assert report.frames_by_face_count == (0, 0, 12)
    assert report.warnings == (FaceWarning.SEVERAL_FACES,)


def test_a_turned_head_is_measured_and_warned_of() -> None:
    # The canonical face in picture axes: y down, smaller z nearer.
    face = topology().vertices * np.array([10, -10, -10], np.float32)
    meter = CoverageMeter()
    for degrees in (-60, -20, 0, 20, 60):
        angle = np.radians(degrees)
        turn = np.array([[np.cos(angle), 0, -np.sin(angle)], [0, 1, 0], [np.sin(angle), 0, np.cos(angle)]])
        mesh = np.asarray(face @ turn.T, np.float32)
        assert head_pose(mesh).yaw == pytest.approx(degrees, abs=0.1)
        meter.count([TrackedFace(0, mesh, 1.0)])
    report = meter.report()
    assert report is not None
    assert report.profile_ratio == pytest.approx(0.4)
    assert FaceWarning.FACE_PROFILE in report.warnings
    rolled = np.stack([-face[:, 1], face[:, 0], face[:, 2]], axis=1)
    assert head_pose(rolled).roll == pytest.approx(90, abs=0.1)
    bent = np.stack([face[:, 0], face[:, 1] * 0.8, face[:, 1] * 0.6], axis=1)
    assert head_pose(bent).pitch == pytest.approx(np.degrees(np.arctan2(0.6, 0.8)), abs=0.1)


def test_sharpness_falls_with_blur(frames: list[Frame], raw: list[TrackedFace]) -> None:
    def after(blur: float) -> float:
        return sharpness(np.asarray(cv2.GaussianBlur(frames[0], (0, 0), blur), np.uint8), raw[0].mesh_468)

    values = [sharpness(frames[0], raw[0].mesh_468), after(0.9), after(1.8), after(3.6)]
    assert values == sorted(values, reverse=True)
    assert values[0] > 2 * BLURRED_SHARPNESS
    assert values[3] < BLURRED_SHARPNESS


def test_every_warning_has_its_sentence() -> None:
    assert set(WARNING_SENTENCES) == set(FaceWarning)
