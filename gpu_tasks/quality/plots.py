"""Line plots as SVG text, for a page that loads nothing."""

from collections.abc import Iterator, Sequence
from html import escape
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

_WIDTH, _HEIGHT = 960, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 12, 28, 34
_X_TICKS: Final = 10
_Y_TICKS: Final = 4
# More points than pixels only make the file heavy.
_MOST_POINTS: Final = 1200

Curve = NDArray[np.float64]


class Line(NamedTuple):
    """A curve: (n,) float64, NaN where it is interrupted."""

    name: str
    y: Curve
    colour: str
    width: float = 1.4


class Plot(NamedTuple):
    """What is drawn over one axis.

    Attributes:
        x: (n,) float64, ascending, of all lines.
        bands: Shaded stretches of x.
        between: Two curves (2, n) to shade the space between.
        levels: Values of y at which a dashed line stands.
    """

    title: str
    x_name: str
    x: Curve
    y_range: tuple[float, float]
    lines: Sequence[Line]
    bands: Sequence[tuple[float, float]] = ()
    between: Curve | None = None
    levels: Sequence[float] = ()


def drawn(plot: Plot) -> str:
    """Return a plot as an SVG element."""
    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(plot.title)}">']
    parts += _surroundings(plot)
    parts += [
        f'<rect class="pause" x="{_x(plot, a):.1f}" y="{_TOP}" width="{max(_x(plot, b) - _x(plot, a), 0.5):.1f}" '
        f'height="{_HEIGHT - _TOP - _BOTTOM}"/>'
        for a, b in plot.bands
    ]
    if plot.between is not None:
        there = [f"{_x(plot, x):.1f},{_y(plot, y):.1f}" for x, y in zip(plot.x, plot.between[0], strict=True)]
        back = [f"{_x(plot, x):.1f},{_y(plot, y):.1f}" for x, y in zip(plot.x, plot.between[1], strict=True)]
        parts.append(f'<polygon class="band" points="{" ".join([*there, *reversed(back)])}"/>')
    parts += [
        f'<line class="level" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{_y(plot, y):.1f}" y2="{_y(plot, y):.1f}"/>'
        for y in plot.levels
    ]
    for line in plot.lines:
        parts += [
            f'<polyline fill="none" stroke="{line.colour}" stroke-width="{line.width}" points="{points}"/>'
            for points in _runs(plot, line)
        ]
    parts += _legend(plot)
    return "".join([*parts, "</svg>"])


def _surroundings(plot: Plot) -> Iterator[str]:
    yield f'<text class="title" x="{_LEFT}" y="16">{escape(plot.title)}</text>'
    low, high = plot.y_range
    for value in _round_values(low, high, _Y_TICKS):
        y = _y(plot, value)
        yield f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text class="tick" x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>'
    for value in _round_values(float(plot.x[0]), float(plot.x[-1]), _X_TICKS):
        x = _x(plot, value)
        yield f'<text class="tick" x="{x:.1f}" y="{_HEIGHT - 18}" text-anchor="middle">{value:g}</text>'
    yield f'<text class="tick" x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 4}" text-anchor="end">{escape(plot.x_name)}</text>'


def _round_values(low: float, high: float, about: int) -> Iterator[float]:
    """Yield about so many round numbers (1, 2 or 5 times a power of ten apart) between two values."""
    rough = max(high - low, 1e-9) / about
    power = 10.0 ** np.floor(np.log10(rough))
    step = power * next(times for times in (1, 2, 5, 10) if times * power >= rough)
    for place in range(int(np.ceil(low / step)), int(np.floor(high / step)) + 1):
        yield round(place * step, 6)


def _legend(plot: Plot) -> Iterator[str]:
    x = _WIDTH - _RIGHT
    for line in reversed([line for line in plot.lines if line.name]):
        colour = f'style="fill:{line.colour}"'
        yield f'<text class="legend" x="{x}" y="16" text-anchor="end" {colour}>{escape(line.name)}</text>'
        # Japanese characters are about twice as wide as Latin ones.
        x -= sum(12 if ord(letter) > 0x2E80 else 7 for letter in line.name) + 18  # noqa: PLR2004  # first CJK block


def _runs(plot: Plot, line: Line) -> Iterator[str]:
    """Yield the points of each stretch without a gap, thinned."""
    step = max(1, len(plot.x) // _MOST_POINTS)
    points: list[str] = []
    for x, y in zip(plot.x[::step], line.y[::step], strict=True):
        if np.isfinite(y):
            points.append(f"{_x(plot, x):.1f},{_y(plot, y):.1f}")
        elif points:
            yield " ".join(points)
            points = []
    if points:
        yield " ".join(points)


def _x(plot: Plot, value: float) -> float:
    span = max(float(plot.x[-1] - plot.x[0]), 1e-9)
    return _LEFT + float(value - plot.x[0]) / span * (_WIDTH - _LEFT - _RIGHT)


def _y(plot: Plot, value: float) -> float:
    low, high = plot.y_range
    inside = min(max(float(value), low), high)
    return _TOP + (1 - (inside - low) / max(high - low, 1e-9)) * (_HEIGHT - _TOP - _BOTTOM)
