from fractions import Fraction
from pathlib import Path

import pytest

from gpu_tasks.confinement.confined import Confines
from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.media.costs import LONGEST_SECONDS, Allowance
from gpu_tasks.media.decision import recipe_of_video
from gpu_tasks.media.errors import MediaError
from gpu_tasks.media.facts import AudioFacts, PictureFacts, TrackFacts, VideoFacts
from gpu_tasks.media.limits import GatePolicy, MediaLimits
from gpu_tasks.media.orientation import Orientation

# What the flow gives the stage in which the gate runs, less what the rest of it needs.
STAGE_SECONDS = 1500
TRACK = TrackFacts(place=0, of=1, codec="aac", sample_rate=48_000, channels=2)


def facts(width: int, height: int, fps: int, *, seconds: int) -> VideoFacts:
    return VideoFacts(
        container="mov",
        codec="hevc",
        width=width,
        height=height,
        pixel_shape=Fraction(1),
        pixel_bits=10,
        orientation=Orientation(),
        transfer=18,
        primaries=9,
        is_interlaced=False,
        fps=Fraction(fps),
        frame_count=fps * seconds,
        is_constant=True,
        longest_reach=60,
        picture=PictureFacts(place=0, of=1),
        track=TRACK,
    )


def to_normalise(video: VideoFacts, folder: Path) -> Confines:
    recipe = recipe_of_video(video, GatePolicy(), source=Path("source"), destination=folder / "made.mp4")
    return Allowance().to_normalise(video, recipe)


@pytest.mark.parametrize(
    "video",
    [facts(4096, 2304, 240, seconds=600), facts(3840, 2160, 60, seconds=600), facts(1920, 1080, 60, seconds=600)],
    ids=["4K at 240 fps", "4K at 60 fps", "1080p at 60 fps"],
)
def test_work_that_would_not_be_done_in_time_is_refused_before_it_begins(video: VideoFacts, tmp_path: Path) -> None:
    with pytest.raises(MediaError) as caught:
        to_normalise(video, tmp_path)
    assert caught.value.fault.code is FaultCode.MEDIA_TOO_COSTLY
    assert "minutes of a processor. Send it shorter" in caught.value.fault.detail


@pytest.mark.parametrize(
    "video",
    [facts(3840, 2160, 30, seconds=100), facts(1920, 1080, 30, seconds=200), facts(64, 64, 25, seconds=1)],
    ids=["a phone's HDR", "three minutes", "a moment"],
)
def test_work_that_is_begun_ends_before_its_stage_does(video: VideoFacts, tmp_path: Path) -> None:
    for confines in (to_normalise(video, tmp_path), Allowance().to_check(video)):
        assert confines.cpu_seconds <= LONGEST_SECONDS < STAGE_SECONDS
        assert 90 <= confines.deadline_seconds <= LONGEST_SECONDS


def test_the_longest_conforming_video_is_let_in() -> None:
    limits, policy = MediaLimits(), GatePolicy()
    video = facts(1920, 1200, int(policy.working_fps), seconds=int(limits.max_seconds * 0.9))
    assert Allowance().to_check(video).file_bytes == 0


def test_a_copy_has_room_for_noise_but_not_for_the_whole_disk(tmp_path: Path) -> None:
    assert to_normalise(facts(1920, 1080, 30, seconds=60), tmp_path).file_bytes > 1920 * 1080 * 1800 * 0.5
    assert to_normalise(facts(1920, 1080, 60, seconds=115), tmp_path).file_bytes <= 8 << 30
    long = AudioFacts(container="wav", track=TRACK, seconds=60_000, gap_seconds=0)
    assert Allowance().to_resample(long, tmp_path).file_bytes <= 8 << 30
