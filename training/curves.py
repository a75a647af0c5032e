"""Learning curves of runs: `python -m mocap_anything.training curves docs/runs/match7.jsonl … --metrics pck05 pck10 --out curves.png`."""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

_HOLD = {"pck10": "hold_pck10", "uv": "hold_uv", "xyz": "hold_xyz", "local": "hold_local", "miss": "hold", "tracks_noisy_local": "motion_hold_local",
         "tracks_noisy_xyz": "motion_hold_xyz", "points_noisy_local": "motion_hold_local"}  # fmt: skip


def validations(paths: list[Path]) -> dict[str, list[dict[str, float]]]:
    """By set, the validations of runs of which each went on from the one before, with `minutes` since the first run's start."""
    sets: dict[str, list[dict[str, float]]] = defaultdict(list)
    begun = 0.0
    for path in paths:
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        for row in rows:
            if "set" in row:
                sets[row["set"]].append(row | {"minutes": begun + row["minutes"]})
        begun += max(row["minutes"] for row in rows)
    return sets


def draw(paths: list[Path], metrics: list[str], out: Path) -> None:
    """A panel for each metric, a line for each set, holding the reference dashed."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    sets = validations(paths)
    figure, panels = pyplot.subplots(1, len(metrics), figsize=(4 * len(metrics), 3), squeeze=False)
    for panel, metric in zip(panels[0], metrics, strict=True):
        for color, (name, rows) in zip(("C0", "C1", "C2"), sorted(sets.items()), strict=False):
            known = [row for row in rows if metric in row]
            minutes = [row["minutes"] for row in known]
            panel.plot(minutes, [row[metric] for row in known], "o-", color=color, label=name, markersize=3)
            if known and (hold := _HOLD.get(metric)) in known[0]:
                panel.plot(minutes, [row[hold] for row in known], "--", color=color, linewidth=1)
        panel.set(title=metric, xlabel="minutes")
        panel.grid(alpha=0.3)
    panels[0][0].legend()
    figure.tight_layout()
    figure.savefig(out, dpi=80)
    pyplot.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("logs", type=Path, nargs="+", help="log.jsonl of a run, and of those that went on from it")
    parser.add_argument("--metrics", nargs="+", default=["pck05", "pck10", "xyz"])
    parser.add_argument("--out", type=Path, default=Path("curves.png"))
    args = parser.parse_args()
    draw(args.logs, args.metrics, args.out)
    print(args.out)


if __name__ == "__main__":
    main()
