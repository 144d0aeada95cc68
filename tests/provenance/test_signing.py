import json
import os
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Literal

import c2pa
import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from gpu_tasks.contract.consent import Consent, ConsentBasis, RecordedConsent
from gpu_tasks.contract.credentials import CredentialState, InputClaim, Role, RunClaims, StageClaim
from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.jobs import Engine, Stage
from gpu_tasks.media.reader import VideoReader
from gpu_tasks.provenance.certificates import Trust, load_signatory
from gpu_tasks.provenance.credential import Credential
from gpu_tasks.provenance.errors import ProvenanceError
from gpu_tasks.provenance.settings import SigningSettings
from gpu_tasks.provenance.sign import APART_BYTES, sign_file
from gpu_tasks.provenance.verify import verify_here
from tests.media.footage import number_in
from tests.provenance.parties import Party

# A reader with nothing of ours in it: the library, the file, the anchors.
_FRESH_READER = """
import json, sys
from c2pa import Context, Reader, Settings
path, anchors = sys.argv[1:]
trust = {"trust_anchors": open(anchors).read(), "trust_config": "1.3.6.1.5.5.7.3.4"}
with Reader(path, context=Context(settings=Settings.from_dict({"trust": trust}))) as reader:
    print(json.dumps([reader.get_validation_state(), reader.get_active_manifest()]))
"""


def read_afresh(path: Path, trust: Trust) -> tuple[str, dict[str, Any]]:
    anchors = path.with_suffix(".anchors")
    anchors.write_text(trust.anchors_pem)
    done = subprocess.run(
        [sys.executable, "-c", _FRESH_READER, str(path), str(anchors)], capture_output=True, check=True, timeout=120
    )
    state, manifest = json.loads(done.stdout)
    return state, manifest


def assertion(manifest: dict[str, Any], label: str) -> dict[str, Any]:
    (found,) = (entry["data"] for entry in manifest["assertions"] if entry["label"] == label)
    return dict(found)


def manifest_bytes(path: Path) -> bytes:
    """Everything in an MP4 before its index: the file type and the manifest."""
    content = path.read_bytes()
    return content[: content.index(b"moov")]


def still(path: Path) -> Path:
    # Noise, so that a picture of this picture could not hide in a few bytes.
    pixels = np.random.default_rng(1).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    assert cv2.imwrite(str(path), pixels)
    return path


def test_a_signed_video_is_trusted_by_the_librarys_own_reader_in_a_fresh_process(
    tmp_path: Path, clip: Path, credential: Credential, us: Party
) -> None:
    signed = tmp_path / "signed.mp4"
    report = sign_file(clip, signed, credential, us.signatory)
    state, manifest = read_afresh(signed, us.trust)
    assert state == "Trusted"
    assert manifest["label"] == report.manifest_label
    opened, synced, swapped = assertion(manifest, "c2pa.actions.v2")["actions"]
    assert opened["action"] == "c2pa.opened"
    assert [synced["action"], swapped["action"]] == ["c2pa.edited"] * 2
    assert synced["digitalSourceType"].endswith("/compositeSynthetic")
    assert synced["softwareAgent"] == {"name": "Lipswap wav2lip, draft engine", "version": "7"}
    assert swapped["digitalSourceType"].endswith("/compositeWithTrainedAlgorithmicMedia")
    assert len(swapped["parameters"]["ingredients"]) == 2
    assert [(entry["relationship"], entry["instance_id"]) for entry in manifest["ingredients"]] == [
        ("parentOf", "sha256:" + "a" * 64),
        ("inputTo", "sha256:" + "c" * 64),
        ("inputTo", "sha256:" + "b" * 64),
        ("inputTo", "sha256:" + "d" * 64),
    ]
    run = assertion(manifest, "org.lipswap.run")
    assert (run["task_id"], run["consent_id"]) == ("0123-task", "e" * 64)
    assert run["stages"][0]["model_revisions"] == {"draft-wav2lip": "7", "face_mesh_468": "fab00fd25fc7"}
    assert b"<script>" not in manifest_bytes(signed)


def test_signing_adds_a_few_kilobytes_and_changes_no_frame(
    tmp_path: Path, clip: Path, credential: Credential, us: Party
) -> None:
    before = clip.read_bytes()
    report = sign_file(clip, tmp_path / "signed.mp4", credential, us.signatory)
    assert clip.read_bytes() == before
    assert report.bytes_added == (tmp_path / "signed.mp4").stat().st_size - len(before)
    assert 3_000 < report.bytes_added < 8_000
    assert report.timestamped is False
    with VideoReader(tmp_path / "signed.mp4") as reader:
        assert [number_in(frame.pixels) for frame in reader] == list(range(50))
    content = (tmp_path / "signed.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")
    assert content[content.index(b"mdat") :] == before[before.index(b"mdat") :]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["signed.mp4"]


@pytest.mark.parametrize("name", ["p.jpg", "p.png"])
def test_a_preview_picture_is_signed_too(tmp_path: Path, name: str, claims: RunClaims, us: Party) -> None:
    preview = claims.model_copy(update={"is_preview": True})
    media_type: Literal["image/jpeg", "image/png"] = "image/jpeg" if name == "p.jpg" else "image/png"
    signed = tmp_path / f"signed-{name}"
    report = sign_file(still(tmp_path / name), signed, Credential(claims=preview, media_type=media_type), us.signatory)
    assert read_afresh(signed, us.trust)[0] == "Trusted"
    assert verify_here(signed, us.trust).claims == preview
    assert report.bytes_added < 8_000


def test_no_picture_lies_inside_the_credential(tmp_path: Path, clip: Path, credential: Credential, us: Party) -> None:
    signed = tmp_path / "signed.mp4"
    sign_file(clip, signed, credential, us.signatory)
    inside = manifest_bytes(signed)
    for start_of_picture in (b"\xff\xd8\xff", b"\x89PNG", b"RIFF"):
        assert start_of_picture not in inside
    text = json.dumps(read_afresh(signed, us.trust)[1])
    assert "thumbnail" not in text
    # The same search finds one where the library is left to its defaults.
    careless = tmp_path / "careless.jpg"
    source = still(tmp_path / "face.jpg")
    info = c2pa.C2paSignerInfo("es256", us.signatory.chain_pem.encode(), us.signatory.key_pem.encode(), None)
    manifest = Credential(claims=credential.claims, media_type="image/jpeg").to_manifest()
    with c2pa.Signer.from_info(info) as signer, c2pa.Builder(manifest) as builder:
        builder.sign_file(source, careless, signer)
    assert careless.read_bytes().count(b"\xff\xd8\xff") > 1
    assert "thumbnail" in json.dumps(read_afresh(careless, us.trust)[1])


def test_who_declared_consent_and_how_never_enters_the_file(
    tmp_path: Path, clip: Path, claims: RunClaims, us: Party
) -> None:
    consent = Consent(
        basis=ConsentBasis.WRITTEN_CONSENT, statement="Signed on paper in Lyon.", declared_by="Amélie Exemple"
    )
    recorded = RecordedConsent.of(consent)
    named = claims.model_copy(update={"consent_id": recorded.id})
    signed = tmp_path / "signed.mp4"
    sign_file(clip, signed, Credential(claims=named), us.signatory)
    found = verify_here(signed, us.trust).claims
    assert found is not None
    assert found.consent_id == recorded.id
    content = signed.read_bytes()
    for private in (consent.statement, consent.declared_by, consent.basis, recorded.salt or ""):
        for form in (private.encode(), private.encode("utf-16-le")):
            assert form not in content
    with pytest.raises(ValidationError):
        RunClaims.model_validate({**claims.model_dump(), "declared_by": consent.declared_by})


def test_threads_share_one_signatory(tmp_path: Path, clip: Path, claims: RunClaims, us: Party) -> None:
    def one(number: int) -> bool:
        mine = claims.model_copy(update={"task_id": f"task-{number}"})
        signed = tmp_path / f"{number}.mp4"
        sign_file(clip, signed, Credential(claims=mine), us.signatory)
        verdict = verify_here(signed, us.trust)
        return verdict.state is CredentialState.TRUSTED and verdict.claims == mine

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(one, range(40))) == [True] * 40
    assert not list(tmp_path.glob("*.partial"))


def test_what_lay_at_the_destination_is_replaced(tmp_path: Path, clip: Path, credential: Credential, us: Party) -> None:
    signed = tmp_path / "signed.mp4"
    signed.write_bytes(b"x" * 1_000_000)
    sign_file(clip, signed, credential, us.signatory)
    assert verify_here(signed, us.trust).state is CredentialState.TRUSTED


@pytest.mark.parametrize("answer", ["refuses", "talks nonsense", "says no"])
def test_without_its_timestamp_authority_a_file_is_signed_and_the_report_says_so(
    answer: str, tmp_path: Path, clip: Path, credential: Credential, us: Party
) -> None:
    class Authority(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(200 if answer == "talks nonsense" else 503)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.end_headers()
            self.wfile.write(b"good morning")

        def log_message(self, *_: object) -> None:
            pass

    if answer == "refuses":
        # A port that nobody else gets, and where nobody listens.
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            report = sign_with_authority(closed.getsockname()[1], clip, tmp_path, credential, us)
    else:
        with HTTPServer(("127.0.0.1", 0), Authority) as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            report = sign_with_authority(server.server_port, clip, tmp_path, credential, us)
            server.shutdown()
            thread.join(10)
    assert report is False
    verdict = verify_here(tmp_path / "signed.mp4", us.trust)
    assert (verdict.state, verdict.signed_at) == (CredentialState.TRUSTED, None)
    assert [path.name for path in tmp_path.iterdir()] == ["signed.mp4"]


def sign_with_authority(port: int, clip: Path, folder: Path, credential: Credential, us: Party) -> bool:
    asking = us.signatory.model_copy(update={"tsa_url": f"http://127.0.0.1:{port}/"})
    return sign_file(clip, folder / "signed.mp4", credential, asking).timestamped


def test_a_large_file_is_signed_in_a_process_that_gives_its_memory_back(
    tmp_path: Path, clip: Path, credential: Credential, us: Party
) -> None:
    large, signed = tmp_path / "large.mp4", tmp_path / "signed.mp4"
    # A second media data box that no track refers to is sound MP4.
    size = APART_BYTES + 1
    large.write_bytes(clip.read_bytes() + size.to_bytes(4, "big") + b"mdat" + os.urandom(1024) * (size // 1024))
    before = peak_kilobytes()
    sign_file(large, signed, credential, us.signatory)
    assert peak_kilobytes() - before < 16 * 1024
    assert read_afresh(signed, us.trust)[0] == "Trusted"


def peak_kilobytes() -> int:
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1])


def test_a_file_that_is_no_video_is_refused_and_nothing_is_left(
    tmp_path: Path, credential: Credential, us: Party
) -> None:
    (tmp_path / "text.mp4").write_text("not a video at all")
    with pytest.raises(ProvenanceError) as caught:
        sign_file(tmp_path / "text.mp4", tmp_path / "signed.mp4", credential, us.signatory)
    assert caught.value.fault.code is FaultCode.INTERNAL
    assert [path.name for path in tmp_path.iterdir()] == ["text.mp4"]


def test_a_full_disk_is_called_a_full_disk(clip: Path, tmp_path: Path) -> None:
    # The limit of a process stands in for a disk: both refuse the write itself.
    script = """
import resource, signal, sys
from pathlib import Path
from gpu_tasks.provenance.certificates import load_signatory
from gpu_tasks.contract.credentials import InputClaim, RunClaims, StageClaim
from gpu_tasks.provenance.credential import Credential
from gpu_tasks.provenance.errors import ProvenanceError
from gpu_tasks.provenance.settings import SigningSettings
from gpu_tasks.provenance.sign import sign_file
clip, folder = Path(sys.argv[1]), Path(sys.argv[2])
claims = RunClaims(
    task_id="t",
    stages=(StageClaim(stage="wav2lip", engine="draft"),),
    inputs=(InputClaim(role="target", sha256="0" * 64),),
)
signatory = load_signatory(SigningSettings(development=folder / "c2pa"))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    sign_file(clip, folder / "signed.mp4", Credential(claims=claims), signatory)
except ProvenanceError as error:
    print(error.fault.code)
print(*sorted(path.name for path in folder.iterdir()))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(clip), str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout.splitlines() == ["disk_full", "c2pa"]


def test_a_credential_names_one_target_and_each_stage_once(claims: RunClaims) -> None:
    target = InputClaim(role=Role.TARGET, sha256="0" * 64)
    stage = StageClaim(stage=Stage.WAV2LIP, engine=Engine.DRAFT)
    for change in ({"inputs": (target, target)}, {"inputs": claims.inputs[1:]}, {"stages": (stage, stage)}):
        with pytest.raises(ValidationError):
            RunClaims.model_validate({**claims.model_dump(), **change})


def test_a_signature_of_an_expired_certificate_is_not_made(clip: Path, tmp_path: Path, credential: Credential) -> None:
    old = load_signatory(
        SigningSettings(development=tmp_path / "c2pa"), now=datetime.now(UTC) - timedelta(days=9 * 365)
    )
    with pytest.raises(ProvenanceError):
        sign_file(clip, tmp_path / "signed.mp4", credential, old)
