"""Which bones of the driving rig move which of the target rig: an editable list, kept as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import CaptureError
from ..rig import Rig

FORMAT = "mocap_anything bone links"


@dataclass(frozen=True)
class Link:
    """A bone, or a chain of bones from its first to its last, of each rig. Chains of different length are mapped by arc length."""

    target: tuple[str, str]
    driving: tuple[str, str]

    @classmethod
    def bone(cls, target: str, driving: str) -> Link:
        return cls((target, target), (driving, driving))


def chain(rig: Rig, ends: tuple[str, str]) -> tuple[int, ...]:
    """Indices of the bones from the first to the last, along the carriers.

    Raises CaptureError where a bone is missing or the last does not hang from the first.
    """
    missing = [name for name in ends if name not in rig.names]
    if missing:
        raise CaptureError(f"There is no bone '{missing[0]}' in the rig. Correct the list of bones, or press Propose.")
    first, last = (rig.names.index(name) for name in ends)
    bones = [last]
    while bones[-1] != first:
        above = int(rig.carriers[bones[-1]])
        if above < 0:
            raise CaptureError(f"'{ends[1]}' does not hang from '{ends[0]}', so there is no chain from one to the other. Correct the list of bones.")
        bones.append(above)
    # bones that are not captured lie between others only as controls
    driven = [bone for bone in reversed(bones) if rig.driven[bone]]
    return tuple(driven or reversed(bones))


def save_links(path: Path, links: Sequence[Link]) -> None:
    """Write a preset; raises CaptureError where it cannot be written."""
    content = {"format": FORMAT, "links": [{"target": list(link.target), "driving": list(link.driving)} for link in links]}
    try:
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")
    except OSError as error:
        raise CaptureError(f"'{path}' could not be written ({error.strerror}). Choose another place.") from error


def load_links(path: Path) -> tuple[Link, ...]:
    """Read a preset; raises CaptureError where it is none."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise CaptureError(f"'{path}' cannot be read as a list of bones ({error}). Choose a file saved by Save Preset.") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT or not isinstance(content.get("links"), list):
        raise CaptureError(f"'{path}' is not a list of bones. Choose a file saved by Save Preset.")
    return tuple(_link(entry, path) for entry in content["links"])


def _link(entry: Any, path: Path) -> Link:
    match entry:
        case {"target": [str(first), str(last)], "driving": [str(begin), str(end)]}:
            return Link((first, last), (begin, end))
    raise CaptureError(f"'{path}' holds a line that names no bones: {entry!r}. Correct it, or choose another file.")
