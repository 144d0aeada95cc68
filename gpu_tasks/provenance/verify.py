"""Verifying: whose credential a file carries, and whether its content is still the one that was signed."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import c2pa
from pydantic import BaseModel, ConfigDict, ValidationError

from gpu_tasks.confinement.confined import Confinement, Confines
from gpu_tasks.confinement.errors import BrokenError, ConfinedError, KilledError, TooLongError, TooMuchError
from gpu_tasks.contract.credentials import CredentialState, RunClaims, SignerName, Verdict
from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.provenance import native
from gpu_tasks.provenance.boxes import has_appendix
from gpu_tasks.provenance.certificates import Trust
from gpu_tasks.provenance.credential import RUN_LABEL
from gpu_tasks.provenance.errors import ProvenanceError

_CONFINEMENT = Confinement("gpu_tasks.provenance.verify")
# Hashing 300 MB/s (measured); the rest is room for a machine that is busy.
_CPU_SECONDS, _BASE_SECONDS, _BYTES_PER_SECOND = 600, 60.0, 5e6
# The library holds a file once or twice, whatever is in it.
_BASE_BYTES, _TIMES_THE_FILE = 2 << 30, 3
_HEAD_BYTES = 12
_MP4 = "video/mp4"
# The library says Trusted, Valid or Invalid; Valid says nothing of who signed.
_LIBRARY_TRUSTS = "Trusted"

UNTRUSTED_SIGNER = "signingCredential.untrusted"
EXPIRED_SIGNER = "signingCredential.expired"
TRUSTED_TIME = "timeStamp.trusted"
# With nothing but these the content is as it was signed, only nobody we believe vouches for it.
_ABOUT_THE_SIGNER = frozenset({UNTRUSTED_SIGNER, EXPIRED_SIGNER})
# The type box of an MP4 and the padding of the credential are not covered by the standard's digest.
_SOUND = "Picture, sound and index are as they were signed, by a signer that is trusted here."
_APPENDED = "Something was added to the file after it was signed."
_SENTENCES: Mapping[str, str] = {
    UNTRUSTED_SIGNER: "The signer is none that is trusted here.",
    EXPIRED_SIGNER: "The signer's certificate has expired, and no trusted timestamp says that it signed before.",
    "assertion.bmffHash.mismatch": "The video was changed after it was signed.",
    "assertion.bmffHash.malformed": "The video's digest in the credential is broken.",
    "assertion.dataHash.mismatch": "The picture was changed after it was signed.",
    "assertion.hashedURI.mismatch": "The credential was changed after it was signed.",
    "claimSignature.mismatch": "The credential was changed after it was signed.",
    "claimSignature.missing": "The credential carries no signature.",
}


class _Question(BaseModel):
    """What is asked of the confined process."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path
    trust: Trust


def verify(path: Path, trust: Trust) -> Verdict:
    """Look at a file from anybody, in a confined process: no credentials of ours, no network, limits on what it takes.

    A file that makes the process die, or take more than it may, is invalid. What is not the file's fault is a fault.

    Raises:
        ProvenanceError: OUT_OF_MEMORY when somebody else ended the process, INTERNAL when it took too long, did not
            start or failed in an unforeseen way.
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        size_bytes = os.fstat(file.fileno()).st_size
    question = _Question(path=path.resolve(), trust=trust)
    try:
        return _CONFINEMENT.run(_answer, question, reply=Verdict, confines=_confines(size_bytes))
    except (TooMuchError, BrokenError):
        return Verdict(state=CredentialState.INVALID, reasons=("The file could not be examined within limits.",))
    except KilledError as error:
        raise ProvenanceError(FaultCode.OUT_OF_MEMORY, "The process that verifies was ended.") from error
    except TooLongError as error:
        raise ProvenanceError(FaultCode.INTERNAL, "Verifying took too long.") from error
    except ConfinedError as error:
        raise ProvenanceError(FaultCode.INTERNAL, "The file could not be verified.") from error


def _answer(question: _Question) -> Verdict:
    return verify_here(question.path, question.trust)


def _confines(size_bytes: int) -> Confines:
    return Confines(
        cpu_seconds=_CPU_SECONDS,
        deadline_seconds=_BASE_SECONDS + size_bytes / _BYTES_PER_SECOND,
        memory_bytes=_BASE_BYTES + _TIMES_THE_FILE * size_bytes,
        file_bytes=0,
    )


def verify_here(path: Path, trust: Trust) -> Verdict:
    """Look at a file in this process.

    Args:
        path: An MP4, MOV, JPEG or PNG file; of every other kind it is said that it carries no credential.
        trust: Whose signatures count; see `load_trust`.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        kind = _kind(file.read(_HEAD_BYTES))
        if kind is None:
            return Verdict(state=CredentialState.NONE, reasons=("Only MP4, JPEG and PNG files are signed here.",))
        file.seek(0)
        with native.context(trust) as context:
            try:
                with c2pa.Reader(kind, file, context=context) as reader:
                    verdict = _judge(reader)
            except c2pa.C2paError.ManifestNotFound:
                return Verdict(
                    state=CredentialState.NONE,
                    reasons=("There is no credential: never signed, or removed when the file was written again.",),
                )
            except c2pa.C2paError:
                return Verdict(state=CredentialState.INVALID, reasons=("The file or its credential is damaged.",))
        # Others may sign files of another form; ours end with their frames or their index.
        if verdict.state is CredentialState.TRUSTED and kind == _MP4 and has_appendix(file):
            reasons, label = (_APPENDED,), verdict.manifest_label
            return Verdict(state=CredentialState.INVALID, reasons=reasons, manifest_label=label)
        return verdict


def _judge(reader: Any) -> Verdict:  # noqa: ANN401  # c2pa publishes no types
    manifest = reader.get_active_manifest() or {}
    label = manifest.get("label")
    results = reader.get_validation_results() or {}
    codes = set(_failures(results))
    if EXPIRED_SIGNER in codes:
        # Of an expired certificate the library says both; whether it was once trusted it does not look up.
        codes.discard(UNTRUSTED_SIGNER)
    reasons = tuple(dict.fromkeys(_SENTENCES.get(code, f"The check {code} failed.") for code in sorted(codes)))
    if reader.get_validation_state() == _LIBRARY_TRUSTS:
        is_ours = results.get("trustListUri") == native.SIGNERS
        state = CredentialState.TRUSTED if is_ours else CredentialState.UNTRUSTED
        reasons = (_SOUND if is_ours else _SENTENCES[UNTRUSTED_SIGNER],)
    elif codes and _ABOUT_THE_SIGNER.issuperset(codes):
        state = CredentialState.UNTRUSTED
    else:
        return Verdict(state=CredentialState.INVALID, reasons=reasons, manifest_label=label)
    signature = manifest.get("signature_info") or {}
    return Verdict(
        state=state,
        reasons=reasons,
        manifest_label=label,
        signer=SignerName(organisation=signature.get("issuer") or "", name=signature.get("common_name") or ""),
        signed_at=signature.get("time") if _has_trusted_time(results) else None,
        claims=_claims(manifest),
    )


def _has_trusted_time(results: Mapping[str, Any]) -> bool:
    return any(check["code"] == TRUSTED_TIME for check in results.get("activeManifest", {}).get("success", ()))


def _failures(results: Mapping[str, Any]) -> Iterator[str]:
    """Yield the codes of all failed checks: of the file's own credential and of those it took over from inputs."""
    yield from (check["code"] for check in results.get("activeManifest", {}).get("failure", ()))
    for delta in results.get("ingredientDeltas", ()):
        yield from (check["code"] for check in delta.get("validationDeltas", {}).get("failure", ()))


def _claims(manifest: Mapping[str, Any]) -> RunClaims | None:
    for assertion in manifest.get("assertions", ()):
        if assertion.get("label") == RUN_LABEL:
            try:
                return RunClaims.model_validate(assertion.get("data"))
            except ValidationError:
                # Another version's, or not ours but under our label.
                return None
    return None


def _kind(head: bytes) -> str | None:
    """Tell by content what the library may look for: its other formats are none that we sign."""
    if head[4:8] == b"ftyp":
        return _MP4
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    return None
