"""The README's promise: one command, a result that can be shown, nothing paid twice, nothing left running.

The tests stand in the order of a session at the terminal; the last one presses Ctrl-C.
"""

import json
import wave
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest

from deployments.local.addresses import running_addresses
from gpu_tasks.media.audio import audio_seconds, load_mono
from gpu_tasks.media.probe import probe
from gpu_tasks.media.reader import VideoReader
from tests.command_line.kept_demo import Demo

SAMPLES = Path(__file__).parents[2] / "samples"
SPEECH, TARGET, SOURCE = SAMPLES / "speech.wav", SAMPLES / "target.mp4", SAMPLES / "source.jpg"
FAILED, CANCELLED, UNREACHABLE = 1, 3, 4
# Two on an idle machine. The stack kills after nine what has not ended by then, and a busy one takes its time for that.
STOP_SECONDS = 30.0


def first_frame(path: Path) -> bytes:
    with VideoReader(path, stop_frame=1) as reader:
        return next(iter(reader)).pixels.tobytes()


def test_the_demo_leaves_a_result_as_long_as_the_voice(demo: Demo) -> None:
    info = probe(demo.folder / "demo" / "result.mp4")

    assert info.video
    assert info.audio
    frame_seconds = float(1 / info.video.fps)
    assert abs(info.video.duration_seconds - audio_seconds(SPEECH)) <= frame_seconds
    # The sample's pixels are 128:117; the gate makes them square: 528 * 128 / 117 is 577.6.
    assert (info.video.width, info.video.height) == (578, 432)


def test_the_sound_of_the_result_is_the_driving_audio_in_time(demo: Demo) -> None:
    voice = load_mono(SPEECH)
    sound = load_mono(demo.folder / "demo" / "result.mp4")[: len(voice)]
    lags = range(-400, 401, 8)

    likeness = [float(np.dot(np.roll(sound, lag)[: len(sound)], voice[: len(sound)])) for lag in lags]

    best = lags[int(np.argmax(likeness))]
    assert abs(best) <= 16, f"late by {best / 16:.1f} ms"
    norm = np.linalg.norm(voice[: len(sound)]) * np.linalg.norm(sound)
    assert max(likeness) / norm > 0.9


def test_the_face_has_changed_and_the_rest_of_the_picture_has_not(demo: Demo) -> None:
    with VideoReader(TARGET, stop_frame=60) as before, VideoReader(demo.folder / "demo" / "result.mp4") as after:
        pairs = [
            (cv2.resize(a.pixels, (578, 432), interpolation=cv2.INTER_CUBIC).astype(int), b.pixels.astype(int))
            for a, b in zip(before, after, strict=False)
        ]

    changed = np.mean([np.abs(a - b).mean(axis=2) for a, b in pairs], axis=0)

    face, left_edge = changed[190:300, 219:339], changed[:, :80]
    assert face.mean() > 5.0
    assert left_edge.mean() < 2.5, "outside of the face only the encoder may differ"


def test_the_record_names_result_cost_and_jobs(demo: Demo) -> None:
    record = demo.record()

    assert record["status"] == record["state"] == "completed"
    assert record["result"]["bytes_uploaded"] == (demo.folder / "demo" / "result.mp4").stat().st_size
    assert set(record["cost"]["by_stage"]) == {"wav2lip", "facefusion"}
    assert record["cost"]["gpu_seconds"] > 0
    assert record["details"]["wav2lip_status"] == record["details"]["facefusion_status"] == "COMPLETED"
    stages = [entry["stage"] for entry in record["progress"]]
    assert stages == sorted(
        stages, key=["queued", "ingest", "wav2lip", "facefusion", "assemble", "publish", "completed"].index
    )


def test_the_contact_sheet_shows_before_and_after(demo: Demo) -> None:
    sheet = cv2.imread(str(demo.folder / "demo" / "compare.png"))

    assert sheet is not None
    assert sheet.shape[1] > 1000


def test_the_same_request_again_touches_no_gpu_worker(demo: Demo) -> None:
    out = demo.folder / "again.mp4"

    done = demo.command(
        "run", "--target", str(TARGET), "--audio", str(SPEECH), "--source", str(SOURCE), "--out", str(out), "--json"
    )

    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["task_id"] != demo.record()["task_id"]
    assert record["details"]["wav2lip_job_id"] == demo.record()["details"]["wav2lip_job_id"]
    assert record["cost"]["gpu_seconds"] == 0
    # Each task's file is signed for itself; the picture in it is one and the same.
    assert first_frame(out) == first_frame(demo.folder / "demo" / "result.mp4")


def test_the_result_is_signed_and_a_changed_copy_is_not_believed(demo: Demo) -> None:
    result = demo.folder / "demo" / "result.mp4"
    changed = bytearray(result.read_bytes())
    changed[-1000] ^= 1
    (demo.folder / "changed.mp4").write_bytes(changed)

    trusted = demo.command("verify", str(result), "--json")
    tampered = demo.command("verify", str(demo.folder / "changed.mp4"), "--json")

    assert trusted.returncode == 0, trusted.stderr
    assert json.loads(trusted.stdout)["claims"]["task_id"] == demo.record()["task_id"]
    assert tampered.returncode == FAILED
    assert json.loads(tampered.stdout)["state"] == "invalid"


def test_the_record_says_how_good_the_result_is_and_inspect_says_the_same(demo: Demo) -> None:
    quality = demo.record()["details"]["quality"]
    result = str(demo.folder / "demo" / "result.mp4")
    asked = demo.command(
        "inspect", result, "--target", str(TARGET), "--audio", str(SPEECH), "--source", str(SOURCE), "--json"
    )

    assert asked.returncode == 0, asked.stderr
    told = json.loads(asked.stdout)
    assert quality["verdict"] == told["verdict"] == "good"
    assert told["lip_sync"]["correlation"] == pytest.approx(quality["lip_sync"]["correlation"], abs=0.02)
    assert told["lip_sync"]["correlation"] >= 0.7


def test_what_was_asked_and_signed_stands_in_a_chain_that_is_whole(demo: Demo) -> None:
    done = demo.command("audit", "--json")

    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["entries"] >= 4
    again = demo.command("audit", "--known", json.dumps(report["tip"]))
    assert again.returncode == 0
    forged = {**report["tip"], "digest": "0" * 64}
    assert demo.command("audit", "--known", json.dumps(forged)).returncode == FAILED


def test_a_limit_that_was_set_before_the_start_holds_behind_the_api(demo: Demo, tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "long.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(np.random.default_rng(1).integers(-9000, 9000, 8000 * 91, np.int16).tobytes())
    done = demo.command("run", "--target", str(TARGET), "--audio", str(tmp_path / "long.wav"))

    assert done.returncode == FAILED
    assert "media_too_long" in done.stderr
    assert "90 s" in done.stderr


def test_status_tells_of_a_task_that_ended(demo: Demo) -> None:
    done = demo.command("status", demo.record()["task_id"], "--json")

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["status"] == "completed"


def test_a_cancelled_task_ends_cancelled(demo: Demo) -> None:
    # As much speech as this stack takes keeps its workers busy for longer than two commands take.
    long_speech = demo.folder / "long.wav"
    with wave.open(str(SPEECH)) as speech, wave.open(str(long_speech), "wb") as out:
        out.setparams(speech.getparams())
        out.writeframes(speech.readframes(speech.getnframes()) * 11)
    begun = demo.command("run", "--no-wait", "--json", "--target", str(TARGET), "--audio", str(long_speech))
    assert begun.returncode == 0, begun.stderr
    task_id = json.loads(begun.stdout)["task_id"]

    cancelled = demo.command("cancel", task_id)

    assert cancelled.returncode == 0, cancelled.stderr
    assert demo.command("status", task_id, "--wait").returncode == CANCELLED


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        pytest.param(("--target", str(TARGET)), "missing_audio_key", id="neither audio nor source"),
        pytest.param(("--target", "uploads/video/none.mp4", "--audio", str(SPEECH)), "object_missing", id="no object"),
        pytest.param(("--target", str(TARGET), "--audio", "/no/such.wav"), "object_missing", id="no file"),
        pytest.param(("--target", str(SOURCE), "--audio", str(SPEECH)), "media_unsupported", id="a picture as target"),
        pytest.param(("--target", str(TARGET), "--source", str(SPEECH)), "media_unsupported", id="a voice as source"),
        pytest.param(
            ("--target", str(TARGET), "--audio", str(SPEECH), "--option", "wav2lip.sharpness=3"),
            "request_invalid",
            id="unknown field",
        ),
        pytest.param(
            ("--target", str(TARGET), "--audio", str(SPEECH), "--option", "engine=neural"),
            "model_missing",
            id="a model that is not there",
        ),
    ],
)
def test_bad_input_gets_a_code_and_a_sentence(demo: Demo, arguments: tuple[str, ...], code: str) -> None:
    done = demo.command("run", *arguments)

    assert done.returncode == FAILED, done.stderr
    assert code in done.stderr
    assert "Traceback" not in done.stderr


def test_a_key_is_made_used_seen_and_revoked(demo: Demo) -> None:
    addresses = running_addresses(demo.data)
    assert addresses is not None
    made = demo.command("keys", "create", "Anna's laptop", "--scope", "read", "--max-tasks", "3", "--json")
    assert made.returncode == 0, made.stderr
    told = json.loads(made.stdout)
    assert (told["name"], told["scopes"], told["max_tasks"]) == ("Anna's laptop", ["read"], 3)
    assert "secret" not in json.dumps(told)
    bearer = {"Authorization": f"Bearer {told['key']}"}
    assert httpx.get(f"{addresses.api_url}/tasks", headers=bearer, timeout=60).json() == {
        "tasks": [],
        "next_cursor": None,
    }
    assert httpx.post(f"{addresses.api_url}/run", headers=bearer, json={}, timeout=60).status_code == 403

    listed = demo.command("keys", "list", "--json")
    (entry,) = [key for key in json.loads(listed.stdout) if key["id"] == told["id"]]
    assert told["key"] not in listed.stdout
    assert entry["revoked_at"] is None

    revoked = demo.command("keys", "revoke", told["id"], "--json")
    assert revoked.returncode == 0, revoked.stderr
    assert json.loads(revoked.stdout)["revoked_at"] is not None
    unknown = demo.command("keys", "revoke", "0" * 16)
    assert unknown.returncode == 1
    assert "lipswap keys list" in unknown.stderr


def test_a_second_stack_on_the_same_data_is_refused(demo: Demo) -> None:
    done = demo.command("up")

    assert done.returncode == UNREACHABLE
    assert str(demo.process.pid) in done.stderr


def test_an_address_where_nothing_listens_has_its_own_exit_code(demo: Demo) -> None:
    done = demo.command("status", "00000000-0000-0000-0000-000000000000", "--api", "http://127.0.0.1:9")

    assert done.returncode == UNREACHABLE


def test_ctrl_c_leaves_nothing_running(demo: Demo) -> None:
    seconds = demo.interrupt()

    assert seconds < STOP_SECONDS
    assert demo.left_processes() == []
