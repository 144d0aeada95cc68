"""The tracks artifact as a file."""

import tracemalloc
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.jobs import Segment
from gpu_tasks.faces.arrays import Floats
from gpu_tasks.faces.tracker import TrackedFace
from gpu_tasks.faces.trackfile import TracksHeader, TracksReader, TracksWriter


def header(count: int, start: int = 0) -> TracksHeader:
    clip = Segment(start_frame=start, stop_frame=start + count)
    return TracksHeader(width=7680, height=4320, fps=Fraction(30), target_frame_count=start + count, clip=clip)


def random_faces(count: int) -> list[tuple[TrackedFace, ...]]:
    """Faces that come and go, anywhere in and beyond an 8K frame."""
    chance = np.random.default_rng(5)

    def face(track_id: int) -> TrackedFace:
        return TrackedFace(track_id, chance.uniform(-500, 7700, (468, 3)).astype(np.float32), float(chance.random()))

    return [tuple(face(track_id) for track_id in range(9) if chance.random() < 0.2) for _ in range(count)]


def write(path: Path, faces: list[tuple[TrackedFace, ...]], start: int = 0) -> Path:
    with TracksWriter(path, header(len(faces), start)) as writer:
        for frame in faces:
            writer.write(frame)
    return path


def test_what_is_read_is_what_was_written_to_a_32nd_of_a_pixel_in_any_order(tmp_path: Path) -> None:
    faces = random_faces(150)
    with TracksReader(write(tmp_path / "t", faces, start=20)) as tracks:
        assert tracks.header == header(150, 20)
        for frame in [*range(150), *range(149, -1, -7), 0, 149, 63, 64]:
            found = tracks.faces(20 + frame)
            assert [face.track_id for face in found] == [face.track_id for face in faces[frame]]
            for one, other in zip(found, faces[frame], strict=True):
                assert np.abs(one.mesh_468 - other.mesh_468).max() <= 1 / 32 + 1e-3
                assert one.score == pytest.approx(other.score, abs=1e-4)


def test_places_are_those_of_the_meshes(tmp_path: Path) -> None:
    with TracksReader(write(tmp_path / "t", random_faces(70))) as tracks:
        places = list(tracks.places())
        assert len(places) == 70
        for frame, seen in enumerate(places):
            for place, face in zip(seen, tracks.faces(frame), strict=True):
                assert place.track_id == face.track_id
                assert place.height_px == face.height_px
                assert place.left == face.mesh_468[:, 0].min()
                assert place.right == face.mesh_468[:, 0].max()


def test_a_clip_without_a_face_in_its_last_frames_is_read_to_its_end(tmp_path: Path) -> None:
    with TracksReader(write(tmp_path / "t", [*random_faces(3), *[()] * 100])) as tracks:
        assert tracks.faces(102) == ()
        assert len(list(tracks.places())) == 103


def trembling_face(count: int) -> list[Floats]:
    """A face that moves about and speaks, with noise like a settled track's."""
    chance = np.random.default_rng(3)
    shape = chance.uniform(0, 250, (468, 3))
    return [
        np.asarray(shape * (1 + 0.05 * np.sin(k / 40)) + 300 + 60 * np.sin(k / 25) + chance.normal(0, 0.3, shape.shape))
        for k in range(count)
    ]


def test_ten_minutes_of_one_face_take_far_less_than_60_megabytes(tmp_path: Path) -> None:
    path = write(tmp_path / "t", [(TrackedFace(0, mesh, 1.0),) for mesh in trembling_face(256)])
    assert path.stat().st_size / 256 * 18_000 < 40e6


def test_memory_stays_flat_however_long_the_clip(tmp_path: Path) -> None:
    peaks = []
    for pieces in (4, 16):
        mesh = trembling_face(1)[0]
        tracemalloc.start()
        try:
            with TracksWriter(tmp_path / "t", header(64 * pieces)) as writer:
                for _ in range(64 * pieces):
                    writer.write((TrackedFace(0, mesh.copy(), 1.0),))
            with TracksReader(tmp_path / "t") as tracks:
                for frame in range(64 * pieces):
                    tracks.faces(frame)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


def read_all(path: Path) -> None:
    with TracksReader(path) as tracks:
        for frame in range(70):
            tracks.faces(frame)


def test_a_damaged_file_is_corrupt_and_named_so(tmp_path: Path) -> None:
    content = write(tmp_path / "t", random_faces(70)).read_bytes()
    damages = {
        "empty": b"",
        "magic": b"x" + content[1:],
        "header": content[:40] + b"}" + content[41:],
        "cut": content[:-1],
        "one piece only": content[: len(content) // 2],
        "more": content + b"\0" * 8,
        "content": content[:-300] + b"\xff" * 300,
    }
    for name, damaged in damages.items():
        path = tmp_path / name
        path.write_bytes(damaged)
        with pytest.raises(FaultError) as caught:
            read_all(path)
        assert caught.value.fault.code is FaultCode.OBJECT_CORRUPT, name


def test_an_unfinished_file_never_appears(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="2 frames"), TracksWriter(tmp_path / "t", header(3)) as writer:
        writer.write(())
    with pytest.raises(KeyError), TracksWriter(tmp_path / "t", header(3)):
        raise KeyError
    assert not list(tmp_path.iterdir())
