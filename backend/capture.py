"""The pipeline: clip, rig, references and settings in; a motion out; a generator that reports progress on the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from .assemble import Track, assemble, blend_tracks
from .body_points import Body, Crop, read_body
from .camera import Camera
from .errors import CaptureError
from .finish.contacts import hold_contacts
from .finish.honour import honour
from .finish.smoothing import smooth
from .kinematics import bone_rotations
from .motion import Motion
from .moves import Moves
from .plans import Plan, aligned_times, plans_of, reference_crop
from .progress import CancelToken, Progress
from .reference import Reference
from .rig import Rig
from .settings import MODELS, CaptureSettings
from .video import Clip

if TYPE_CHECKING:
    from .fit import Settle
    from .habits import Habits
    from .predictor import Prediction

_STAGES = {"load": 0.02, "follow": 0.13, "capture": 0.3, "fit": 0.51, "finish": 0.04}  # shares of the progress bar

ModelLoader = Callable[[Path, Any], Any]


@dataclass(frozen=True, eq=False)
class CaptureRequest:
    """All that a capture needs.

    camera: of one time (still) or of T times (the clip's frames). references: at least one; aligned ones have a time within the clip.
    up: (3,) against gravity, armature frame. moves: what the rig does in actions of its own.
    """

    rig: Rig
    clip: Clip
    camera: Camera
    references: tuple[Reference, ...]
    settings: CaptureSettings = field(default_factory=CaptureSettings)
    up: tuple[float, float, float] = (0.0, 0.0, 1.0)
    moves: tuple[Moves, ...] = ()


@dataclass(frozen=True, eq=False)
class CaptureResult:
    """The finished motion, the one before smoothing and honouring keyed frames, seconds a stage, and facts for the report."""

    motion: Motion
    raw: Motion
    seconds: dict[str, float]
    report: dict[str, Any]


class _Clock:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begin


def model_path(name: str) -> Path:
    """A bundled model's name, or a path to a model file."""
    path = Path(name)
    return path if path.suffix == ".safetensors" else MODELS / f"{name}.safetensors"


def trimmed(clip: Clip, settings: CaptureSettings) -> range:
    """Frames of the clip that the settings keep."""
    start = 0 if settings.start is None else int(np.searchsorted(clip.times, settings.start - 1e-6))
    stop = len(clip) if settings.end is None else int(np.searchsorted(clip.times, settings.end + 1e-6))
    if start >= stop:
        raise CaptureError(f"The trim leaves no frame of {clip.path.name}, which lasts {clip.duration:.2f} s. Change the trim's start or end.")
    return range(start, stop)


def capture(
    request: CaptureRequest, cancel: CancelToken, loader: ModelLoader | None = None, settle: Settle | None = None
) -> Generator[Progress, None, CaptureResult]:
    """Run a capture; raises CaptureError with what to change, CaptureCancelled when asked to stop.

    loader: `load_model`, or something that keeps what it read for the next capture. settle: for experiments, as `fit` has it.
    """
    from .device import choose_device, seed_everything
    from .library import usual_habits
    from .model.checkpoint import load_model

    clock, done = _Clock(), 0.0
    yield Progress("Loading the model", 0.0)
    with clock.stage("load"):
        device = choose_device(request.settings.device)
        seed_everything()
        model = (loader or load_model)(model_path(request.settings.model), device)
        body = read_body(request.rig, model.config.surface_points)
        frames = trimmed(request.clip, request.settings)
        plans = plans_of(request, body, frames)
        habits = usual_habits(request.rig, np.asarray(request.up), request.moves, request.settings.library) if request.settings.fit else None
    done = _STAGES["load"]
    tracks: list[Track] = []
    aligned = aligned_times(request)
    search = habits is not None and not len(aligned)
    share = 1.0 / (sum(len(plan.frames) for plan in plans) + search * len(frames))
    for plan in plans:
        known = None if plan.reference.time is None else habits  # a rendered reference is no frame that a fit could start from
        part = len(plan.frames) * share
        tracks.append((yield from _told(request, body, model, device, plan, None, known, settle, cancel, clock, done, part)))
        for stage in ("follow", "capture", "fit"):  # one by one, or rounding would let the bar go back
            done += _STAGES[stage] * part
    start: Plan | None = None
    if search and habits is not None:
        rough = blend_tracks(tracks, aligned)[0]
        start = yield from _found(request, body, rough, habits, frames, cancel, clock, done)
        if start is not None:
            tracks = [(yield from _told(request, body, model, device, start, rough.crop, habits, settle, cancel, clock, done, len(frames) * share))]
    yield Progress("Finishing", 1 - _STAGES["finish"])
    with clock.stage("finish"):
        raw = assemble(request.rig, body, blend_tracks(tracks, aligned), request.settings, np.asarray(request.up))
        raw = model.calibration.applied(raw, aligned, fitted=request.settings.fit and (len(aligned) > 0 or start is not None))
        motion = _finish(request, raw)
    report = {
        "device": str(device), "model": request.settings.model, "frames": len(motion), "references": len(request.references),
        "driven_bones": len(body.bones), "expected_error": round(float(np.mean(motion.confidence[:, body.bones])), 4),
        "calibrated": model.calibration.measured, "own_actions": [one.name for one in request.moves],
        "moves_like": habits.moves_like if habits else [], "found_at": None if start is None else start.reference.time,
    }
    yield Progress("Done", 1.0)
    return CaptureResult(motion, raw, clock.seconds, report)


def _told(
    request: CaptureRequest, body: Body, model: Any, device: Any, plan: Plan, crop: Crop | None, habits: Habits | None, settle: Settle | None,
    cancel: CancelToken, clock: _Clock, done: float, part: float,
) -> Generator[Progress, None, Track]:
    """What the network says of a plan's frames; fitted where there are habits. crop: where the subject is, if that is known."""
    from .predictor import Predictor

    cancel.check()
    with clock.stage("load"):
        predictor = Predictor(model, body, plan.prompts(request, body, model.config.image_size), device, turns=habits is None)
    if crop is None:
        crop = yield from _follow(request, predictor, plan, cancel, clock, done, part)
    done += _STAGES["follow"] * part
    track = yield from _predict(request, predictor, plan, crop, cancel, clock, done, part)
    done += _STAGES["capture"] * part
    if habits is not None:
        track = yield from _fitted(request, body, track, plan, habits, settle, cancel, clock, done, part)
    return track


def _found(
    request: CaptureRequest, body: Body, track: Track, habits: Habits, frames: range, cancel: CancelToken, clock: _Clock, done: float
) -> Generator[Progress, None, Plan | None]:
    """A plan from the rig as it stands in one of the frames, by a rendered reference's track; None where it can't be told, or stands where no reference may."""
    from .device import one_thread
    from .found_start import find_start

    found: Reference | None = None
    steps = find_start(request.rig, body, track, habits, request.clip, frames.start)
    with one_thread():
        while True:
            cancel.check()
            with clock.stage("start"):
                try:
                    found = next(steps) or found
                except StopIteration:
                    break
            yield Progress("Finding the rig in the video", done)
    if found is None:
        return None
    try:
        window = reference_crop(body, found)
    except CaptureError:
        return None
    return Plan(found, frames, request.clip.index_at(found.time or 0.0), track.crop.at(0), window)


def _follow(
    request: CaptureRequest, predictor: Any, plan: Plan, cancel: CancelToken, clock: _Clock, done: float, part: float
) -> Generator[Progress, None, Crop]:
    """First pass: where the subject is in every frame of the plan."""
    from .subject import find, follow, smooth_crops

    clip, frames = request.clip, plan.frames
    rows: list[int] = []
    seen: list[tuple[float, ...]] = []  # centre, side, certainty
    with clock.stage("follow"):
        start = plan.start if plan.reference.time is not None or request.settings.crop else find(predictor, clip, plan.start, plan.seed)
    steps = follow(predictor, clip, start, plan.seed, frames, cancel)
    while True:
        with clock.stage("follow"):
            step = next(steps, None)
        if step is None:
            break
        index, center, side, sure = step
        rows.append(index - frames.start)
        seen.append((*center, side, sure))
        count = abs(index - plan.seed) + (index < plan.seed) * (frames.stop - plan.seed)
        yield Progress("Following the subject", done + _STAGES["follow"] * part * count / len(frames), count, len(frames))
    x, y, sides, certainty = np.array(seen).T
    return smooth_crops(clip.times[frames.start : frames.stop], np.array(rows), np.stack([x, y], 1), sides, certainty)


def _predict(
    request: CaptureRequest, predictor: Any, plan: Plan, crop: Crop, cancel: CancelToken, clock: _Clock, done: float, part: float
) -> Generator[Progress, None, Track]:
    """Second pass: the network over windows of frames."""
    clip, frames = request.clip, plan.frames
    times = clip.times[frames.start : frames.stop]
    said: Prediction | None = None
    filled = 0
    steps = predictor.windows(clip.frames(frames.start, frames.stop), crop, times, cancel)
    while True:
        with clock.stage("capture"):
            step = next(steps, None)
        if step is None:
            break
        count, prediction = step
        if prediction is not None:
            said = said or prediction.room(len(frames))
            filled = said.fill(filled, prediction)
        yield Progress("Capturing", done + _STAGES["capture"] * part * count / len(frames), count, len(frames))
    camera = request.camera
    if camera.from_armature.ndim == 3:
        rows = slice(frames.start, frames.stop)
        camera = camera.at(rows)
    assert said is not None
    return Track(plan.reference, plan.crop, camera, crop, times, **vars(said))


def _fitted(
    request: CaptureRequest, body: Body, track: Track, plan: Plan, habits: Habits, settle: Settle | None,
    cancel: CancelToken, clock: _Clock, done: float, part: float,
) -> Generator[Progress, None, Track]:
    """The track with the turns that geometry makes of what was found. settle: as `fit` has it."""
    from .device import one_thread
    from .fit import fit
    from .subject import outward, shrinking

    pictures = outward(request.clip, plan.seed, plan.frames)
    seed, compare = plan.seed - plan.frames.start, request.settings.refine
    steps = fit(request.rig, body, track, habits, seed, compare=compare, pictures=pictures, scale=shrinking(request.clip), settle=settle)
    with one_thread(), closing(steps):  # all the while, for optical flow goes on beside it
        while True:
            cancel.check()
            with clock.stage("fit"):
                try:
                    share = next(steps)
                except StopIteration as end:
                    return cast(Track, end.value)
            yield Progress("Fitting the rig", done + _STAGES["fit"] * part * share)


def _finish(request: CaptureRequest, raw: Motion) -> Motion:
    """Smoothing, then the animator's poses exactly."""
    rig = request.rig
    motion = smooth(rig, raw, request.settings.smoothing)
    if request.settings.contacts and request.settings.root_travel == "estimated":
        motion = hold_contacts(rig, motion, np.asarray(request.up))
    timed = [r for r in request.references if r.time is not None and raw.times[0] - 1e-6 <= r.time <= raw.times[-1] + 1e-6]
    aligned = sorted(timed, key=lambda r: r.time or 0.0)
    if not aligned:
        return motion
    rotations = np.stack([bone_rotations(r.pose) for r in aligned])
    heads = np.stack([r.pose[:, :3, 3] for r in aligned])
    times = np.array([r.time for r in aligned], np.float64)
    return honour(rig, motion, times, rotations, heads)
