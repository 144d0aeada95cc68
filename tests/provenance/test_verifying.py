import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import av
import c2pa
import pytest
from pydantic import ValidationError

from gpu_tasks.contract.credentials import CredentialState, RunClaims, SignerName, Verdict
from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.media.join import join
from gpu_tasks.provenance import native
from gpu_tasks.provenance.certificates import Trust, load_signatory, load_trust
from gpu_tasks.provenance.credential import Credential
from gpu_tasks.provenance.errors import ProvenanceError
from gpu_tasks.provenance.settings import SigningSettings
from gpu_tasks.provenance.sign import sign_file
from gpu_tasks.provenance.verify import _CONFINEMENT, verify, verify_here
from tests.provenance.parties import Party
from tests.waiting import wait_until


@pytest.fixture
def signed(tmp_path: Path, clip: Path, credential: Credential, us: Party) -> Path:
    path = tmp_path / "signed.mp4"
    sign_file(clip, path, credential, us.signatory)
    return path


def change(path: Path, position: int, *, bit: int = 1) -> Path:
    content = bytearray(path.read_bytes())
    content[position] ^= bit
    path.write_bytes(content)
    return path


def test_our_own_file_is_trusted_and_tells_its_claims(signed: Path, claims: RunClaims, us: Party) -> None:
    verdict = verify(signed, us.trust)
    assert verdict == verify_here(signed, us.trust)
    assert (verdict.state, verdict.claims, verdict.signed_at) == (CredentialState.TRUSTED, claims, None)
    assert verdict.signer == SignerName(organisation="Lipswap development", name="Lipswap development signer")
    assert verdict.signer.is_development
    assert verdict.reasons == ("Picture, sound and index are as they were signed, by a signer that is trusted here.",)


def test_one_bit_in_the_picture_is_found(signed: Path, us: Party) -> None:
    content = signed.read_bytes()
    for position in (content.index(b"mdat") + 4, content.index(b"mdat") + 500, len(content) - 1):
        verdict = verify_here(change(signed, position), us.trust)
        assert verdict == Verdict(
            state=CredentialState.INVALID,
            reasons=("The video was changed after it was signed.",),
            manifest_label=verdict.manifest_label,
        )
        change(signed, position)
    assert verify_here(signed, us.trust).state is CredentialState.TRUSTED


@pytest.mark.parametrize(
    "added", [b"free", b"skip", b"mfra", b"uuid", b"PK\3\4"], ids=["free", "skip", "mfra", "uuid", "zip"]
)
def test_what_hangs_behind_a_signed_file_is_found(added: bytes, signed: Path, us: Party, stranger: Party) -> None:
    box = (8 + 500).to_bytes(4, "big") + added + bytes(500)
    signed.write_bytes(signed.read_bytes() + box)
    verdict = verify(signed, us.trust)
    assert (verdict.state, verdict.claims, verdict.signer) == (CredentialState.INVALID, None, None)
    assert verdict.reasons[0].endswith("after it was signed.")
    assert verify(signed, stranger.trust).state is not CredentialState.TRUSTED


def test_one_bit_in_the_index_is_found(signed: Path, us: Party) -> None:
    change(signed, signed.read_bytes().index(b"mvhd") + 12)
    assert verify_here(signed, us.trust).state is CredentialState.INVALID


@pytest.mark.parametrize("claimed", [b"e" * 64, b"0123-task", b"a" * 64])
def test_an_edited_claim_is_found(claimed: bytes, signed: Path, us: Party) -> None:
    content = signed.read_bytes()
    assert claimed in content
    signed.write_bytes(content.replace(claimed, claimed[:-1] + b"9"))
    verdict = verify_here(signed, us.trust)
    assert (verdict.state, verdict.claims, verdict.signer) == (CredentialState.INVALID, None, None)
    assert "The credential was changed after it was signed." in verdict.reasons


def test_half_a_file_is_found(signed: Path, us: Party) -> None:
    content = signed.read_bytes()
    signed.write_bytes(content[: len(content) * 2 // 3])
    assert verify_here(signed, us.trust).state is CredentialState.INVALID


def test_a_copy_of_the_streams_carries_no_credential(signed: Path, tmp_path: Path, us: Party) -> None:
    copied, joined = tmp_path / "copied.mp4", tmp_path / "joined.mp4"
    with av.open(str(signed)) as source, av.open(str(copied), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    join([signed], destination=joined, fps=Fraction(25), audio_from=None, duration_seconds=2.0)
    for path in (copied, joined):
        verdict = verify(path, us.trust)
        assert (verdict.state, verdict.claims) == (CredentialState.NONE, None)
        assert "removed" in verdict.reasons[0]


def test_a_stranger_who_signs_our_claims_is_not_trusted(
    signed: Path, tmp_path: Path, credential: Credential, us: Party, stranger: Party
) -> None:
    forged = tmp_path / "forged.mp4"
    # Over our own credential, which the stranger's then replaces.
    sign_file(signed, forged, credential, stranger.signatory)
    verdict = verify(forged, us.trust)
    assert (verdict.state, verdict.reasons) == (
        CredentialState.UNTRUSTED,
        ("The signer is none that is trusted here.",),
    )
    assert verdict.claims == credential.claims
    assert verify(forged, stranger.trust).state is CredentialState.TRUSTED


def test_anchors_from_the_settings_decide_who_is_trusted(
    signed: Path, tmp_path: Path, us: Party, stranger: Party
) -> None:
    for party, state in ((us, CredentialState.TRUSTED), (stranger, CredentialState.UNTRUSTED)):
        anchors = tmp_path / "anchors.pem"
        anchors.write_text(party.trust.anchors_pem)
        trust = load_trust(SigningSettings(trust_anchors=anchors, development=tmp_path / "none"))
        assert verify_here(signed, trust).state is state


def test_a_signature_outlives_a_renewal_but_not_its_certificate(
    tmp_path: Path, clip: Path, credential: Credential
) -> None:
    settings = SigningSettings(development=tmp_path / "c2pa")
    # Not before it has signed and has been believed, on a busy machine.
    ends_soon = load_signatory(settings, now=datetime.now(UTC) - timedelta(days=5 * 365) + timedelta(seconds=8))
    signed = tmp_path / "signed.mp4"
    sign_file(clip, signed, credential, ends_soon)
    assert load_signatory(settings).chain_pem != ends_soon.chain_pem
    trust = load_trust(settings)
    assert verify_here(signed, trust).state is CredentialState.TRUSTED

    def verdict_when_over() -> Verdict | None:
        verdict = verify_here(signed, trust)
        return verdict if verdict.state is not CredentialState.TRUSTED else None

    verdict = wait_until(verdict_when_over, what="the certificate has expired")
    assert verdict.state is CredentialState.UNTRUSTED
    assert len(verdict.reasons) == 1
    assert "expired" in verdict.reasons[0]
    # What was changed besides is not excused by it.
    assert verify_here(change(signed, -1), trust).state is CredentialState.INVALID


def test_no_address_that_a_file_names_is_asked(tmp_path: Path, clip: Path, credential: Credential, us: Party) -> None:
    asked: list[str] = []

    class Canary(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    far = tmp_path / "far.mp4"
    with HTTPServer(("127.0.0.1", 0), Canary) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        info = c2pa.C2paSignerInfo("es256", us.signatory.chain_pem.encode(), us.signatory.key_pem.encode(), None)
        with native.context() as context, c2pa.Signer.from_info(info) as signer:
            builder = c2pa.Builder(credential.to_manifest(), context=context)
            builder.set_no_embed()
            builder.set_remote_url(f"http://127.0.0.1:{server.server_port}/manifest.c2pa")
            builder.sign_file(clip, far, signer)
        for look in (verify, verify_here):
            assert look(far, us.trust).state is not CredentialState.TRUSTED
        assert not asked
        # The canary sings for a library that is left to its defaults.
        with pytest.raises(c2pa.C2paError):
            c2pa.Reader(str(far))
        server.shutdown()
        thread.join(10)
    assert asked


@pytest.mark.parametrize(
    ("content", "state"),
    [
        (b"", CredentialState.NONE),
        (b"RIFF\0\0\0\0WAVEfmt ", CredentialState.NONE),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", CredentialState.NONE),
        (b"\0\0\0\x18ftypisom\0\0\0\0isomisom" + b"\xff" * 64, CredentialState.INVALID),
        (b"\xff\xd8\xff\xe0" + b"\0" * 64, CredentialState.INVALID),
    ],
    ids=["empty", "sound", "drawing", "broken video", "broken picture"],
)
def test_every_file_has_a_verdict(content: bytes, state: CredentialState, tmp_path: Path, us: Party) -> None:
    path = tmp_path / "file.mp4"
    path.write_bytes(content)
    assert verify(path, us.trust).state is state


def test_a_file_is_read_where_no_secret_of_ours_is(signed: Path, us: Party, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIPSWAP_R2_SECRET", "secret")
    _CONFINEMENT.close()
    assert verify(signed, us.trust).state is CredentialState.TRUSTED
    assert _CONFINEMENT._process is not None
    assert b"secret" not in Path(f"/proc/{_CONFINEMENT._process.pid}/environ").read_bytes()


def test_a_machine_that_fails_says_nothing_of_the_file(signed: Path, us: Party) -> None:
    verify(signed, us.trust)
    template = _CONFINEMENT._process
    assert template is not None
    # Enough to hash that the template is gone before the answer comes.
    with signed.open("ab") as file:
        file.write((1 << 30).to_bytes(4, "big") + b"mdat")
        file.truncate(file.tell() + (1 << 30) - 8)
    children = Path(f"/proc/{template.pid}/task/{template.pid}/children")
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(verify, signed, us.trust)
        child = wait_until(lambda: children.read_text().split(), what="the child runs")
        os.kill(int(child[0]), signal.SIGKILL)
        with pytest.raises(ProvenanceError) as caught:
            answer.result(60)
    assert caught.value.fault.code is FaultCode.OUT_OF_MEMORY
    assert caught.value.fault.is_retryable


def test_a_credential_that_is_not_ours_has_no_claims(
    tmp_path: Path, clip: Path, credential: Credential, us: Party
) -> None:
    for number, data in enumerate(({"task_id": "t"}, {**credential.claims.model_dump(mode="json"), "name": "A"})):
        manifest = credential.to_manifest()
        manifest["assertions"][1]["data"] = data
        path = tmp_path / f"{number}.mp4"
        info = c2pa.C2paSignerInfo("es256", us.signatory.chain_pem.encode(), us.signatory.key_pem.encode(), None)
        with native.context() as context, c2pa.Signer.from_info(info) as signer:
            c2pa.Builder(manifest, context=context).sign_file(clip, path, signer)
        verdict = verify_here(path, us.trust)
        assert (verdict.state, verdict.claims) == (CredentialState.TRUSTED, None)


@pytest.mark.parametrize("anchors", [{"anchors_pem": "none"}, {"tsa_anchors_pem": "none"}], ids=str)
def test_anchors_that_are_none_are_refused_before_there_is_a_verdict(anchors: dict[str, str], us: Party) -> None:
    with pytest.raises(ValidationError):
        Trust.model_validate({**us.trust.model_dump(), **anchors})
