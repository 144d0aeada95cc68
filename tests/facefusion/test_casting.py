"""Who is given whose face: by place, by likeness, one or many, and several identities in one pass."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from gpu_tasks.contract.options import FaceMapping, FaceSelection
from gpu_tasks.facefusion.neural import NeuralSwap
from gpu_tasks.faces.arrays import Frame
from gpu_tasks.faces.casting import EVERYONE, Casting
from gpu_tasks.faces.trackfile import FacePlace
from tests.facefusion.clips import (
    LEFT_PERSON,
    OTHER,
    PLAIN,
    RIGHT_PERSON,
    SOURCE,
    Clip,
    footage,
    other_person,
    pixels,
    reference,
    write_clip,
)

MIDDLE = 528
REFERENCES = (reference(LEFT_PERSON), reference(RIGHT_PERSON))


def place(track_id: int, left: float, size: float = 50, *, top: float = 10, score: float = 0.9) -> FacePlace:
    return FacePlace(track_id, score, left, top, left + size, top + size)


def cast(clip: list[tuple[FacePlace, ...]], selection: FaceSelection, **more: Any) -> list[list[int]]:  # noqa: ANN401 - of the casting
    casting = Casting(selection, more.get("face_map", ()), more.get("likeness", {}))
    casting.survey(clip)
    return [[face.track_id for face in casting.among(faces)] for faces in clip]


def sides(before: Frame, after: Frame) -> tuple[bool, bool]:
    """Whether the left and the right person changed."""
    differs = np.any(before != after, axis=2)
    return bool(differs[:, :MIDDLE].any()), bool(differs[:, MIDDLE:].any())


def changed_sides(engine: NeuralSwap, two: Clip, **changes: Any) -> set[tuple[bool, bool]]:  # noqa: ANN401 - fields of the job
    job = two.job(frame_count=4, **changes)
    pairs = zip(two.original(job), pixels(engine, two, job), strict=True)
    return {sides(before, after) for before, after in pairs}


def test_many_is_everybody_and_one_is_one(engine: NeuralSwap, two: Clip) -> None:
    assert changed_sides(engine, two) == {(True, True)}
    for position, expected in ((0, (True, False)), (1, (False, True))):
        selection = FaceSelection(mode="one", position=position)
        assert changed_sides(engine, two, face_selection=selection) == {expected}


def test_a_reference_chooses_whom_it_shows(engine: NeuralSwap, two: Clip) -> None:
    for person, expected in ((LEFT_PERSON, (True, False)), (RIGHT_PERSON, (False, True))):
        selection = FaceSelection(mode="reference", reference_key=person.key)
        assert changed_sides(engine, two, face_selection=selection, references=REFERENCES) == {expected}


def test_the_distance_decides_how_alike_a_reference_must_be(engine: NeuralSwap, two: Clip) -> None:
    for limit, expected in ((0.0, (False, False)), (0.9, (True, True))):
        selection = FaceSelection(mode="reference", reference_key=LEFT_PERSON.key, reference_distance=limit)
        assert changed_sides(engine, two, face_selection=selection, references=REFERENCES) == {expected}


@pytest.mark.parametrize("by_reference", [False, True])
def test_two_identities_go_on_two_people_in_one_pass(by_reference: bool, engine: NeuralSwap, two: Clip) -> None:  # noqa: FBT001 - a parameter of the test
    entries = (
        (
            FaceMapping(source_index=0, reference_key=LEFT_PERSON.key),
            FaceMapping(source_index=1, reference_key=RIGHT_PERSON.key),
        )
        if by_reference
        else (FaceMapping(source_index=0, position=0), FaceMapping(source_index=1, position=1))
    )
    job = two.job(frame_count=4, sources=(SOURCE, OTHER), face_map=entries, references=REFERENCES)
    only_first = pixels(engine, two, two.job(frame_count=4, sources=(SOURCE,)))
    only_second = pixels(engine, two, two.job(frame_count=4, sources=(OTHER,)))
    for both, first, second in zip(pixels(engine, two, job), only_first, only_second, strict=True):
        assert np.array_equal(both[:, :MIDDLE], first[:, :MIDDLE])
        assert np.array_equal(both[:, MIDDLE:], second[:, MIDDLE:])
        assert not np.array_equal(first, second)


def test_references_find_people_who_change_places(engine: NeuralSwap, tmp_path: Path) -> None:
    left, right = footage(12), [frame[:, :288] for frame in other_person(12)]
    frames = [
        np.hstack([one[:288], other]) if number < 6 else np.hstack([other, one[:288]])
        for number, (one, other) in enumerate(zip(left, right, strict=True))
    ]
    clip = write_clip(tmp_path, frames)
    cv2.imwrite(str(tmp_path / "left.png"), left[0])
    clip = clip.with_files(**{"left.png": tmp_path / "left.png"})
    selection = FaceSelection(mode="reference", reference_key=LEFT_PERSON.key)
    job = clip.job(face_selection=selection, references=(reference(LEFT_PERSON),))
    edges = []
    for before, after in zip(clip.original(job), pixels(engine, clip, job), strict=True):
        columns = np.flatnonzero(np.any(before != after, axis=(0, 2)))
        edges.append((int(columns.min()), int(columns.max())) if len(columns) else None)
    shown_left, shown_right = edges[1], edges[-2]
    assert shown_left is not None
    assert shown_right is not None
    width = left[0].shape[1]
    assert shown_left[1] < width
    assert shown_right[0] >= 288


def test_several_sources_are_averaged(engine: NeuralSwap, two: Clip) -> None:
    first, second, both = (
        pixels(engine, two, two.job(frame_count=1, sources=sources))[0].astype(float)
        for sources in ((SOURCE,), (OTHER,), (SOURCE, OTHER))
    )
    apart = np.abs(first - second)
    face = apart > 6
    assert face.any()
    assert np.abs(both - first)[face].mean() < apart[face].mean()
    assert np.abs(both - second)[face].mean() < apart[face].mean()


@pytest.mark.parametrize(
    ("order", "first"),
    [
        ("left-right", 1),
        ("right-left", 2),
        ("top-bottom", 3),
        ("bottom-top", 2),
        ("small-large", 4),
        ("large-small", 1),
        ("best-worst", 3),
        ("worst-best", 4),
    ],
)
def test_a_position_counts_in_the_order_asked_for(order: Any, first: int) -> None:  # noqa: ANN401 - a literal
    faces = (
        place(1, 10, 90, top=50, score=0.8),
        place(2, 400, 60, top=200, score=0.7),
        place(3, 200, 50, top=5, score=0.99),
        place(4, 300, 20, top=120, score=0.6),
    )
    selection = FaceSelection(mode="one", order=order)
    assert cast([faces], selection) == [[first]]


def test_the_one_is_kept_while_it_is_seen_and_then_another_takes_its_place() -> None:
    clip = [
        (place(1, 10), place(2, 200)),
        (place(2, 5), place(1, 300)),
        (place(2, 5),),
        (place(2, 5), place(1, 1)),
        (),
        (place(1, 1),),
    ]
    assert cast(clip, FaceSelection(mode="one")) == [[1], [1], [2], [2], [], [1]]


def test_a_part_is_played_by_one_at_a_time_and_kept_for_good() -> None:
    entries = (FaceMapping(source_index=0, position=0), FaceMapping(source_index=1, position=1))
    casting = Casting(FaceSelection(), entries, {})
    casting.survey(
        [
            (place(1, 10), place(2, 200), place(9, 400)),
            (place(2, 10), place(1, 200)),
            (place(3, 5), place(2, 200)),
        ]
    )
    assert [casting.part_of(track) for track in (1, 2, 3)] == [0, 1, 0]
    assert casting.parts == (0, 1)
    assert not casting.among((place(9, 1),))


def test_the_nearest_reference_wins_and_nobody_is_cast_twice() -> None:
    entries = (
        FaceMapping(source_index=0, reference_key="uploads/source/a.png"),
        FaceMapping(source_index=1, reference_key="uploads/source/b.png"),
        FaceMapping(source_index=2, position=0),
    )
    likeness = {"uploads/source/a.png": {1: 0.2, 2: 0.25, 3: 0.5}, "uploads/source/b.png": {1: 0.1, 2: 0.29}}
    casting = Casting(FaceSelection(), entries, likeness)
    casting.survey([(place(3, 10), place(1, 200), place(2, 300))])
    assert {track: casting.part_of(track) for track in (1, 2, 3)} == {1: 1, 2: 0, 3: 2}


def test_without_a_map_everybody_gets_all_sources() -> None:
    casting = Casting(FaceSelection(), (), {})
    casting.survey([(place(7, 1),)])
    assert casting.parts == (EVERYONE,)
    assert casting.part_of(7) is EVERYONE
    assert PLAIN.processors == ("face_swapper",)
