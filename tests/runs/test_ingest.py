"""What people send: let in as it is or made anew, refused with a code, and laid out as the request says."""

import json
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
import pillow_heif
import pytest
from PIL import Image
from pydantic import RootModel

from blocks.bounds import MediaBounds
from blocks.policy import PipelinePolicy
from flows import planning
from flows.footage import told
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.gate import ChangeKind
from gpu_tasks.contract.jobs import Engine, Segment
from gpu_tasks.contract.options import SyncMode
from gpu_tasks.media.audio import load_mono
from gpu_tasks.media.limits import GatePolicy, MediaLimits
from tests.media.corpus.making import QUIET_X265, VP9, covered
from tests.media.footage import click, tone, write_sound, write_video
from tests.runs.conftest import SAMPLES
from tests.runs.desk import (
    FPS,
    FRAMES,
    HEIGHT,
    POLICY,
    RATE,
    WIDTH,
    Desk,
    Make,
    Pixels,
    desk,
    face,
    plain_key,
    source_key,
    turned,
    voice_key,
)

__all__ = ["desk", "face", "plain_key", "source_key", "voice_key"]


class Shown(NamedTuple):
    """What a player shows."""

    width: int
    height: int
    fps: Fraction
    frame_count: int


def slowing(path: Path, face: list[Pixels]) -> None:
    times = [Fraction(number, 30) for number in range(10)] + [Fraction(1, 3) + Fraction(n, 10) for n in range(5)]
    write_video(path, face, times=times)


def odd(path: Path, face: list[Pixels]) -> None:
    write_video(path, (pixels[:-1, :-1] for pixels in face), codec="libvpx", container="webm", options=VP9)


def hlg(path: Path, face: list[Pixels]) -> None:
    """HEVC of 10 bits in BT.2020 with the curve of HLG, as phones film."""
    with av.open(str(path), "w", format="mp4") as output:
        stream = output.add_stream("libx265", rate=FPS, options=QUIET_X265)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p10le"
        context = stream.codec_context
        context.colorspace, context.color_primaries, context.color_trc = 9, 9, 18
        for number, pixels in enumerate(face):
            frame = av.VideoFrame.from_ndarray(pixels, format="bgr24").reformat(format="yuv420p10le")
            frame.pts, frame.time_base = number, 1 / FPS
            frame.colorspace, frame.color_primaries, frame.color_trc = 9, 9, 18
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


@pytest.mark.parametrize(
    ("make", "change", "shown"),
    [
        (turned, ChangeKind.TURNED, Shown(WIDTH, HEIGHT, FPS, FRAMES)),
        # Ten frames of 1/30 s, four of 1/10 s, and the last one, of which nobody says how long it lasts.
        (slowing, ChangeKind.RATE_MADE_CONSTANT, Shown(WIDTH, HEIGHT, Fraction(30), 23)),
        (odd, ChangeKind.MADE_EVEN, Shown(WIDTH - 2, HEIGHT - 2, FPS, FRAMES)),
        (hlg, ChangeKind.TONE_MAPPED, Shown(WIDTH, HEIGHT, FPS, FRAMES)),
    ],
)
def test_a_target_that_does_not_conform_becomes_a_result_as_a_player_shows_it(
    desk: Desk, face: list[Pixels], make: Make, change: ChangeKind, shown: Shown
) -> None:
    make(desk.file, face)
    footage = desk.taken_in(desk.request(target_key=desk.sent()))
    assert change in [done.kind for done in footage.changes.target]
    assert footage.target.media_type == "video/mp4"
    assert footage.faces.frames_with_face == footage.faces.frames_looked_at
    video = desk.assembled(footage).video
    assert video is not None
    assert Shown(video.width, video.height, video.fps, video.frame_count) == shown
    assert video.rotation_degrees == 0


def surround(path: Path) -> None:
    write_sound(path, tone(seconds=0.5, channels=6), layout="5.1")


def mp3_with_cover(path: Path) -> None:
    covered(path, codec="libmp3lame", container="mp3")


@pytest.mark.parametrize(("make", "changes"), [(surround, [ChangeKind.MIXED_DOWN]), (mp3_with_cover, [])])
def test_the_very_sound_that_was_sent_lies_under_the_result(
    desk: Desk, make: Callable[[Path], None], changes: list[ChangeKind]
) -> None:
    make(desk.file)
    footage = desk.taken_in(desk.request(audio_key=desk.sent("audio")))
    assert [done.kind for done in footage.changes.audio] == changes
    assert footage.audio is not None
    assert footage.audio.size_bytes == desk.file.stat().st_size
    media = desk.assembled(footage)
    assert media.video is not None
    assert media.audio is not None
    assert media.video.duration_seconds == pytest.approx(0.52, abs=0.03)
    assert media.audio.duration_seconds == pytest.approx(media.video.duration_seconds, abs=0.03)


def test_a_heic_of_a_phone_becomes_a_source_that_workers_read(desk: Desk) -> None:
    pillow_heif.register_heif_opener()
    with Image.open(SAMPLES / "source.jpg") as picture:
        picture.save(desk.file, "HEIF")
    footage = desk.taken_in(desk.request(source_keys=(desk.sent("source"),)))
    assert [done.kind for done in footage.changes.sources[0]] == [ChangeKind.RECODED]
    assert footage.sources[0].media_type == "image/png"


def test_what_conforms_is_kept_as_the_bytes_that_were_sent(desk: Desk) -> None:
    footage = desk.taken_in(desk.request())
    for kept, key in ((footage.target, desk.plain_key), (footage.sources[0], desk.source_key)):
        head = desk.store.head(key)
        assert head is not None
        assert kept.sha256 == head.metadata["sha256"]
        assert kept.key == f"work/ingest/{kept.sha256}"
    assert told(footage)["changes"] == {"target": [], "audio": [], "sources": [[]], "references": []}


def write_click(path: Path, face: list[Pixels]) -> None:
    """Write the frames with a click at 0.4 s."""
    write_sound(path.with_suffix(".wav"), click(at=round(0.4 * RATE), length=round(0.6 * RATE)))
    write_video(path.with_suffix(".mkv"), face, container="matroska")
    with (
        av.open(str(path.with_suffix(".mkv"))) as picture,
        av.open(str(path.with_suffix(".wav"))) as sound,
        av.open(str(path), "w", format="matroska") as output,
    ):
        streams = [picture.streams.video[0], sound.streams.audio[0]]
        tracks = [output.add_stream_from_template(stream) for stream in streams]
        for container, stream, track in zip((picture, sound), streams, tracks, strict=True):
            for packet in container.demux(stream):
                if packet.dts is not None:
                    packet.stream = track
                    output.mux(packet)


def test_the_targets_own_sound_is_cut_where_its_picture_is(desk: Desk, face: list[Pixels]) -> None:
    write_click(desk.file, face)
    footage = desk.taken_in(desk.request(target_key=desk.sent(), trim={"start": 0.2, "end": 0.52}))
    assert footage.timeline.trim == Segment(start_frame=5, stop_frame=13)
    assert footage.faces.frames_looked_at == 8
    assert told(footage)["sound"]["from"] == "target"
    video = desk.assembled(footage).video
    assert video is not None
    assert video.frame_count == 8
    heard = load_mono(desk.folder / "whole.mp4", sample_rate=RATE)
    assert int(np.abs(heard).argmax()) == pytest.approx(0.2 * RATE, abs=2)


@pytest.mark.parametrize(
    ("mode", "trim", "frames"),
    [
        (SyncMode.LOOP, None, 25),
        (SyncMode.BOUNCE, None, 25),
        (SyncMode.REMAP, None, 25),
        (SyncMode.CUT_OFF, None, 15),
        (SyncMode.SILENCE, None, 25),
        (SyncMode.CUT_OFF, {"start": 0.2}, 10),
    ],
)
def test_every_sync_mode_and_trim_reach_the_jobs(
    desk: Desk, voice_key: str, mode: SyncMode, trim: dict[str, float] | None, frames: int
) -> None:
    request = desk.request(audio_key=voice_key, sync_mode=mode, trim=trim)
    footage = desk.taken_in(request)
    job = planning.lip_sync_job(request, footage, Engine.DRAFT)
    assert (job.timeline.sync_mode, job.timeline.frame_count) == (mode, frames)
    assert (job.tracks, job.laid_out) == (footage.tracks, None)
    assert desk.store.head(footage.tracks.key) is not None


def test_an_upload_with_sound_may_be_as_large_as_a_video(desk: Desk) -> None:
    write_sound(desk.file, tone(seconds=1.0))
    request = desk.request(audio_key=desk.sent("audio"))
    size = desk.file.stat().st_size
    small = PipelinePolicy(max_audio_bytes=1000, max_video_bytes=size - 1)
    with pytest.raises(FaultError) as caught:
        desk.uploads(request, small)
    assert caught.value.fault.code is FaultCode.OBJECT_TOO_LARGE
    assert desk.taken_in(request, PipelinePolicy(max_audio_bytes=1000, max_video_bytes=size)).audio is not None


@pytest.mark.parametrize(
    ("bounds", "code"),
    [
        ({"max_seconds": 0.3}, FaultCode.MEDIA_TOO_LONG),
        ({"max_pixels": 10_000}, FaultCode.PICTURE_TOO_LARGE),
        ({"max_fps": 20}, FaultCode.MEDIA_UNSUPPORTED),
    ],
)
def test_the_policy_of_the_deployment_bounds_what_is_let_in(
    desk: Desk, bounds: dict[str, Any], code: FaultCode
) -> None:
    with pytest.raises(FaultError) as caught:
        desk.taken_in(desk.request(), PipelinePolicy(**bounds))
    assert caught.value.fault.code is code
    assert f"Target, {desk.plain_key}." in caught.value.fault.detail


def test_the_bounds_of_a_deployment_are_those_of_the_gate_unless_somebody_changes_them() -> None:
    limits = planning.limits_of(POLICY)
    assert (limits.media, limits.gate) == (MediaLimits(), GatePolicy())
    known = {*MediaLimits.model_fields, *GatePolicy.model_fields} - {"max_bytes"}
    assert set(MediaBounds.model_fields) - known == {"max_video_bytes", "max_audio_bytes", "max_image_bytes"}
    assert known < set(MediaBounds.model_fields)


def test_another_trim_mode_or_policy_is_another_ingest_and_equal_requests_are_one(desk: Desk) -> None:
    plain = desk.uploads(desk.request())
    others = [
        desk.uploads(desk.request(trim={"start": 0.1})),
        desk.uploads(desk.request(sync_mode="remap")),
        desk.uploads(desk.request(), PipelinePolicy(hdr="refuse")),
    ]
    assert set(plain.revisions) == {"gate", "tracking", "face_detection_short_range", "face_mesh_468"}
    assert plain == desk.uploads(desk.request())
    assert len({each.model_dump_json() for each in (plain, *others)}) == 4


def test_one_video_for_two_dubs_is_made_conforming_and_tracked_once(desk: Desk, face: list[Pixels]) -> None:
    # Of its own content, so that no other test has handed it in.
    write_video(desk.file, [np.rot90(np.roll(frame, 2, axis=1), 2) for frame in face], rotation=180)
    key = desk.sent()
    before = set(desk.store.keys("work/ingest/"))
    first = desk.taken_in(desk.request(target_key=key))
    found = {name for name in set(desk.store.keys("work/ingest/")) - before if name.endswith(".json")}
    # What is read from here on is seen by a mark in it.
    for name in found:
        finding = desk.store.read_json(name, RootModel[dict[str, Any]])
        assert finding is not None
        marked = json.dumps(finding.root).replace("turned upright", "turned upright before")
        marked = re.sub(r'"track_count": \d+', '"track_count": 7', marked)
        desk.store.put_json(name, RootModel[dict[str, Any]](json.loads(marked)), if_absent=False)
    again = desk.taken_in(desk.request(target_key=key, sync_mode="bounce"))
    assert "upright before" in again.changes.target[0].sentence
    assert again.faces.track_count == 7
    assert (again.target, again.tracks) == (first.target, first.tracks)

    desk.store.delete(first.target.key)
    anew = desk.taken_in(desk.request(target_key=key, sync_mode="remap"))
    assert anew.changes.target == first.changes.target
    assert desk.store.head(first.target.key) is not None
