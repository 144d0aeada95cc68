from pathlib import Path

import pytest

from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.gate import MediaKind
from gpu_tasks.media.errors import MediaError
from gpu_tasks.media.gate import Admitted, admit_audio, admit_picture, admit_video
from tests.media.corpus.specimen import LIMITS, Specimen, Verdict
from tests.media.corpus.table import CORPUS


def admit(specimen: Specimen, path: Path) -> Admitted:
    work_dir = path.parent / "work"
    work_dir.mkdir()
    if specimen.kind is MediaKind.VIDEO:
        return admit_video(path, LIMITS, specimen.policy, work_dir=work_dir)
    if specimen.kind is MediaKind.AUDIO:
        return admit_audio(path, LIMITS, specimen.policy, work_dir=work_dir)
    return admit_picture(path, LIMITS, work_dir=work_dir)


def said_of(specimen: Specimen, path: Path) -> Verdict:
    try:
        admitted = admit(specimen, path)
    except MediaError as error:
        # No path of ours, and nothing that the file brought, is told.
        assert str(path.parent) not in error.fault.detail
        return error.fault.code
    assert admitted.report.conforms == (admitted.path == path)
    return frozenset(change.kind for change in admitted.report.changes)


@pytest.mark.parametrize("specimen", CORPUS, ids=lambda specimen: f"{specimen.kind}: {specimen.name}")
def test_the_gate_says_of_every_file_what_the_table_says(tmp_path: Path, specimen: Specimen) -> None:
    path = tmp_path / specimen.file_name
    specimen.make(path)
    assert said_of(specimen, path) == specimen.verdict
    assert not [left for left in (tmp_path / "work").glob("*") if ".normalised." not in left.name]


def test_the_corpus_is_large_and_names_every_file_once() -> None:
    names = [(specimen.kind, specimen.name) for specimen in CORPUS]
    assert len(names) == len(set(names))
    assert len(names) >= 80
    assert FaultCode.MEDIA_TOO_LONG in {specimen.verdict for specimen in CORPUS}
