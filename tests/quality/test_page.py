"""The page and the command: everything in one file, in the reader's language, with exit codes a script can use."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from gpu_tasks.contract.quality import REASON_SENTENCES, VERDICT_WORDS, QualityReport, Reason, Thresholds
from gpu_tasks.contract.sentences import Language
from gpu_tasks.draft.models import face_models
from gpu_tasks.quality.inspection import inspect_video
from gpu_tasks.quality.page import page
from gpu_tasks.quality.plots import Line, Plot, drawn
from gpu_tasks.quality.words import WORDS
from tests.command_line.terminal import typed
from tests.media.footage import write_video
from tests.quality.footage import FPS, SAMPLES, closed_face, spoken, syllables, talking, write_clip

LOUDNESS = syllables(75, pauses=[(30, 42)])


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its name is an attempt on the page."""
    folder = tmp_path_factory.mktemp("page")
    return write_clip(folder / "a<script>&.mp4", talking(0.2 * LOUDNESS), spoken(LOUDNESS))


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("target") / "target.mp4", talking(np.zeros(75)))


class _Read(HTMLParser):
    """Which elements there are, where they point, and whether all are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in {"src", "href", "action", "data"}]
        if tag not in {"meta", "img"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(content: str) -> _Read:
    reader = _Read()
    reader.feed(content)
    assert reader.open == []
    return reader


@pytest.mark.parametrize("language", Language)
def test_the_page_holds_everything_and_asks_for_nothing(clip: Path, target: Path, language: Language) -> None:
    detector = face_models().detector
    found = inspect_video(
        clip, detector, target=target, sources=[SAMPLES / "source.jpg"], thresholds=Thresholds(identity_poor=0.0)
    )
    content = page(found, clip, detector, Thresholds(), language)
    parsed = read(content)
    assert parsed.tags.count("svg") == 4
    assert parsed.tags.count("img") >= 24
    assert all(address.startswith("data:image/jpeg;base64,") for address in parsed.addresses)
    assert "script" not in parsed.tags
    assert not re.search(r"https?://|@import|url\(", content)
    assert found.report.reasons == (Reason.IDENTITY_OF_TARGET,)
    assert REASON_SENTENCES[language][Reason.IDENTITY_OF_TARGET] in parsed.text
    assert VERDICT_WORDS[language][found.report.verdict] in parsed.text
    assert all(word in parsed.text for label, word in WORDS[language].items() if label not in {"verdict", "pause"})


def test_a_page_without_target_or_sound_is_whole_as_well(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "bare.mp4", (np.full_like(closed_face(), 90) for _ in range(8)))
    found = inspect_video(clip, face_models().detector, thresholds=Thresholds())
    parsed = read(page(found, clip, face_models().detector, Thresholds(), Language.ENGLISH))
    assert "svg" not in parsed.tags
    assert "not measured" in parsed.text


def test_a_line_is_interrupted_where_nothing_was_measured() -> None:
    y = np.array([0.0, 1.0, np.nan, np.nan, 0.5, 0.25])
    svg = drawn(Plot("a & b", "x", np.arange(6.0), (0, 1), [Line("", y, "#000")]))
    points = [[pair.split(",") for pair in run.split()] for run in re.findall(r'<polyline[^>]*points="([^"]*)"', svg)]
    assert [len(run) for run in points] == [2, 2]
    heights = [float(height) for run in points for _, height in run]
    assert heights[1] < heights[2] < heights[3] < heights[0]
    assert "a &amp; b" in svg


def test_a_long_curve_is_thinned() -> None:
    many = np.linspace(0, 1, 50_000)
    svg = drawn(Plot("", "", many, (0, 1), [Line("", many, "#000")]))
    assert len(svg) < 60_000


def test_the_command_prints_figures_and_writes_the_page(clip: Path, target: Path, tmp_path: Path) -> None:
    html = tmp_path / "page.html"
    ran = typed(tmp_path, "inspect", str(clip), "--target", str(target), "--html", str(html), "--json", language="ja")
    assert ran.returncode == 0, ran.stderr
    report = QualityReport.model_validate(json.loads(ran.stdout))
    assert VERDICT_WORDS[Language.JAPANESE][report.verdict] in ran.stderr
    assert html.read_text(encoding="utf-8").startswith('<!doctype html><html lang="ja">')


def test_a_target_that_a_run_would_have_turned_upright_is_compared_upright(clip: Path, tmp_path: Path) -> None:
    lying = (np.ascontiguousarray(np.rot90(frame)) for frame in talking(np.zeros(75)))
    target = write_video(tmp_path / "lying.mp4", lying, fps=FPS, rotation=-90)
    ran = typed(tmp_path, "inspect", str(clip), "--target", str(target), "--json")
    report = QualityReport.model_validate(json.loads(ran.stdout))
    assert Reason.TARGET_NOT_COMPARABLE not in report.reasons
    assert report.outside is not None
    assert report.outside.psnr_db > 30


def test_a_target_with_pixels_that_are_not_square_fits_a_result_that_kept_them(tmp_path: Path) -> None:
    kept = typed(tmp_path, "inspect", str(SAMPLES / "target.mp4"), "--target", str(SAMPLES / "target.mp4"), "--json")
    report = QualityReport.model_validate(json.loads(kept.stdout))
    assert report.outside is not None
    assert report.outside.psnr_db == 99


def test_a_poor_result_and_a_broken_file_end_with_one(clip: Path, tmp_path: Path) -> None:
    strict = {"LIPSWAP_QUALITY_CORRELATION_GOOD": "1", "LIPSWAP_QUALITY_CORRELATION_POOR": "0.999"}
    poor = typed(tmp_path, "inspect", str(clip), **strict)
    assert poor.returncode == 1
    assert REASON_SENTENCES[Language.ENGLISH][Reason.MOUTH_UNRELATED] in poor.stderr
    (tmp_path / "text.mp4").write_text("no video")
    broken = typed(tmp_path, "inspect", str(tmp_path / "text.mp4"))
    assert broken.returncode == 1
    assert "Traceback" not in broken.stderr
    assert typed(tmp_path, "inspect", str(tmp_path / "nothing.mp4")).returncode == 1
