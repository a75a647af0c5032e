"""Bone names in the conventions that rigs from different hands follow."""

from __future__ import annotations

import numpy as np

from .body import Body

_WORDS = {
    "pelvis": ("Hips", "pelvis", "Pelvis", "hip", "Body"),
    "spine": ("Spine", "spine", "Torso", "Back", "Abdomen"),
    "neck": ("Neck", "neck", "Neck", "neck", "Neck"),
    "head": ("Head", "head", "Head", "skull", "Head"),
    "jaw": ("Jaw", "jaw", "Jaw", "mandible", "Mouth"),
    "tail": ("Tail", "tail", "Tail", "tail", "Tail"),
    "ear": ("Ear", "ear", "Ear", "ear", "Ear"),
    "shoulder": ("Shoulder", "clavicle", "Clavicle", "scapula", "Shoulder"),
    "upperarm": ("Arm", "upper_arm", "UpperArm", "humerus", "FrontUpperLeg"),
    "forearm": ("ForeArm", "forearm", "Forearm", "radius", "FrontLowerLeg"),
    "hand": ("Hand", "hand", "Hand", "carpus", "FrontFoot"),
    "thigh": ("UpLeg", "thigh", "Thigh", "femur", "BackUpperLeg"),
    "shin": ("Leg", "shin", "Calf", "tibia", "BackLowerLeg"),
    "foot": ("Foot", "foot", "Foot", "tarsus", "BackFoot"),
    "toe": ("ToeBase", "toe", "Toe0", "digit", "Toe"),
}


def name_bones(body: Body, rng: np.random.Generator, style: int | None = None, column: int | None = None) -> list[str]:
    """Unique names, one per bone of the body, in a random convention unless one is given."""
    style = int(rng.integers(0, 7)) if style is None else style
    column = int(rng.integers(0, 5)) if column is None else column
    seen: dict[str, int] = {}
    out = []
    for index, (part, side) in enumerate(zip(body.part, body.side, strict=True)):
        word = _WORDS.get(part, (part.capitalize(), part, part.capitalize(), part, part.capitalize()))[column]
        name = _styled(word, side, style, index)
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1:
            name = _numbered(name, seen[name] - 1, style)
        out.append(name)
    used: set[str] = set()
    for i, name in enumerate(out):
        while name in used:
            name += "_"
        used.add(name)
        out[i] = name
    return out


def _styled(word: str, side: int, style: int, index: int) -> str:
    left = side > 0
    if style == 0:
        return word if not side else f"{word}.{'L' if left else 'R'}"
    if style == 1:
        return "mixamorig:" + ("" if not side else "Left" if left else "Right") + word
    if style == 2:
        return "Bip01 " + ("" if not side else "L " if left else "R ") + word
    if style == 3:
        return word.lower() if not side else f"{word.lower()}_{'l' if left else 'r'}"
    if style == 4:
        return f"Bone.{index:03d}" if index else "Bone"
    if style == 5:
        return f"joint{index + 1}"
    return word if not side else f"{'Left' if left else 'Right'}_{word}"


def _numbered(name: str, number: int, style: int) -> str:
    if style == 0 and name[-2:] in (".L", ".R"):
        return f"{name[:-2]}.{number:03d}{name[-2:]}"
    return f"{name}.{number:03d}" if style == 0 else f"{name}_{number:02d}" if style == 3 else f"{name}{number}"
