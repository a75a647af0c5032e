"""Reliability: whether errors are as large as was expected, tenth by tenth, as a table and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from .calibration import Observed, together, weights_of
from .evaluate import markdown

PARTS = 10
_SIDE, _EDGE = 560, 64  # pixels of the plot and of the margin about it
_COLORS = ("#1f5fa8", "#c8511b", "#3a8a3a", "#7a4fa0")
_TICKS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
_AGREES = 0.2  # the share by which observed and expected may differ


@dataclass(frozen=True)
class Part:
    """A tenth of all samples by what was expected of them: how many, and the mean expected and observed error, shares of the rig's size."""

    count: int
    expected: float
    observed: float

    @property
    def ratio(self) -> float:
        return self.observed / self.expected


def reliability(cases: Sequence[Observed], parts: int = PARTS) -> list[Part]:
    """Tenths of the samples, the surest first, in which each case weighs the same."""
    expected, observed, _ = together(cases)
    weights = weights_of(cases)
    order = np.argsort(expected, kind="stable")
    middle = np.cumsum(weights[order]) - weights[order] / 2
    which = np.minimum((middle / weights.sum() * parts).astype(int), parts - 1)
    rows = []
    for part in range(parts):
        chosen = order[which == part]
        if len(chosen):
            rows.append(Part(len(chosen), *(float(np.average(values[chosen], weights=weights[chosen])) for values in (expected, observed))))
    return rows


def summary(cases: Sequence[Observed]) -> str:
    """One line: how many tenths agree, the mean departure, and how well the order is told."""
    parts = reliability(cases)
    expected, observed, _ = together(cases)
    agree = sum(abs(part.ratio - 1) <= _AGREES for part in parts)
    off = float(np.mean([abs(part.ratio - 1) for part in parts]))
    order = float(np.corrcoef(np.log(expected + 1e-6), np.log(observed + 1e-4))[0, 1])
    return f"{agree} of {len(parts)} tenths within {_AGREES:.0%}, {off:.0%} off on average; log-correlation {order:.2f}; {len(cases)} cases"


def table(groups: dict[str, Sequence[Observed]]) -> str:
    """Markdown, a block of columns for each group of cases."""
    blocks = {name: reliability(cases) for name, cases in groups.items()}
    head = ["tenth", *(f"{name}: {column}" for name in blocks for column in ("count", "expected %", "observed %", "ratio"))]
    rows = []
    for number in range(PARTS):
        cells = [str(number + 1)]
        for parts in blocks.values():
            part = parts[number] if number < len(parts) else None
            cells += [""] * 4 if part is None else [str(part.count), f"{100 * part.expected:.2f}", f"{100 * part.observed:.2f}", f"{part.ratio:.2f}"]
        rows.append(cells)
    return markdown([head, *rows])


def draw(groups: dict[str, Sequence[Observed]], path: Path) -> None:
    """The reliability diagram as PNG: observed over expected error by tenths, both axes logarithmic, the band within 20 % shaded."""
    blocks = {name: reliability(cases) for name, cases in groups.items()}
    values = [max(value, 1e-4) for parts in blocks.values() for part in parts for value in (part.expected, part.observed)]
    low, high = np.log(min(values) / 1.3), np.log(max(values) * 1.3)

    def at(expected: float, observed: float) -> tuple[float, float]:
        x, y = ((np.log(max(value, 1e-4)) - low) / (high - low) * _SIDE for value in (expected, observed))
        return float(_EDGE + x), float(_EDGE + _SIDE - y)

    image = Image.new("RGB", (_SIDE + 2 * _EDGE, _SIDE + 2 * _EDGE), "white")
    pen = ImageDraw.Draw(image)
    ends = np.exp([low, high])
    pen.polygon([at(end, end * share) for end, share in zip(ends[[0, 1, 1, 0]], (1 - _AGREES, 1 - _AGREES, 1 + _AGREES, 1 + _AGREES), strict=True)], "#e6e6e6")
    pen.line([at(end, end) for end in ends], "#909090", 2)
    far, size = _EDGE + _SIDE, image.width - 1
    for box in ((0, 0, size, _EDGE - 1), (far + 1, 0, size, size), (0, far + 1, size, size), (0, 0, _EDGE - 1, size)):
        pen.rectangle(box, "white")  # where the band sticks out of the frame
    for tick in (tick for tick in _TICKS if ends[0] < tick < ends[1]):
        (x, _), (_, y) = at(tick, tick), at(tick, tick)
        pen.line([(x, _EDGE + _SIDE), (x, _EDGE + _SIDE + 6)], "black")
        pen.line([(_EDGE - 6, y), (_EDGE, y)], "black")
        pen.text((x, _EDGE + _SIDE + 10), f"{100 * tick:g}", "black", anchor="ma")
        pen.text((_EDGE - 10, y), f"{100 * tick:g}", "black", anchor="rm")
    for number, (name, parts) in enumerate(blocks.items()):
        color, dots = _COLORS[number % len(_COLORS)], [at(part.expected, part.observed) for part in parts]
        pen.line(dots, color, 2)
        for x, y in dots:
            pen.ellipse((x - 4, y - 4, x + 4, y + 4), color)
        pen.text((_EDGE + 14, _EDGE + 12 + 18 * number), name, color)
    pen.rectangle((_EDGE, _EDGE, _EDGE + _SIDE, _EDGE + _SIDE), outline="black")
    pen.text((_EDGE + _SIDE / 2, image.height - 18), "expected error, % of the rig's size", "black", anchor="mm")
    pen.text((_EDGE, _EDGE - 22), "observed error, % of the rig's size", "black", anchor="lm")
    image.quantize(32).save(path, optimize=True)
