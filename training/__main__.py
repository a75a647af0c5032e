"""`python -m mocap_anything.training COMMAND …`: every command of the training package by its short name."""

from __future__ import annotations

import runpy
import sys

COMMANDS = {
    "bake": ("data.bake", "rigs of an index to arrays"),
    "prepare": ("data.prepare", "what you bring, Truebones Zoo or Objaverse, to the same arrays"),
    "train": ("train", "train a model"),
    "ablations": ("ablations", "train variants of the network on one small budget, and compare them"),
    "curves": ("curves", "learning curves of runs"),
    "publish": ("publish", "a trained model with its card"),
    "library": ("library", "motions of rigs and creatures for captures to learn from"),
    "cases": ("cases", "film rigs for the closed loop"),
    "evaluate": ("evaluate", "capture the filmed cases and measure"),
    "calibrate": ("calibrate", "make what a model expects of its errors agree with what they are"),
    "papers": ("papers", "the papers' protocols and metrics on held-out clips"),
    "artist-pairs": ("artist_pairs", "retargeting against what artists made rigs of one template do"),
    "cross-species": ("cross_species", "footage of one creature onto the rig of another, straight and in two steps"),
    "speed": ("v1.speed", "V1 against V2 on one clip"),
    "footage": ("footage", "measure on annotated real footage"),
}


def main() -> None:
    package = __package__ or ""
    if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
        lines = [f"usage: python -m {package} COMMAND …", *(f"  {name:<13} {text}" for name, (_, text) in COMMANDS.items())]
        asked = len(sys.argv) > 1 and sys.argv[1] in ("-h", "--help")
        print("\n".join(lines), file=sys.stdout if asked else sys.stderr)
        sys.exit(0 if asked else 2)
    module = f"{package}.{COMMANDS[sys.argv[1]][0]}"
    del sys.argv[1]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
