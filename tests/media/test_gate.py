import hashlib
from pathlib import Path

import pytest

from gpu_tasks.contract.faults import Fault, FaultCode
from gpu_tasks.contract.gate import ChangeKind
from gpu_tasks.media.gate import admit_video
from gpu_tasks.media.limits import GatePolicy, MediaLimits
from tests.media.corpus.making import PLAIN
from tests.media.corpus.specimen import Specimen
from tests.media.corpus.table import CORPUS, DOCUMENT, with_table
from tests.media.gating import answer, verdict


@pytest.mark.parametrize("specimen", CORPUS, ids=lambda specimen: f"{specimen.kind}: {specimen.name}")
def test_the_gate_says_of_every_file_what_the_table_says(tmp_path: Path, specimen: Specimen) -> None:
    path = tmp_path / specimen.file_name
    specimen.make(path)
    said = answer(specimen, path)
    assert verdict(said) == specimen.verdict
    left = [file.name for file in (tmp_path / "work").glob("*")]
    if isinstance(said, Fault):
        # Where we keep files is nobody's business.
        assert str(tmp_path) not in said.detail
        assert left == []
        return
    assert said.report.conforms == (said.path == path)
    assert left == ([] if said.report.conforms else [said.path.name])
    assert said.report.info.size_bytes == said.path.stat().st_size
    assert all(change.sentence.endswith(".") for change in said.report.changes)


def test_the_corpus_is_large_names_every_file_once_and_leaves_no_change_out() -> None:
    names = [(specimen.kind, specimen.name) for specimen in CORPUS]
    assert len(names) >= 200
    assert len(names) == len(set(names))
    told = [specimen.verdict for specimen in CORPUS]
    assert frozenset(ChangeKind) == frozenset().union(*(one for one in told if not isinstance(one, FaultCode)))


def test_the_documented_table_is_the_one_that_is_tested() -> None:
    document = DOCUMENT.read_text(encoding="utf-8")
    assert with_table(document) == document, "run: python -m tests.media.corpus.table"


def test_a_conforming_file_keeps_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "upload"
    PLAIN(path)
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    admitted = admit_video(path, MediaLimits(), GatePolicy(), work_dir=tmp_path)
    assert admitted.path == path
    assert admitted.report.conforms
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before
    assert list(tmp_path.iterdir()) == [path]


def test_what_was_normalised_conforms(tmp_path: Path) -> None:
    path = tmp_path / "upload"
    next(specimen for specimen in CORPUS if specimen.name == "mp4 turned by 270 degrees, 5.1 sound").make(path)
    once = admit_video(path, MediaLimits(), GatePolicy(), work_dir=tmp_path)
    twice = admit_video(once.path, MediaLimits(), GatePolicy(), work_dir=tmp_path)
    assert not once.report.conforms
    assert twice.report.conforms
    assert twice.report.info == once.report.info
