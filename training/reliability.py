"""Reliability: whether errors are as large as was expected, tenth by tenth, as a table and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from .calibration import Observed, together, weights_of
from .evaluate import markdown

PARTS = 10
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
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    blocks = {name: reliability(cases) for name, cases in groups.items()}
    values = [100 * max(value, 1e-4) for parts in blocks.values() for part in parts for value in (part.expected, part.observed)]
    ends = np.array([min(values) / 1.3, max(values) * 1.3])
    figure, plot = pyplot.subplots(figsize=(6.88, 6.88))
    plot.fill_between(ends, ends * (1 - _AGREES), ends * (1 + _AGREES), color="0.9")
    plot.plot(ends, ends, color="0.56")
    for name, parts in blocks.items():
        plot.plot([100 * part.expected for part in parts], [100 * part.observed for part in parts], "o-", label=name)
    label = "{} error, % of the rig's size"
    plot.set(xscale="log", yscale="log", xlim=ends, ylim=ends, xlabel=label.format("expected"), ylabel=label.format("observed"))
    plot.legend()
    figure.savefig(path, dpi=100)
    pyplot.close(figure)
    with Image.open(path) as image:  # few colours, for it lies beside the documents
        few = image.convert("RGB").quantize(32)
    few.save(path, optimize=True)
