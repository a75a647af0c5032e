"""What bones' names say: words, side, and the part of a body. English names only; geometry serves all others."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_SIDES = {"l": 1, "left": 1, "lft": 1, "r": -1, "right": -1, "rgt": -1}
# control rigs' and exporters' prefixes, which name no part of a body
_NOISE = frozenset({"def", "org", "mch", "ctrl", "bip", "bone", "jnt", "joint", "mixamorig", "armature", "fk", "ik", "b", "cc", "base"})
_WORDS_OF = {
    "head": {"head", "skull", "cranium"},
    "neck": {"neck"},
    "tail": {"tail"},
    "wing": {"wing", "feather", "feathers"},
    "fin": {"fin", "flipper", "fluke"},
    "face": {"ear", "eye", "jaw", "mouth", "tongue", "horn", "hair", "brow", "lip", "cheek", "nose", "antler", "eyelid", "beak", "teeth", "mane"},
    "finger": {"finger", "fingers", "thumb", "index", "middle", "ring", "pinky", "pinkie", "little"},
    "arm": {"arm", "forearm", "upperarm", "lowerarm", "hand", "elbow", "wrist", "shoulder", "clavicle", "palm", "collar", "bicep"},
    "leg": {"leg", "upleg", "upperleg", "lowerleg", "thigh", "calf", "shin", "knee", "foot", "toe", "toes", "ankle", "hoof", "paw", "femur", "tibia"},
}
_FRONT = frozenset({"front", "fore", "ff"})
# along a limb, from the body outwards
_ROLES = (
    {"shoulder", "clavicle", "collar", "hip"},
    {"upperarm", "upperleg", "upleg", "thigh", "upper", "up", "femur", "bicep"},
    {"lowerarm", "lowerleg", "forearm", "calf", "shin", "lower", "low", "tibia", "knee", "elbow"},
    {"hand", "foot", "wrist", "ankle", "palm", "paw", "hoof"},
    {"toe", "toes", "finger", "fingers", "ball", "thumb", "index", "middle", "ring", "pinky"},
)


@cache
def words(name: str) -> tuple[str, ...]:
    """The words of a name in lower case, without its namespace, digits, side and the prefixes of exporters."""
    return tuple(word for word in _all_words(name) if word not in _SIDES and word not in _NOISE)


@cache
def side(name: str) -> int:
    """1 for left, -1 for right, 0 where the name does not say."""
    found = {_SIDES[word] for word in _all_words(name) if word in _SIDES}
    return found.pop() if len(found) == 1 else 0


def kind(names: Sequence[str]) -> str:
    """The part of a body that a chain's names speak of most; a front leg is an arm; empty where they say nothing."""
    return _kind(tuple(names))


@cache
def _kind(names: tuple[str, ...]) -> str:
    votes: dict[str, int] = {}
    front = False
    for name in names:
        said = set(words(name))
        front |= bool(said & _FRONT)
        for part, known in _WORDS_OF.items():
            votes[part] = votes.get(part, 0) + bool(said & known)
    # a hand's fingers do not make its arm a finger
    if votes["arm"] or votes["leg"]:
        votes["finger"] = 0
    best = max(votes, key=lambda part: votes[part], default="")
    if not best or not votes[best]:
        return ""
    return "arm" if best == "leg" and front else best


@cache
def role(name: str) -> int:
    """Place along a limb, 0 at the body to 4 at the toes, -1 where the name does not say."""
    said = set(words(name))
    return next((place for place in range(len(_ROLES) - 1, -1, -1) if said & _ROLES[place]), -1)


@cache
def likeness(a: str, b: str) -> float:
    """0 to 1, how many of two names' words are the same."""
    first, second = set(words(a)), set(words(b))
    return len(first & second) / len(first | second) if first | second else 0.0


def _all_words(name: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(name.rpartition(":")[2])]
