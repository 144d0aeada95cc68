from fractions import Fraction
from pathlib import Path

import pytest
from pydantic import ValidationError

from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.jobs import Segment, Timeline
from gpu_tasks.contract.media import VideoInfo
from gpu_tasks.contract.options import SyncMode
from gpu_tasks.media.errors import MediaError
from gpu_tasks.media.timeline import plan_timeline

RATES = [Fraction(24000, 1001), Fraction(25), Fraction(30000, 1001), Fraction(30), Fraction(50), Fraction(60)]
DOCS = Path(__file__).parents[2] / "docs" / "lengths.md"


def video(frame_count: int, fps: Fraction) -> VideoInfo:
    seconds = float(frame_count / fps)
    return VideoInfo(width=64, height=64, fps=fps, frame_count=frame_count, duration_seconds=seconds, codec="h264")


def shown(timeline: Timeline) -> list[int]:
    return [timeline.target_frame(index) for index in range(timeline.frame_count)]


@pytest.mark.parametrize(
    ("seconds", "fps", "frame_count"),
    [
        (2.0, Fraction(25), 50),
        (2.019, Fraction(25), 50),
        (2.02, Fraction(25), 51),
        (2.1, Fraction(25), 53),
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


@pytest.mark.parametrize("fps", RATES, ids=str)
@pytest.mark.parametrize("sync_mode", SyncMode)
@pytest.mark.parametrize("samples", [1, 7_000, 64_000, 64_001, 200_017, 1_000_000])
def test_every_mode_lasts_as_long_as_its_definition_says(fps: Fraction, sync_mode: SyncMode, samples: int) -> None:
    sound = Fraction(samples, 16_000)
    timeline = plan_timeline(video(100, fps), float(sound), sync_mode)
    fitting = max(1, int(sound * fps + Fraction(1, 2)))
    expected = {SyncMode.CUT_OFF: min(100, fitting), SyncMode.SILENCE: max(100, fitting)}
    assert timeline.frame_count == expected.get(sync_mode, fitting)
    assert abs(timeline.sample_count(48_000) - timeline.frame_count / fps * 48_000) <= Fraction(1, 2)


def test_a_loop_starts_again_and_a_bounce_turns_round_without_showing_an_end_twice() -> None:
    clip = video(4, Fraction(25))
    assert shown(plan_timeline(clip, 0.4, SyncMode.LOOP)) == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]
    assert shown(plan_timeline(clip, 0.4, SyncMode.BOUNCE)) == [0, 1, 2, 3, 2, 1, 0, 1, 2, 3]
    assert shown(plan_timeline(clip, 0.08, SyncMode.BOUNCE)) == [0, 1]
    assert shown(plan_timeline(video(1, Fraction(25)), 0.12, SyncMode.BOUNCE)) == [0, 0, 0]
    assert shown(plan_timeline(video(2, Fraction(25)), 0.2, SyncMode.BOUNCE)) == [0, 1, 0, 1, 0]


def test_cut_off_ends_with_the_shorter_and_silence_holds_the_last_frame() -> None:
    clip = video(4, Fraction(25))
    assert shown(plan_timeline(clip, 0.4, SyncMode.CUT_OFF)) == [0, 1, 2, 3]
    assert shown(plan_timeline(clip, 0.08, SyncMode.CUT_OFF)) == [0, 1]
    assert shown(plan_timeline(clip, 0.28, SyncMode.SILENCE)) == [0, 1, 2, 3, 3, 3, 3]
    assert shown(plan_timeline(clip, 0.08, SyncMode.SILENCE)) == [0, 1, 2, 3]


@pytest.mark.parametrize("audio", [1, 2, 5, 9, 10, 11, 20, 25, 333])
def test_remap_spreads_the_target_evenly_over_the_sound(audio: int) -> None:
    frames = shown(plan_timeline(video(10, Fraction(25)), Fraction(audio, 25), SyncMode.REMAP))
    assert len(frames) == audio
    assert frames == sorted(frames)
    # What is on the screen is what the stretched target shows in the middle of that time.
    middles = [(index + 0.5) * 10 / audio for index in range(audio)]
    assert all(frame <= middle <= frame + 1 for frame, middle in zip(frames, middles, strict=True))
    if audio >= 10:
        times = [frames.count(frame) for frame in range(10)]
        assert max(times) - min(times) <= 1


@pytest.mark.parametrize(
    ("start", "end", "clip"),
    [
        (0.0, None, None),
        (0.0, 4.0, None),
        (1.0, None, (25, 100)),
        (1.001, 2.0, (26, 50)),
        (0.96, 1.04, (24, 26)),
        (0.1, 0.2, (3, 5)),
        (3.96, None, (99, 100)),
        (0.0, 4.04, None),
    ],
)
def test_a_trim_begins_with_the_first_frame_at_its_start_and_ends_before_the_first_at_its_end(
    start: float, end: float | None, clip: tuple[int, int] | None
) -> None:
    timeline = plan_timeline(video(100, Fraction(25)), None, SyncMode.LOOP, trim_start=start, trim_end=end)
    expected = None if clip is None else Segment(start_frame=clip[0], stop_frame=clip[1])
    assert timeline.trim == expected
    assert timeline.frame_count == timeline.clip.frame_count
    assert timeline.target_frame_count == 100


@pytest.mark.parametrize(
    ("start", "end"), [(4.0, None), (3.97, None), (100.0, 101.0), (1.01, 1.03), (0.0, 4.05), (2.0, 40.0)]
)
def test_an_empty_trim_or_one_outside_the_target_is_refused(start: float, end: float | None) -> None:
    with pytest.raises(MediaError, match=r"trim\.(start|end)") as caught:
        plan_timeline(video(100, Fraction(25)), 1.0, SyncMode.LOOP, trim_start=start, trim_end=end)
    assert caught.value.fault.code is FaultCode.REQUEST_INVALID


@pytest.mark.parametrize("sync_mode", SyncMode)
def test_every_mode_plays_inside_the_trim(sync_mode: SyncMode) -> None:
    timeline = plan_timeline(video(100, Fraction(25)), 3.0, sync_mode, trim_start=1, trim_end=2)
    assert shown(timeline)[0] == 25
    assert set(shown(timeline)) == set(range(25, 50))


def test_a_trim_beyond_the_target_is_no_timeline() -> None:
    with pytest.raises(ValidationError):
        Timeline(fps=25, frame_count=5, target_frame_count=9, trim=Segment(start_frame=0, stop_frame=10))


def test_without_a_sound_all_modes_are_one_timeline() -> None:
    assert len({plan_timeline(video(9, Fraction(25)), None, mode).model_dump_json() for mode in SyncMode}) == 1


def length_table() -> str:
    """The table of the documentation, from the code it documents."""
    rows = ["| target | trim | audio | " + " | ".join(SyncMode) + " |", "|---|---|---|" + "---|" * len(SyncMode)]
    for frames, fps, trim, audio in (
        (250, Fraction(25), None, 4.0),
        (250, Fraction(25), None, 10.0),
        (250, Fraction(25), None, 25.0),
        (250, Fraction(25), (2.0, 5.5), 7.3),
        (300, Fraction(30000, 1001), None, 4.0),
        (300, Fraction(30000, 1001), None, 25.0),
        (300, Fraction(24000, 1001), None, 20.02),
        (600, Fraction(60), (0.5, None), 9.505),
    ):
        start, end = trim or (0.0, None)
        lengths = []
        for mode in SyncMode:
            timeline = plan_timeline(video(frames, fps), audio, mode, trim_start=start, trim_end=end)
            lengths.append(f"{timeline.frame_count} = {timeline.duration_seconds:.3f} s")
        span = f"{start:g} s to {'end' if end is None else f'{end:g} s'}" if trim else "none"
        rows.append(f"| {frames} frames, {fps} fps | {span} | {audio:g} s | " + " | ".join(lengths) + " |")
    return "\n".join(rows) + "\n"


def test_the_documented_lengths_are_those_of_the_code() -> None:
    assert length_table() in DOCS.read_text(encoding="utf-8")
