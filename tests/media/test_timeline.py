from fractions import Fraction
from pathlib import Path

import pytest

from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.jobs import Segment, Timeline
from gpu_tasks.contract.media import VideoInfo
from gpu_tasks.contract.options import SyncMode
from gpu_tasks.media.errors import MediaError
from gpu_tasks.media.timeline import frames_on_timeline, plan_timeline
from tests.media.footage import number_in, write_numbered


def video(frame_count: int, fps: Fraction) -> VideoInfo:
    seconds = float(frame_count / fps)
    return VideoInfo(width=64, height=64, fps=fps, frame_count=frame_count, duration_seconds=seconds, codec="h264")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_numbered(tmp_path_factory.mktemp("timeline") / "clip.mp4", 40, fps=Fraction(25))


@pytest.mark.parametrize(
    ("seconds", "fps", "frame_count"),
    [
        (2.0, Fraction(25), 50),
        (2.019, Fraction(25), 50),
        (2.02, Fraction(25), 51),
        (0.5, Fraction(25), 13),
        (7.6265, Fraction(30000, 1001), 229),
        (0.0, Fraction(25), 1),
        (0.001, Fraction(60), 1),
        (None, Fraction(24000, 1001), 40),
    ],
)
def test_the_result_has_as_many_frames_as_fit_the_sound_best(
    seconds: float | None, fps: Fraction, frame_count: int
) -> None:
    timeline = plan_timeline(video(40, fps), seconds, SyncMode.LOOP)
    assert timeline == Timeline(fps=fps, frame_count=frame_count, target_frame_count=40)
    if seconds and seconds > 1 / fps:
        assert abs(timeline.duration_seconds - seconds) <= 0.5 / fps + 1e-9


@pytest.mark.parametrize(("start", "stop"), [(0, 20), (0, 100), (35, 45), (39, 41), (80, 100), (99, 100)])
def test_a_looped_target_starts_again_from_its_first_frame(clip: Path, start: int, stop: int) -> None:
    timeline = Timeline(fps=Fraction(25), frame_count=100, target_frame_count=40)
    played = frames_on_timeline(clip, timeline, Segment(start_frame=start, stop_frame=stop))
    seen = [(index, number_in(pixels)) for index, pixels in played]
    assert seen == [(i, i % 40) for i in range(start, stop)]


def test_sync_modes_that_are_not_built_are_refused_before_any_work(clip: Path) -> None:
    for sync_mode in set(SyncMode) - {SyncMode.LOOP}:
        timeline = Timeline(fps=Fraction(25), frame_count=100, target_frame_count=40, sync_mode=sync_mode)
        with pytest.raises(MediaError) as caught:
            frames_on_timeline(clip, timeline, Segment(start_frame=0, stop_frame=1))
        assert caught.value.fault.code is FaultCode.OPTION_UNSUPPORTED
        with pytest.raises(MediaError) as caught:
            plan_timeline(video(40, Fraction(25)), 1.0, sync_mode)
        assert caught.value.fault.code is FaultCode.OPTION_UNSUPPORTED


@pytest.mark.parametrize(
    "timeline",
    [
        Timeline(fps=Fraction(30), frame_count=100, target_frame_count=40),
        Timeline(fps=Fraction(25), frame_count=100, target_frame_count=41),
        Timeline(fps=Fraction(25), frame_count=9, target_frame_count=40),
    ],
    ids=["another rate", "another length", "segment beyond its end"],
)
def test_a_timeline_of_another_video_is_refused(clip: Path, timeline: Timeline) -> None:
    with pytest.raises(MediaError) as caught:
        list(frames_on_timeline(clip, timeline, Segment(start_frame=0, stop_frame=10)))
    assert caught.value.fault.code is FaultCode.REQUEST_INVALID
