"""Signing: the very last step before a file is stored, because every later change of a byte breaks the signature."""

import errno
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

import c2pa
from pydantic import BaseModel, ConfigDict

from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.provenance import native
from gpu_tasks.provenance.apart import SignOrder, run_apart
from gpu_tasks.provenance.certificates import Signatory
from gpu_tasks.provenance.credential import Credential
from gpu_tasks.provenance.errors import ProvenanceError

# Above this size a file is signed in a process of its own: the library holds it once in memory, which a process that
# lives on would never give back.
APART_BYTES = 64 * 1024 * 1024
# EFBIG is the limit of a process, EDQUOT that of a user: to a stage each is a full disk.
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class SignReport(BaseModel):
    """What was done. `timestamped` is false without a timestamp authority, and when it did not answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    manifest_label: str
    bytes_added: int
    timestamped: bool


def sign_file(source: Path, destination: Path, credential: Credential, signatory: Signatory) -> SignReport:
    """Write `source` with a signed credential to `destination`; a large file in a process of its own.

    Args:
        source: An MP4, JPEG or PNG file, as `credential.media_type` says. It stays as it is.
        destination: Another path; whatever is there is replaced once the signed file is whole.
        credential: What is said of the file.
        signatory: Whose signature it is; see `load_signatory`.

    Returns:
        What was done.

    Raises:
        ProvenanceError: DISK_FULL; INTERNAL when the library refuses file, key or credential; OUT_OF_MEMORY.
        OSError: `source` cannot be read, or there is no folder for `destination`.
    """
    size_bytes = source.stat().st_size
    if size_bytes <= APART_BYTES:
        return sign_here(source, destination, credential, signatory)
    order = SignOrder(
        source=source.resolve(), destination=destination.resolve(), credential=credential, signatory=signatory
    )
    return run_apart(order, SignReport, size_bytes=size_bytes)


def sign_here(source: Path, destination: Path, credential: Credential, signatory: Signatory) -> SignReport:
    """Do what `sign_file` does, in this process whatever the size; threads may share a signatory."""
    if signatory.tsa_url is not None:
        try:
            return _sign(source, destination, credential, signatory)
        except ProvenanceError as error:
            if not isinstance(error.__cause__, c2pa.C2paError):
                raise
            # Whether it was the authority is not said in a way to rely on: what is wrong otherwise fails again below.
    return _sign(source, destination, credential, signatory.model_copy(update={"tsa_url": None}))


def _sign(source: Path, destination: Path, credential: Credential, signatory: Signatory) -> SignReport:
    label = f"urn:c2pa:{uuid4()}"
    # A reader must never find half a file under the real name.
    partial = destination.with_name(f"{destination.name}.{uuid4().hex}.partial")
    try:
        with source.open("rb") as unsigned, partial.open("x+b") as file:
            _write(unsigned, _Sink(file), {**credential.to_manifest(), "label": label}, credential, signatory)
        bytes_added = partial.stat().st_size - source.stat().st_size
        partial.replace(destination)
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise ProvenanceError(FaultCode.DISK_FULL) from error
        raise
    finally:
        partial.unlink(missing_ok=True)
    return SignReport(manifest_label=label, bytes_added=bytes_added, timestamped=signatory.tsa_url is not None)


def _write(
    unsigned: IO[bytes], sink: "_Sink", manifest: dict[str, Any], credential: Credential, signatory: Signatory
) -> None:
    info = c2pa.C2paSignerInfo(
        signatory.algorithm, signatory.chain_pem.encode(), signatory.key_pem.encode(), signatory.tsa_url
    )
    try:
        with (
            native.context() as context,
            c2pa.Signer.from_info(info) as signer,
            c2pa.Builder(manifest, context=context) as builder,
        ):
            builder.sign(signer, credential.media_type, unsigned, sink)
    except c2pa.C2paError as error:
        if sink.refused is not None:
            raise sink.refused from error
        raise ProvenanceError(FaultCode.INTERNAL, "The result could not be signed.") from error


class _Sink:
    """The file to write, which remembers why it refused: the library knows only that it did."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.refused: OSError | None = None
        self.read, self.seek, self.tell = file.read, file.seek, file.tell

    def write(self, content: bytes) -> int:
        try:
            return self._file.write(content)
        except OSError as error:
            self.refused = error
            raise

    def flush(self) -> None:
        try:
            self._file.flush()
        except OSError as error:
            self.refused = error
            raise
