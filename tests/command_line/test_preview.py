"""`lipswap preview`: the workers' own frames, in seconds, without a stack, and signed like every output."""

import json
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from deployments.preview.making import make_preview
from deployments.preview.planning import PreviewOrder
from flows.glimpsing import runs_of
from gpu_tasks.contract.artifacts import Artifact
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.jobs import Engine, FaceFusionJob, Segment, Stage, Wav2LipJob
from gpu_tasks.contract.manifest import manifest
from gpu_tasks.contract.options import SyncMode
from gpu_tasks.draft.models import face_models
from gpu_tasks.facefusion.pipeline import FaceSwap
from gpu_tasks.faces.tracks import track_faces
from gpu_tasks.media.audio import audio_seconds, load_mono
from gpu_tasks.media.gate import admit_video
from gpu_tasks.media.limits import GatePolicy, MediaLimits
from gpu_tasks.media.probe import probe
from gpu_tasks.media.reader import VideoReader
from gpu_tasks.media.still import read_image
from gpu_tasks.media.timeline import plan_timeline
from gpu_tasks.media.writer import VideoWriter
from gpu_tasks.provenance.certificates import Signatory, load_signatory
from gpu_tasks.provenance.settings import SigningSettings
from gpu_tasks.runtime.frames import changed_frames
from gpu_tasks.runtime.pipeline import Bench
from gpu_tasks.wav2lip.pipeline import LipSync
from tests.command_line.terminal import SOURCE, SPEECH, TARGET, typed

FAILED = 1
INPUTS = ("--target", str(TARGET), "--audio", str(SPEECH), "--source", str(SOURCE))


def verdict(folder: Path, file: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(typed(folder, "verify", file, "--json").stdout)
    return answer


@pytest.fixture(scope="module")
def signatory(tmp_path_factory: pytest.TempPathFactory) -> Signatory:
    return load_signatory(SigningSettings(development=tmp_path_factory.mktemp("signing")))


@pytest.mark.parametrize("name", ["glimpse.png", "glimpse.jpg"])
def test_one_frame_is_signed_as_an_ai_made_preview(tmp_path: Path, name: str) -> None:
    done = typed(tmp_path, "preview", *INPUTS, "--out", name, "--json")

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["frames_with_face"] == 1
    assert read_image(tmp_path / name).shape == (432, 578, 3)
    found = verdict(tmp_path, name)
    assert found["state"] == "trusted"
    assert found["claims"]["is_preview"]
    assert [stage["stage"] for stage in found["claims"]["stages"]] == ["wav2lip", "facefusion"]
    assert [given["role"] for given in found["claims"]["inputs"]] == ["target", "driving_audio", "source"]
    changed = bytearray((tmp_path / name).read_bytes())
    changed[-1000] ^= 1
    (tmp_path / f"changed-{name}").write_bytes(changed)
    assert verdict(tmp_path, f"changed-{name}")["state"] == "invalid"


def test_a_clip_shows_its_seconds_with_the_sound_that_belongs_to_them(tmp_path: Path) -> None:
    done = typed(tmp_path, "preview", *INPUTS[:4], "--at", "2", "--seconds", "1.5", "--json", language="ja")

    assert done.returncode == 0, done.stderr
    assert "プレビューとして署名しました" in done.stderr
    made = probe(tmp_path / "preview.mp4")
    assert made.video
    assert made.audio
    assert made.video.frame_count == 45
    voice, heard = load_mono(SPEECH), load_mono(tmp_path / "preview.mp4")
    # At the beginning of the frame that is on the screen at 2 s.
    start = round(json.loads(done.stdout)["start_seconds"] * 16_000)
    assert abs(start / 16_000 - 2) <= 1001 / 30000
    expected = voice[start : start + len(heard)]
    likeness = np.dot(heard, expected) / np.linalg.norm(heard) / np.linalg.norm(expected)
    assert likeness > 0.9
    assert verdict(tmp_path, "preview.mp4")["state"] == "trusted"


def workers_frame(folder: Path, index: int) -> Iterator[np.ndarray[Any, Any]]:
    """The frame that the two workers make of the whole clip's tracks, before anything is encoded."""
    work = folder / "work"
    work.mkdir()
    (work / "upload").write_bytes(TARGET.read_bytes())
    target = admit_video(work / "upload", MediaLimits(), GatePolicy(), work_dir=work)
    info = target.report.info
    assert info.video  # type: ignore[union-attr]  # a video's report
    timeline = plan_timeline(info.video, audio_seconds(SPEECH), SyncMode.LOOP)  # type: ignore[union-attr]  # the same
    models = face_models(2)
    track_faces(target.path, work / "tracks", models.detector, models.mesh, clip=timeline.clip)
    paths = {"work/target": target.path, "work/voice": SPEECH, "work/face": SOURCE, "work/tracks": work / "tracks"}
    given = {
        name: Artifact(key=name, sha256="0" * 64, size_bytes=path.stat().st_size, media_type="application/octet-stream")
        for name, path in paths.items()
    }
    bench = Bench(folder=work, inputs=paths, threads=2, checkpoint=lambda: None, report=lambda *_: None)
    shared = {
        "engine": Engine.DRAFT,
        "target": given["work/target"],
        "timeline": timeline,
        "tracks": given["work/tracks"],
        "segment": Segment(start_frame=index, stop_frame=index + 1),
    }
    lips = Wav2LipJob.model_validate(
        shared
        | {"model_revisions": manifest().revisions(Engine.DRAFT, Stage.WAV2LIP), "driving_audio": given["work/voice"]}
    )
    swap = FaceFusionJob.model_validate(
        shared
        | {
            "model_revisions": manifest().revisions(Engine.DRAFT, Stage.FACEFUSION),
            "sources": (given["work/face"],),
            "laid_out": Segment(start_frame=0, stop_frame=timeline.frame_count),
        }
    )
    with LipSync().change(lips, bench) as sync, FaceSwap().change(swap, bench) as put_on:
        for changed in changed_frames(lips, bench, sync):
            yield put_on(index, changed.pixels).pixels


@pytest.mark.parametrize("index", [75, 130], ids=["in the first round", "after the target begins again"])
def test_a_frame_is_the_one_that_the_workers_make(tmp_path: Path, signatory: Signatory, index: int) -> None:
    at = float(Fraction(index) / Fraction(30000, 1001)) + 0.01
    order = PreviewOrder(target=TARGET, audio=SPEECH, sources=(SOURCE,), destination=tmp_path / "frame.png", at=at)

    made = make_preview(order, signatory)

    assert made.start_seconds == pytest.approx(index * 1001 / 30000)
    (expected,) = workers_frame(tmp_path, index)
    difference = np.abs(read_image(made.path).astype(int) - expected.astype(int))
    with VideoReader(TARGET, start_frame=index % 120, stop_frame=index % 120 + 1) as reader:
        original = next(iter(reader)).pixels
    unchanged = cv2.resize(original, (578, 432), interpolation=cv2.INTER_CUBIC)
    assert difference.mean() < 0.05
    assert np.abs(expected.astype(int) - unchanged.astype(int))[190:300, 219:339].mean() > 5.0, "the face did change"


def test_a_part_without_a_face_is_said_so(tmp_path: Path, signatory: Signatory) -> None:
    with VideoWriter(tmp_path / "wall.mp4", width=320, height=240, fps=Fraction(25)) as writer:
        for _ in range(10):
            writer.write(np.full((240, 320, 3), 128, np.uint8))
    order = PreviewOrder(target=tmp_path / "wall.mp4", audio=SPEECH, destination=tmp_path / "out.png")

    with pytest.raises(FaultError) as caught:
        make_preview(order, signatory)

    assert caught.value.fault.code is FaultCode.NO_FACE_DETECTED
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        pytest.param(("--target", str(SPEECH), "--audio", str(SPEECH)), "no_video_stream", id="a voice as target"),
        pytest.param(("--target", str(TARGET)), "missing_audio_key", id="neither audio nor source"),
        pytest.param(("--target", str(TARGET), "--source", str(SPEECH)), "media_unsupported", id="a voice as source"),
        pytest.param((*INPUTS, "--at", "60"), "lasts 7.64 s", id="after the end"),
        pytest.param((*INPUTS, "--out", "out.gif"), ".png", id="a form that is not made"),
        pytest.param((*INPUTS, "--out", "no/such/out.png"), "no/such", id="no folder"),
        pytest.param(("--target", "none.mp4", "--audio", str(SPEECH)), "none.mp4", id="no file"),
    ],
)
def test_bad_input_is_a_sentence_and_leaves_nothing(tmp_path: Path, arguments: tuple[str, ...], told: str) -> None:
    done = typed(tmp_path, "preview", *arguments)

    assert done.returncode == FAILED, done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir() if path.name != ".lipswap"] == []


def test_the_frames_that_are_shown_are_looked_at_with_what_lies_around_them() -> None:
    clip = Segment(start_frame=10, stop_frame=100)

    runs = runs_of({98, 99, 10, 11, 12}, clip, 5)

    assert runs == (Segment(start_frame=10, stop_frame=18), Segment(start_frame=93, stop_frame=100))
    assert runs_of(range(20, 40), clip, 5) == (Segment(start_frame=15, stop_frame=45),)
