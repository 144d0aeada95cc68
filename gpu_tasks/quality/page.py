"""The visual report: one HTML file that loads nothing, with verdict, figures, plots, contact sheet and worst frames."""

from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Final

import numpy as np

from gpu_tasks.contract.quality import CONCERN_WORDS, REASON_SENTENCES, VERDICT_WORDS, Thresholds, WorstFrame
from gpu_tasks.contract.sentences import Language
from gpu_tasks.faces.detector import FaceDetector
from gpu_tasks.quality.inspection import Inspection
from gpu_tasks.quality.plots import Line, Plot, drawn
from gpu_tasks.quality.rows import rows
from gpu_tasks.quality.stills import Still, stills
from gpu_tasks.quality.voice import stretches
from gpu_tasks.quality.words import WORDS, Label

_COLUMNS: Final = 8
_MOST_RATIO: Final = 3.0
_DB_RANGE: Final = (25.0, 55.0)
_VOICE, _MOUTH, _OWN, _PLAIN = "#8a6d00", "#0b57d0", "#9a9a9a", "#5b2da8"

_STYLE: Final = """
:root{color-scheme:light;font-family:system-ui,"Hiragino Sans","Noto Sans CJK JP","Yu Gothic",sans-serif}
body{margin:0 auto;max-width:1000px;padding:24px;color:#1d1d1f;background:#fff;line-height:1.5}
h1{font-size:22px;margin:0 0 4px}h2{font-size:17px;margin:32px 0 8px}
.file{color:#5f5f66;margin:0 0 16px;overflow-wrap:anywhere}
.verdict{display:inline-block;padding:4px 14px;border-radius:6px;font-weight:600;color:#fff}
.good{background:#1a7f37}.doubtful{background:#8a5a00}.poor{background:#b3261e}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:5px 10px;border-bottom:1px solid #e3e3e6}
th{font-weight:600;color:#5f5f66}td.n{font-variant-numeric:tabular-nums}
.yes{color:#1a7f37}.no{color:#b3261e;font-weight:700}
svg{width:100%;height:auto;display:block;margin:10px 0}
svg text{font-size:11px;fill:#5f5f66}svg .title{font-size:13px;fill:#1d1d1f;font-weight:600}
svg .legend{font-size:12px}
.grid{stroke:#ececf0}.level{stroke:#b3261e;stroke-dasharray:4 4}.pause{fill:#eef1f6}.band{fill:#d9d9de;opacity:.7}
.sheet{display:grid;gap:4px;align-items:center}.sheet img{width:100%;display:block}
.sheet span{font-size:12px;color:#5f5f66}
.worst{display:grid;grid-template-columns:repeat(auto-fill,minmax(460px,1fr));gap:16px}
figure{margin:0}figure div{display:flex;gap:4px}figure img{flex:1 1 0;min-width:0;height:auto;align-self:flex-start}
figcaption{font-size:13px}
"""


def page(
    inspection: Inspection, result: Path, detector: FaceDetector, thresholds: Thresholds, language: Language
) -> str:
    """Return the report as HTML.

    Args:
        inspection: What `inspect_video` returned.
        result: The video that was inspected; frames of it and of its target are read again.
        detector: Finds the mouths that are shown enlarged.
        thresholds: By which it was judged.
        language: Of the page.

    Raises:
        MediaError: As VideoReader does.
    """
    report, words = inspection.report, WORDS[language]
    times = [(2 * column + 1) * report.lengths.frames // (2 * _COLUMNS) for column in range(_COLUMNS)]
    pictures = stills(result, inspection.played, detector, [*times, *(worst.frame for worst in report.worst)])
    table = "".join(
        f'<tr><td>{escape(row.name)}</td><td class="n">{escape(row.value)}</td><td class="n">{escape(row.goal)}</td>'
        f"<td>{_mark(row.is_good)}</td></tr>"
        for row in rows(report, thresholds, language)
    )
    reasons = "".join(f"<li>{escape(REASON_SENTENCES[language][reason])}</li>" for reason in report.reasons)
    plots = "".join(drawn(plot) for plot in _plots(inspection, thresholds, words))
    return (
        f'<!doctype html><html lang="{language.value}"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{escape(words[Label.TITLE])}: '
        f"{escape(result.name)}</title><style>{_STYLE}</style></head><body>"
        f'<h1>{escape(words[Label.TITLE])}</h1><p class="file">{escape(result.name)}</p>'
        f'<p><span class="verdict {report.verdict.value}">{escape(VERDICT_WORDS[language][report.verdict])}</span></p>'
        f"<ul>{reasons}</ul><table><tr><th>{escape(words[Label.FIGURE])}</th><th>{escape(words[Label.VALUE])}</th>"
        f"<th>{escape(words[Label.GOAL])}</th><th></th></tr>{table}</table>{plots}"
        f"<h2>{escape(words[Label.SHEET])}</h2>{_sheet([pictures[index] for index in times], words)}"
        f"{_worst(report.worst, pictures, language)}"
        f"<h2>{escape(words[Label.LIMITS])}</h2><p>{escape(words[Label.LIMITS_TEXT])}</p></body></html>\n"
    )


def _mark(is_good: bool | None) -> str:  # noqa: FBT001  # a cell of a table
    return "" if is_good is None else '<span class="yes">✓</span>' if is_good else '<span class="no">✗</span>'


def _plots(inspection: Inspection, limits: Thresholds, words: Mapping[Label, str]) -> Iterator[Plot]:
    series = inspection.series
    seconds = np.arange(len(series.seen.opening)) / float(series.fps)
    if series.voice is not None:
        top = max(float(np.nanmax(series.seen.opening, initial=0.0)), 1e-6)
        lines = [
            Line(words[Label.OWN_MOUTH], series.seen.own_opening / top, _OWN, 1.0),
            Line(words[Label.VOICE], series.voice.loudness, _VOICE),
            Line(words[Label.MOUTH], series.seen.opening / top, _MOUTH, 1.8),
        ]
        if inspection.played is None:
            del lines[0]
        bands = [(seconds[start], seconds[stop - 1]) for start, stop in stretches(series.voice.pauses)]
        title = f"{words[Label.TIME_PLOT]} (▒ {words[Label.PAUSE]})"
        yield Plot(title, words[Label.SECONDS], seconds, (0, 1), lines, bands=bands)
    if (agreement := series.agreement) is not None:
        lines = [
            Line(words[Label.SHUFFLED], agreement.control_by_lag, "#77777d"),
            Line(words[Label.MOUTH], agreement.by_lag, _MOUTH, 2.0),
        ]
        yield Plot(
            words[Label.LAG_PLOT],
            words[Label.LATER],
            agreement.lags_ms,
            (-0.5, 1),
            lines,
            between=agreement.control_band,
            levels=[limits.correlation_good],
        )
    ratios = series.flicker_ratios
    if np.isfinite(ratios).any():
        line = Line("", ratios, _PLAIN)
        levels = [limits.flicker_good]
        yield Plot(words[Label.FLICKER_PLOT], words[Label.SECONDS], seconds, (0, _MOST_RATIO), [line], levels=levels)
    db = series.outside_db
    if np.isfinite(db).any():
        line = Line("", db, _PLAIN)
        levels = [limits.outside_good_db]
        yield Plot(words[Label.OUTSIDE_PLOT], words[Label.SECONDS], seconds, _DB_RANGE, [line], levels=levels)


def _sheet(shown: list[Still], words: Mapping[Label, str]) -> str:
    lines = (
        (Label.TARGET, [still.target for still in shown]),
        (Label.RESULT, [still.result for still in shown]),
        (Label.MOUTHS, [still.mouth for still in shown]),
    )
    cells = [
        f"<span>{escape(words[label])}</span>{''.join(_picture(address) for address in addresses)}"
        for label, addresses in lines
        if any(addresses)
    ]
    return f'<div class="sheet" style="grid-template-columns:64px repeat({len(shown)},1fr)">{"".join(cells)}</div>'


def _worst(worst: tuple[WorstFrame, ...], pictures: Mapping[int, Still], language: Language) -> str:
    if not worst:
        return ""
    words = WORDS[language]
    figures = []
    for each in worst:
        still = pictures[each.frame]
        shown = "".join(_picture(address) for address in (still.target, still.result, still.own_mouth, still.mouth))
        caption = f"{each.seconds:.2f} s, {CONCERN_WORDS[language][each.concern]}: {each.value:g}"
        figures.append(f"<figure><div>{shown}</div><figcaption>{escape(caption)}</figcaption></figure>")
    heading = f"{words[Label.WORST]} ({words[Label.TARGET]} | {words[Label.RESULT]})"
    return f'<h2>{escape(heading)}</h2><div class="worst">{"".join(figures)}</div>'


def _picture(address: str | None) -> str:
    return f'<img alt="" src="{address}">' if address else "<span></span>"
