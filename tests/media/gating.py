"""A specimen through the gate."""

from pathlib import Path

from gpu_tasks.contract.faults import Fault
from gpu_tasks.contract.gate import MediaKind
from gpu_tasks.media.errors import MediaError
from gpu_tasks.media.gate import Admitted, admit_audio, admit_picture, admit_video
from tests.media.corpus.specimen import LIMITS, Specimen, Verdict


def admit(specimen: Specimen, path: Path) -> Admitted:
    """Hand a made specimen in as what it pretends to be; copies go into `work` beside it."""
    work_dir = path.parent / "work"
    work_dir.mkdir()
    if specimen.kind is MediaKind.VIDEO:
        return admit_video(path, LIMITS, specimen.policy, work_dir=work_dir)
    if specimen.kind is MediaKind.AUDIO:
        return admit_audio(path, LIMITS, specimen.policy, work_dir=work_dir)
    return admit_picture(path, LIMITS, work_dir=work_dir)


def answer(specimen: Specimen, path: Path) -> Admitted | Fault:
    try:
        return admit(specimen, path)
    except MediaError as error:
        return error.fault


def verdict(said: Admitted | Fault) -> Verdict:
    return said.code if isinstance(said, Fault) else frozenset(change.kind for change in said.report.changes)
