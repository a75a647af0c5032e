"""The jobs of a batch: read from a TOML file or a folder, checked as far as that goes without Blender."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from ..errors import CaptureError
from ..formats import EXPORT_SUFFIXES, VIDEO_SUFFIXES

JOBS_FILE = "jobs.toml"
_EXPORTS = tuple(suffix[1:] for suffix in EXPORT_SUFFIXES)
_PATTERN = re.compile(r"[*?\[]")
_NAME = re.compile(r"[^\w.-]+")
# decided by the batch: each job has a folder of its own
_RESULTS = {"output", "report", "contact_sheet", "confidence"}
_PATHS = ("scene", "video")


class JobsError(CaptureError):
    """Jobs are wrong and nothing was started; a line for each."""


@dataclass(frozen=True)
class Job:
    """One capture of a batch.

    name: of its folder of results. scene, video: absolute paths. options: the command line's options of `capture`, named with
    underscores, save those that say where results go. export: suffix of an exported file, or empty. preview: whether a film is made.
    """

    name: str
    scene: Path
    video: Path
    options: tuple[tuple[str, Any], ...] = ()
    export: str = ""
    preview: bool = True

    def places(self, folder: Path) -> dict[str, Path]:
        """Where each result goes, by the option of `capture` that asks for it; `folder` is the batch's."""
        own = folder / self.name
        found = {"output": own / f"{self.name}.blend", "report": own / "report.json", "contact_sheet": own / "contact_sheet.png"}
        if self.preview:
            found["preview"] = own / "preview.mp4"
        if self.export:
            found["export"] = own / f"{self.name}.{self.export}"
        return found

    def arguments(self, folder: Path) -> list[str]:
        """What to hand to the command line's parser for this job."""
        words = ["capture", str(self.scene), "--video", str(self.video)]
        for option, value in (*self.options, *self.places(folder).items()):
            words += _words(f"--{option.replace('_', '-')}", value)
        return words

    def fingerprint(self) -> str:
        """Changes when an option or an input file does, so that what was done with other inputs does not count as done."""
        facts: list[Any] = [sorted((key, repr(value)) for key, value in self.options), self.export, self.preview]
        for path in (self.scene, self.video):
            stat = path.stat() if path.exists() else None
            facts.append([path.name, stat and stat.st_size, stat and int(stat.st_mtime)])
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _words(option: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [option] if value else [option.replace("--", "--no-", 1)]
    if isinstance(value, list | tuple):
        value = ",".join(str(part) for part in value)
    # joined, so that a negative number is not taken for an option
    return [f"{option}={value}"]


def read_jobs(source: Path) -> list[Job]:
    """Jobs of a TOML file, or of a folder: its own jobs.toml, else each of its videos onto each of its scenes.

    Raises JobsError, with every fault that was found.
    """
    if source.is_dir() and not (source / JOBS_FILE).is_file():
        jobs = _jobs_of_folder(source)
    else:
        jobs = _jobs_of_file(source / JOBS_FILE if source.is_dir() else source)
    names = [job.name.casefold() for job in jobs]
    if twice := sorted({job.name for job in jobs if names.count(job.name.casefold()) > 1}):
        raise JobsError(f"Several jobs are called '{twice[0]}'. Give each [[job]] a name of its own.")
    return jobs


def _jobs_of_folder(folder: Path) -> list[Job]:
    scenes = sorted(path.absolute() for path in folder.glob("*.blend"))
    videos = sorted(path.absolute() for path in folder.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES)
    if not scenes or not videos:
        missing = "no .blend file" if not scenes else "no video"
        raise JobsError(f"The folder '{folder}' holds {missing} and no {JOBS_FILE}. Put scenes and videos there, or write a {JOBS_FILE}.")
    return [Job(_name(scene, video), scene, video) for scene, video in product(scenes, videos)]


def _jobs_of_file(path: Path) -> list[Job]:
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise JobsError(f"There is no file at '{path}'. Give the path of a TOML file with jobs, or of a folder of scenes and videos.") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise JobsError(f"'{path}' cannot be read as TOML: {error}. Correct it, then start again.") from error
    faults = [f"unknown key '{key}' at the top level (known: defaults, job)" for key in content.keys() - {"defaults", "job"}]
    defaults, tables = content.get("defaults", {}), content.get("job", [])
    if not isinstance(defaults, dict) or not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise JobsError(f"'{path}' must hold [[job]] tables and at most one [defaults] table.")
    if not tables:
        faults.append("there is no [[job]] table")
    jobs: list[Job] = []
    for number, table in enumerate(tables, 1):
        try:
            jobs += _jobs_of_table({**defaults, **table}, path.absolute().parent)
        except ValueError as error:
            faults.append(f"job {table.get('name', number)}: {error}")
    if faults:
        lines = "\n".join(f"  {fault}" for fault in sorted(faults))
        raise JobsError(f"'{path}' is not right; nothing was started. Correct these:\n{lines}")
    return jobs


def _jobs_of_table(table: Mapping[str, Any], folder: Path) -> list[Job]:
    rest = {key: value for key, value in table.items() if key not in (*_PATHS, "name", "export", "preview")}
    if wrong := sorted(_RESULTS & rest.keys()):
        raise ValueError(f"'{wrong[0]}' is chosen by the batch (--output names its folder)")
    export, preview, name = table.get("export", ""), table.get("preview", True), table.get("name", "")
    if export not in ("", *_EXPORTS):
        raise ValueError(f"export must be one of {', '.join(_EXPORTS)}, not {export!r}")
    if not isinstance(preview, bool) or not isinstance(name, str):
        raise ValueError("preview must be true or false, and name a string")
    if nested := [key for key, value in rest.items() if isinstance(value, dict)]:
        raise ValueError(f"'{nested[0]}' must not be a table")
    scenes, videos = (_paths(table, key, folder) for key in _PATHS)
    alone = len(scenes) == len(videos) == 1
    options = tuple(sorted(rest.items()))
    found = []
    for scene, video in product(scenes, videos):
        own = _NAME.sub("_", name if name and alone else f"{name}_{_name(scene, video)}" if name else _name(scene, video))
        found.append(Job(own, scene, video, options, export, preview))
    return found


def _paths(table: Mapping[str, Any], key: str, folder: Path) -> list[Path]:
    """Absolute paths of one entry: a path, a pattern or a list of them, relative to the jobs file's folder."""
    value = table.get(key)
    listed = value if isinstance(value, list) else [value]
    entries = [entry for entry in listed if isinstance(entry, str) and entry]
    if not entries or len(entries) < len(listed):
        raise ValueError(f"'{key}' must be a path, or a list of paths")
    return [path for entry in entries for path in _matches(entry, key, folder)]


def _matches(entry: str, key: str, folder: Path) -> Iterable[Path]:
    path = folder / entry
    if path.exists():
        return [path]
    if _PATTERN.search(entry):
        anchor = Path(path.anchor)
        if found := sorted(anchor.glob(str(path.relative_to(anchor)))):
            return found
    raise ValueError(f"there is no {key} at '{entry}'")


def _name(scene: Path, video: Path) -> str:
    return _NAME.sub("_", f"{scene.stem}_{video.stem}")
