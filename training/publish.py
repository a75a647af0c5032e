"""Publish a run as a bundled model: `python -m mocap_anything.training.publish RUN --name anywhere`, weights and card."""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..backend.calibration import Calibration
from ..backend.model.checkpoint import load_model, save_model
from ..backend.settings import MODELS

LIMIT = 32 * 2**20


def read_log(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def last_validation(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """The latest metrics of each validation set."""
    return {row["set"]: {k: v for k, v in row.items() if k not in ("set",)} for row in rows if "set" in row}


_V2 = (
    "Fixed batches drawn by the training renderer; rigs and clips that were never trained on. Angles in degrees, parent-local;\n"
    "PCK in shares of the crop; positions in shares of the rig's size. *Start* is the closed form from the predicted points.",
    {"PCK@0.05": "pck05", "PCK@0.1": "pck10", "PCK@0.1 hold": "hold_pck10", "3D": "xyz", "3D hold": "hold_xyz", "rotation": "local",
     "start": "start_local", "rotation hold": "hold_local"},
)


def card(name: str, run: Path, digest: str, size: int, parameters: int) -> str:
    """The model card in Markdown: what it is, what it learned from, what it reached."""
    rows, config = read_log(run), json.loads((run / "config.json").read_text())
    history = json.loads((run / "history.json").read_text()) if (run / "history.json").is_file() else []
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=MODELS, check=False).stdout.strip()
    steps, stream = [row for row in rows if "loss" in row], config["stream"]
    step = f"{stream['batch']} clips of {stream['sample']['frames']} frames and {stream['sample']['references']} reference"
    lines = [
        f"# Model `{name}`", "",
        "| | |", "|---|---|",
        f"| made | {datetime.now(UTC):%Y-%m-%d}, source at commit {commit} |",
        f"| size | {size / 2**20:.1f} MB in float16, {parameters / 1e6:.2f} million parameters |",
        f"| sha256 | `{digest}` |",
        "| licence | CC0-1.0 (weights); trained on procedural creatures and CC0 rigs alone |",
        "| data | the procedural zoo (`training/zoo`), made on the fly; rigs of the open zoo with split `train` and licence CC0, held-out clips left out |",
        f"| seed | {stream['seed']} |",
        f"| training | {rows[-1]['step']} steps, {rows[-1]['minutes']:.0f} minutes of wall clock on a shared two-core CPU (bf16) |",
        f"| a step of a process | {step} |",
        *[f"| before | {entry} |" for entry in history],
        f"| last loss | {steps[-1]['loss']:.3f} |" if steps else "", "",
        "## Validation while training", "",
    ]
    text, columns = _V2
    lines += [text, "", f"| set | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for key, m in last_validation(rows).items():
        lines.append(f"| {key} | " + " | ".join(f"{m[value]:.4g}" for value in columns.values()) + " |")
    return "\n".join(lines) + "\n"


_STAMP = re.compile(r"^\| sha256 \|.*$", re.MULTILINE)
_EXPECTS = re.compile(r"^\| expected errors \|.*\n", re.MULTILINE)


def stamp_card(path: Path, digest: str, calibration: Calibration) -> None:
    """Let a model's card, if there is one, name the file's new digest and the calibration that was put into it."""
    if not path.is_file():
        return
    curves = "; ".join(f"{name} {curve.scale:.3g} · (error − {curve.floor:.3g}) · (1 − exp(−seconds / {curve.rise:.3g}))"
                       for name, curve in (("fitted", calibration.fitted), ("without the fit", calibration.plain)))
    text = _EXPECTS.sub("", path.read_text())
    path.write_text(_STAMP.sub(f"| sha256 | `{digest}` |\n| expected errors | {curves} |", text))


def publish(run: Path, name: str, folder: Path = MODELS) -> Path:
    """Copy the run's averaged weights and write the card beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    model = load_model(run / "model.safetensors")
    path = folder / f"{name}.safetensors"
    save_model(model, path, {"name": name, "licence": "CC0-1.0"}, half=True)
    path.chmod(0o644)
    data = path.read_bytes()
    if len(data) > LIMIT:
        raise SystemExit(f"{path.name} has {len(data) / 2**20:.1f} MB; a bundled model may have 32")
    parameters = sum(p.numel() for p in model.parameters())
    (folder / f"{name}.md").write_text(card(name, run, hashlib.sha256(data).hexdigest(), len(data), parameters))
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--name", default="anywhere")
    args = parser.parse_args()
    publish(args.run, args.name)


if __name__ == "__main__":
    main()
