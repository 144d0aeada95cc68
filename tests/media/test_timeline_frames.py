import tracemalloc
from collections.abc import Callable
from fractions import Fraction
from hashlib import sha256
from pathlib import Path

import pytest

from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.jobs import Segment, Timeline
from gpu_tasks.contract.options import SyncMode
from gpu_tasks.media.errors import MediaError
from gpu_tasks.media.playing import frames_laid_out, frames_on_timeline
from gpu_tasks.media.probe import probe
from gpu_tasks.media.timeline import plan_timeline
from tests.media.footage import HEIGHT, WIDTH, number_in, write_numbered

FRAME_BYTES = WIDTH * HEIGHT * 3
FRAMES = 40
# Pieces of seven frames, so that what is played backwards and what is looped does not fit into memory at once.
FEW = 7 * FRAME_BYTES


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Fraction], Path]:
    folder = tmp_path_factory.mktemp("timeline")

    def clip(fps: Fraction) -> Path:
        path = folder / f"{fps.numerator}-{fps.denominator}.mp4"
        if not path.exists():
            # One keyframe and B-frames: every seek has to decode and to reorder.
            write_numbered(path, FRAMES, fps=fps, options={"preset": "fast", "g": "250", "bf": "3"})
        return path

    return clip


def segment(start: int, stop: int) -> Segment:
    return Segment(start_frame=start, stop_frame=stop)


@pytest.mark.parametrize("fps", [Fraction(24000, 1001), Fraction(30000, 1001), Fraction(50), Fraction(60)], ids=str)
@pytest.mark.parametrize("sync_mode", SyncMode)
@pytest.mark.parametrize("audio_frames", [13, 40, 95])
def test_every_mode_shows_exactly_its_frames_with_and_without_segments(
    clips: Callable[[Fraction], Path], fps: Fraction, sync_mode: SyncMode, audio_frames: int
) -> None:
    clip = clips(fps)
    video = probe(clip).video
    assert video is not None
    timeline = plan_timeline(video, audio_frames / fps, sync_mode, trim_start=float(5 / fps), trim_end=float(36 / fps))
    count = timeline.frame_count
    whole = [
        (index, number_in(pixels), sha256(pixels.tobytes()).hexdigest())
        for index, pixels in frames_on_timeline(clip, timeline, segment(0, count), held_bytes=FEW)
    ]
    assert [index for index, _, _ in whole] == list(range(count))
    assert [number for _, number, _ in whole] == [timeline.target_frame(index) for index in range(count)]
    in_parts = [
        (index, number_in(pixels), sha256(pixels.tobytes()).hexdigest())
        for start, stop in ((0, 1), (1, count // 3), (count // 3, count - 2), (count - 2, count))
        for index, pixels in frames_on_timeline(clip, timeline, segment(start, stop), held_bytes=FEW)
    ]
    assert in_parts == whole


@pytest.mark.parametrize("sync_mode", [SyncMode.LOOP, SyncMode.BOUNCE])
def test_a_short_clip_played_from_memory_is_the_same(clips: Callable[[Fraction], Path], sync_mode: SyncMode) -> None:
    clip = clips(Fraction(25))
    timeline = Timeline(fps=25, frame_count=100, target_frame_count=FRAMES, sync_mode=sync_mode)
    played = [
        [
            (index, sha256(pixels.tobytes()).digest())
            for index, pixels in frames_on_timeline(clip, timeline, part, held_bytes=held)
        ]
        for part in [segment(30, 90)]
        for held in (FEW, 64 * FRAME_BYTES)
    ]
    assert played[0] == played[1]


def test_frames_belong_to_the_caller(clips: Callable[[Fraction], Path]) -> None:
    timeline = Timeline(fps=25, frame_count=100, target_frame_count=FRAMES, sync_mode=SyncMode.REMAP)
    for index, pixels in frames_on_timeline(clips(Fraction(25)), timeline, segment(0, 100)):
        assert number_in(pixels) == timeline.target_frame(index)
        pixels[:] = 0


def test_playing_backwards_holds_no_more_than_it_may(tmp_path: Path) -> None:
    clip = write_numbered(tmp_path / "long.mp4", 400, options={"preset": "ultrafast", "g": "50"})
    timeline = Timeline(fps=25, frame_count=799, target_frame_count=400, sync_mode=SyncMode.BOUNCE)
    tracemalloc.start()
    try:
        seen = [
            number_in(pixels)
            for _, pixels in frames_on_timeline(clip, timeline, segment(399, 799), held_bytes=20 * FRAME_BYTES)
        ]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert seen == list(range(399, -1, -1))
    assert peak < 30 * FRAME_BYTES


@pytest.mark.parametrize(
    "timeline",
    [
        Timeline(fps=Fraction(30), frame_count=100, target_frame_count=40),
        Timeline(fps=Fraction(25), frame_count=100, target_frame_count=41),
        Timeline(fps=Fraction(25), frame_count=9, target_frame_count=40),
    ],
    ids=["another rate", "another length", "segment beyond its end"],
)
def test_a_timeline_of_another_video_is_refused(clips: Callable[[Fraction], Path], timeline: Timeline) -> None:
    with pytest.raises(MediaError) as caught:
        list(frames_on_timeline(clips(Fraction(25)), timeline, segment(0, 10)))
    assert caught.value.fault.code is FaultCode.REQUEST_INVALID


def test_a_product_of_an_earlier_stage_is_played_by_its_place_on_the_timeline(
    clips: Callable[[Fraction], Path],
) -> None:
    clip = clips(Fraction(25))
    played = frames_laid_out(clip, segment(100, 140), segment(111, 117))
    assert [(index, number_in(pixels)) for index, pixels in played] == [(100 + k, k) for k in range(11, 17)]
    with pytest.raises(MediaError) as caught:
        list(frames_laid_out(clip, segment(0, 41), segment(0, 1)))
    assert caught.value.fault.code is FaultCode.REQUEST_INVALID
