"""The same capture from the command line: `python -m mocap_anything …` and `blender -b FILE --command mocap_anything …`, one parser."""

from __future__ import annotations

import argparse
import logging
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import bpy

from ..backend.batch.jobs import JobsError
from ..backend.bvh import ORDERS
from ..backend.errors import CaptureCancelled, CaptureError
from ..backend.formats import EXPORT_SUFFIXES
from ..backend.progress import CancelToken
from ..backend.settings import CaptureSettings
from ..backend.sureness import SUFFIXES as CONFIDENCE_SUFFIXES
from . import capture_job, solve_command
from .diagnostics import set_log_level
from .export import ExportOptions, Outputs, export_motion, save_json, save_scene, writing
from .preferences import DEVICES, preferences
from .progress_line import ProgressLine
from .properties import LIMBS, REFERENCE_KINDS, ROOT_ROTATIONS, ROOT_TRAVELS, first_frame, settings_of
from .scene_capture import CaptureOptions, Prepared, finish, keyed_poses, prepare, resolve_model
from .sureness_report import write_confidence

if TYPE_CHECKING:
    from ..backend.capture import ModelLoader
    from ..backend.motion import Motion

log = logging.getLogger(__name__)

COMMAND = "mocap_anything"
FAILED, USAGE, INTERRUPTED = 1, 2, 130


class UsageError(Exception):
    """What was typed is not understood."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def _complain(message: str, code: int) -> int:
    """Tell in one line; a list of faults keeps its lines."""
    lines = [" ".join(line.split()) if number == 0 else line for number, line in enumerate(message.split("\n"))]
    print(f"{COMMAND}: error: " + "\n".join(lines), file=sys.stderr)
    return code


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.split(",") if part.strip())


def _box(text: str) -> tuple[float, float, float, float]:
    x, y, width, height = (float(part) for part in text.split(","))
    return x, y, width, height


def file_type(*suffixes: str) -> Callable[[str], Path]:
    """A parser of paths that end in one of the suffixes."""
    def parse(text: str) -> Path:
        if Path(text).suffix not in suffixes:
            raise argparse.ArgumentTypeError(f"'{text}' does not end in {' or '.join(suffixes)}")
        return Path(text)

    return parse


def make_parser() -> argparse.ArgumentParser:
    from . import batch_command, retarget_command

    parser = _Parser(prog=COMMAND, description="Capture a video's motion onto a rig.")
    commands = parser.add_subparsers(dest="action", required=True, metavar="capture|solve|retarget|batch", parser_class=_Parser)
    _add_capture(commands)
    _add_solve(commands)
    retarget_command.add_parser(commands)
    batch_command.add_parser(commands)
    return parser


def _add_solve(commands: Any) -> None:
    help_text = "key an armature from 3D tracks of its joints"
    command = commands.add_parser("solve", help=help_text, description=f"{help_text[0].upper()}{help_text[1:]}.", allow_abbrev=False)
    solve_command.add_arguments(command)
    _add_results(command, "solved")
    command.add_argument("--verbose", action="store_true", help="log what happens, and show where an error comes from")
    command.set_defaults(run=solve)


def _add_capture(commands: Any) -> None:
    help_text = "capture a clip onto an armature of a scene"
    capture = commands.add_parser("capture", help=help_text, description=f"{help_text.capitalize()}.", allow_abbrev=False)
    capture.add_argument("scene", nargs="?", type=Path, metavar="SCENE.blend", help="the scene (default: the file that Blender has open)")
    capture.add_argument("--video", required=True, type=Path, metavar="CLIP", help="video file, image of a numbered sequence, or folder of images")
    capture.add_argument("--armature", metavar="NAME", help="default: the only armature, else the active one")
    capture.add_argument("--reference-frames", type=_numbers, metavar="1,40", help="default: those stored in the file, else the only keyed frame")
    capture.add_argument("--reference-kind", choices=[kind for kind, *_ in REFERENCE_KINDS], help="default: aligned if the scene camera fits the clip")
    capture.add_argument("--start-frame", type=float, metavar="N", help="scene frame of the video's first frame (default: the scene's start)")
    results = _add_results(capture, "captured")
    results.add_argument("--preview", type=file_type(".mp4"), metavar="OUT.mp4", help="the video beside the posed rig")
    results.add_argument("--contact-sheet", type=file_type(".png"), metavar="OUT.png", help="some frames of the preview in one picture")
    results.add_argument(
        "--confidence", type=file_type(*CONFIDENCE_SUFFIXES), metavar="OUT.csv|.npz", help="expected error of each bone and frame, %% of the rig's size"
    )
    results.add_argument("--keep-raw", action="store_true", help="also store the result as the model gave it, as a second action")
    settings = capture.add_argument_group("settings (default: those stored with the armature)")
    settings.add_argument("--model", metavar="NAME|PATH", help="a bundled model's name or a .safetensors file")
    settings.add_argument("--device", choices=[device for device, *_ in DEVICES])
    settings.add_argument("--root-rotation", choices=[item for item, *_ in ROOT_ROTATIONS])
    settings.add_argument("--root-travel", choices=[item for item, *_ in ROOT_TRAVELS])
    settings.add_argument("--refine", action=argparse.BooleanOptionalAction, help="with --fit, compare the drawn rig with every frame too; better, and slower")
    settings.add_argument("--own-actions", action=argparse.BooleanOptionalAction, help="with --fit, expect the rig to move as in its other actions in the file")
    settings.add_argument("--library", metavar="NAME|PATH|none", help="with --fit, expect the rig to move as bodies like it do in this library of motions")
    settings.add_argument("--fit", action=argparse.BooleanOptionalAction, help="refine the model's rotations until the posed rig fits the video")
    settings.add_argument("--contacts", action=argparse.BooleanOptionalAction, help="hold feet that stand still in place")
    settings.add_argument("--limbs", choices=[item for item, *_ in LIMBS], help="of control rigs: what limbs with both IK and FK are switched to")
    settings.add_argument("--smoothing", type=float, metavar="SECONDS", help="0 for none")
    settings.add_argument("--trim-start", type=float, metavar="SECONDS")
    settings.add_argument("--trim-end", type=float, metavar="SECONDS")
    settings.add_argument("--crop", type=_box, metavar="X,Y,W,H", help="the subject at the first reference, in pixels")
    capture.add_argument("--verbose", action="store_true", help="log what happens, and show where an error comes from")
    capture.set_defaults(run=_run_capture)


def _add_results(command: argparse.ArgumentParser, done: str) -> argparse._ArgumentGroup:
    """Files that every command can write."""
    results = command.add_argument_group("results")
    results.add_argument("--output", type=file_type(".blend"), metavar="OUT.blend", help=f"the scene with the new action (default: SCENE_{done}.blend)")
    results.add_argument("--export", type=file_type(*EXPORT_SUFFIXES), metavar="OUT" + "|".join(EXPORT_SUFFIXES), help="the motion for other programs")
    results.add_argument("--export-fps", type=float, metavar="N", help="frames a second of an exported BVH, npz or CSV (default: the scene's)")
    results.add_argument("--bvh-order", choices=ORDERS, default="ZXY", help="rotation channels of an exported BVH (default: ZXY)")
    results.add_argument("--report", type=file_type(".json"), metavar="OUT.json", help=f"what was {done} and how long it took")
    return results


def main(argv: Sequence[str]) -> int:
    """Run a command; returns the exit code, 0 only if every result was written."""
    try:
        arguments = make_parser().parse_args(list(argv))
    except UsageError as error:
        return _complain(f"{error} (see --help)", USAGE)
    except SystemExit as stop:
        return int(stop.code or 0)
    set_log_level("DEBUG" if arguments.verbose else "WARNING")
    try:
        code: int = arguments.run(arguments)
    except (CaptureError, CaptureCancelled, KeyboardInterrupt, Exception) as error:
        if arguments.verbose:
            traceback.print_exc()
        if isinstance(error, CaptureCancelled | KeyboardInterrupt):
            return _complain("cancelled, nothing was written", INTERRUPTED)
        if isinstance(error, CaptureError):
            return _complain(str(error), USAGE if isinstance(error, JobsError) else FAILED)
        return _complain(f"unexpected {type(error).__name__}: {error}. Run again with --verbose and report it", FAILED)
    return code


def _run_capture(arguments: argparse.Namespace) -> int:
    capture(arguments)
    return 0


def capture(arguments: argparse.Namespace, loader: ModelLoader | None = None, label: str = "") -> None:
    """Open, prepare, run, write. loader: reads the model, where it is kept for the next capture. label: before lines of progress."""
    if arguments.scene is not None:
        open_scene(arguments.scene)
    scene = bpy.context.scene
    armature = find_armature(scene, arguments.armature)
    options = options_of(arguments, scene, armature)
    with Outputs() as outputs:
        places = {place: outputs.add(place) for place in _places(arguments)}
        prepared = prepare(scene, armature, options)
        result = capture_job.run(prepared.request, CancelToken(), ProgressLine(label), loader)
        captured = finish(armature, prepared, result, ProgressLine(label))
        if not prepared.aligned:
            print(f"{COMMAND}: note: {_found(captured.report['capture']['found_at'])}", file=sys.stderr)
        started = time.perf_counter()
        _write_scene(places)
        _write_pictures(places, armature, prepared, result.motion)
        written = (captured.report["frames"]["first"], captured.report["frames"]["last"])
        _export(places, arguments.export, armature, _export_options(arguments, written, options.start_frame))
        captured.report["seconds"]["Writing files"] = round(time.perf_counter() - started, 3)
        if arguments.confidence:
            write_confidence(places[arguments.confidence], arguments.confidence, prepared, result.motion)
        if arguments.report:
            save_json(places[arguments.report], arguments.report, captured.report)
    for place in places:
        print(place)


def capture_onto(scene: bpy.types.Scene, armature: bpy.types.Object, video: Path) -> float:
    """Capture a video with what is stored with the armature; returns the frame of its first reference."""
    arguments = make_parser().parse_args(["capture", "--video", str(video)])
    prepared = prepare(scene, armature, options_of(arguments, scene, armature))
    finish(armature, prepared, capture_job.run(prepared.request, CancelToken(), ProgressLine()))
    return prepared.reference_frames[0]


def solve(arguments: argparse.Namespace) -> int:
    """Open, read the tracks, solve, write; returns 0."""
    if arguments.scene is not None:
        open_scene(arguments.scene)
    scene = bpy.context.scene
    armature = find_armature(scene, arguments.armature)
    options = solve_command.options_of(arguments, scene)
    with Outputs() as outputs:
        places = {place: outputs.add(place) for place in _places(arguments)}
        solved = solve_command.solve_tracks(scene, armature, options, ProgressLine())
        _write_scene(places)
        _export(places, arguments.export, armature, _export_options(arguments, solved.frames, options.start_frame))
        if arguments.report:
            save_json(places[arguments.report], arguments.report, solved.report)
    for place in places:
        print(place)
    return 0


def open_scene(path: Path) -> None:
    """Open a file without running scripts that it may carry."""
    if not path.is_file():
        raise CaptureError(f"There is no file at '{path}'. Give the path of a .blend file.")
    try:
        bpy.ops.wm.open_mainfile(filepath=str(path.absolute()), load_ui=False, use_scripts=False)
    except RuntimeError as error:
        raise CaptureError(f"'{path}' is not a scene that Blender {bpy.app.version_string} can read.") from error


def find_armature(scene: bpy.types.Scene, name: str | None) -> bpy.types.Object:
    """By name, else the only one, else the active one."""
    armatures = {thing.name: thing for thing in scene.objects if thing.type == "ARMATURE"}
    listed = ", ".join(f"'{each}'" for each in armatures)
    if name is not None:
        if name not in armatures:
            raise CaptureError(f"There is no armature '{name}' in the scene" + (f", only {listed}." if armatures else ", nor any other."))
        return armatures[name]
    if not armatures:
        raise CaptureError("There is no armature in the scene. Add the rig that is to be captured.")
    active = bpy.context.view_layer.objects.active
    if len(armatures) > 1 and active not in armatures.values():
        raise CaptureError(f"There are several armatures in the scene: {listed}. Choose one with --armature.")
    return active if active in armatures.values() else next(iter(armatures.values()))


def options_of(arguments: argparse.Namespace, scene: bpy.types.Scene, armature: bpy.types.Object) -> CaptureOptions:
    """What was stored with the armature, overruled by what was typed."""
    stored, machine = armature.mocap_anything, preferences()
    model = resolve_model(arguments.model or stored.model, machine.model_folder if machine else "")
    names = {"root_rotation": "root_rotation", "root_travel": "root_travel", "fit": "fit", "refine": "refine", "contacts": "contacts"}
    names |= {"own_actions": "own_actions", "library": "library", "smoothing": "smoothing", "trim_start": "start", "trim_end": "end", "crop": "crop"}
    try:
        settings: CaptureSettings = settings_of(stored, arguments.device or (machine.device if machine else "auto"), model)
        typed = {field: getattr(arguments, name) for name, field in names.items() if getattr(arguments, name) is not None}
        settings = replace(settings, **typed)
    except ValueError as error:
        raise CaptureError(f"{error}.") from error
    start = arguments.start_frame if arguments.start_frame is not None else first_frame(stored, scene)
    kind, limbs = arguments.reference_kind or stored.reference_kind, arguments.limbs or stored.limbs
    return CaptureOptions(arguments.video, start, settings, arguments.reference_frames or None, kind, arguments.keep_raw, limbs)


def _places(arguments: argparse.Namespace) -> list[Path]:
    """Where results go. The scene is written unless something else alone was asked for."""
    rest = [getattr(arguments, name, None) for name in ("preview", "contact_sheet", "confidence")]
    wanted = [arguments.output, arguments.export, arguments.report, *rest]
    if arguments.output is None and arguments.export is None:
        scene = arguments.scene or Path(bpy.data.filepath or "untitled.blend")
        wanted[0] = scene.with_name(f"{scene.stem}_{'captured' if arguments.action == 'capture' else 'solved'}.blend")
    named = [place for place in wanted if place is not None]
    twice = [place for place in named if [other.absolute() for other in named].count(place.absolute()) > 1]
    if twice:  # a table of joints and one of errors may both be CSV
        raise CaptureError(f"'{twice[0]}' is to hold two results. Give each a name of its own.")
    return named


def _found(time: float | None) -> str:
    """What a capture without an aligned reference is worth, and what to do about it. time: seconds, at which the rig was found in the video."""
    if time is None:
        return "without an aligned reference this is a rough guess. Set up a camera and pose the rig over the video."
    return f"no pose stands over the video: the rig was found by the subject's outline at {time:.2f} s. If it is wrong there, pose it over the video."


def _write_scene(places: dict[Path, Path]) -> None:
    """Before anything is exported, which changes what is selected."""
    for place, temporary in places.items():
        if place.suffix == ".blend":
            save_scene(temporary, place)


def _export_options(arguments: argparse.Namespace, frames: tuple[float, float], start_frame: float) -> ExportOptions:
    if arguments.export_fps is not None and not arguments.export_fps > 0:
        raise CaptureError(f"The export's rate is {arguments.export_fps:g}. Give frames a second above zero.")
    return ExportOptions(frames, start_frame, arguments.export_fps, arguments.bvh_order)


def _export(places: dict[Path, Path], place: Path | None, armature: bpy.types.Object, options: ExportOptions) -> None:
    if place is not None:
        export_motion(bpy.context, armature, places[place], place, options)


def _write_pictures(places: dict[Path, Path], armature: bpy.types.Object, prepared: Prepared, motion: Motion) -> None:
    """Preview and contact sheet."""
    pictures = {place: temporary for place, temporary in places.items() if place.suffix in (".mp4", ".png")}
    if pictures:
        from ..backend.preview import contact_sheet, write_preview

        # as Blender poses the rig with the keys that were written, not as the backend meant it
        poses = keyed_poses(bpy.context.scene, armature, prepared, motion)
        for place, temporary in pictures.items():
            draw = write_preview if place.suffix == ".mp4" else contact_sheet
            with writing(place):
                draw(temporary, prepared.clip, prepared.rig, motion, poses, prepared.request.camera)
