"""Many captures in one command: checked before the first, journalled so that a kill costs one job, told on one page."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: object, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    from mocap_anything.addon.command_line import main

    code = main(["batch", *(str(argument) for argument in arguments)])
    return code, capsys.readouterr().err


def journal(folder: Path) -> Counter[tuple[str, str]]:
    """How often each job reached each state."""
    lines = [line for path in (folder / "journal").glob("*.jsonl") for line in path.read_text("utf-8").splitlines() if line]
    return Counter((record["job"], record["state"]) for record in map(json.loads, lines))


def write_jobs(folder: Path, scene: Path, clip: Path, names: str, extra: str = "") -> Path:
    path = folder / "jobs.toml"
    text = [f'[defaults]\nscene = "{scene.as_posix()}"\nvideo = "{clip.as_posix()}"\ntrim_end = 0.2\ndevice = "cpu"\npreview = false\n{extra}']
    path.write_text("\n".join([*text, *(f'[[job]]\nname = "{name}"' for name in names)]), "utf-8")
    return path


def test_jobs_of_a_file(tmp_path: Path) -> None:
    from mocap_anything.backend.batch.jobs import read_jobs

    for name in ("horse.blend", "dog.blend", "walk.mp4", "run.mp4"):
        (tmp_path / name).touch()
    (tmp_path / "jobs.toml").write_text(
        '[defaults]\nsmoothing = 0.2\n[[job]]\nscene = "*.blend"\nvideo = ["walk.mp4", "run.mp4"]\ncontacts = true\n'
        '[[job]]\nname = "long walk"\nscene = "dog.blend"\nvideo = "walk.mp4"\nreference_frames = [1, 40]\nexport = "bvh"\nsmoothing = 0\n', "utf-8",
    )
    jobs = read_jobs(tmp_path)
    assert [job.name for job in jobs] == ["dog_walk", "dog_run", "horse_walk", "horse_run", "long_walk"]
    assert "--contacts" in jobs[0].arguments(tmp_path)
    assert "--smoothing=0.2" in jobs[0].arguments(tmp_path)
    last = jobs[-1].arguments(tmp_path / "out")
    assert {"--smoothing=0", "--reference-frames=1,40", f"--export={tmp_path / 'out' / 'long_walk' / 'long_walk.bvh'}"} <= set(last)


def test_jobs_of_a_folder(tmp_path: Path) -> None:
    from mocap_anything.backend.batch.jobs import read_jobs

    for name in ("a.blend", "b.blend", "x.mp4", "y.MOV", "notes.txt"):
        (tmp_path / name).touch()
    assert [job.name for job in read_jobs(tmp_path)] == ["a_x", "a_y", "b_x", "b_y"]


def test_every_fault_is_told_before_anything_starts(posed_file: Path, clip_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_jobs(tmp_path, posed_file, clip_file, "a")
    path.write_text(path.read_text("utf-8") + '\n[[job]]\nname = "b"\nvideo = "none.mp4"\n[[job]]\nname = "c"\noutput = "x.blend"\n', "utf-8")
    code, error = run(path, capsys=capsys)
    assert code == 2
    assert "job b: there is no video at 'none.mp4'" in error
    assert "job c: 'output' is chosen by the batch" in error

    path = write_jobs(tmp_path, posed_file, clip_file, "a")
    more = {"b": 'armature = "Snake"', "c": "trim_start = 99", "d": "smothing = 1", "e": 'model = "nowhere"', "f": "reference_frames = [500]"}
    path.write_text(path.read_text("utf-8") + "".join(f'\n[[job]]\nname = "{name}"\n{line}\n' for name, line in more.items()), "utf-8")
    code, error = run(path, capsys=capsys)
    assert code == 2
    assert "5 of 6 jobs cannot be captured; nothing was started" in error
    for said in ("b: There is no armature 'Snake'", "c: ", "d: unrecognized arguments: --smothing=1", "e: There is no model", "f: The reference on frame 500"):
        assert f"  {said}" in error
    assert not (tmp_path / "jobs_results").exists()


def test_done_jobs_are_not_done_again(posed_file: Path, clip_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = write_jobs(tmp_path, posed_file, clip_file, "ab"), tmp_path / "jobs_results"
    assert run(path, capsys=capsys)[0] == 0
    assert journal(out) == {(job, state): 1 for job in "ab" for state in ("started", "done")}
    workers = {json.loads(line)["worker"] for job in "ab" for line in (out / "journal" / f"{job}.jsonl").read_text().split("\n") if line}
    assert len(workers) == 1, "one worker, and so one model, for both"
    assert json.loads((out / "a" / "report.json").read_text("utf-8"))["frames"]["captured"] == 5, "the trim, stretched to the reference"

    assert run(path, capsys=capsys)[0] == 0
    assert journal(out)["a", "started"] == 1
    os.utime(posed_file, (1, 1))  # another scene under the same name
    code, error = run(path, "--check", capsys=capsys)
    assert (code, "2 jobs" in error) == (0, True)

    rows = list(csv.DictReader((out / "summary.csv").open(encoding="utf-8")))
    assert [(row["job"], row["state"], row["armature"], row["frames"]) for row in rows] == [("a", "done", "Worm", "5"), ("b", "done", "Worm", "5")]
    page = (out / "summary.html").read_text("utf-8")
    assert '<img src="a/thumbnail.jpg"' in page
    assert (out / "b" / "thumbnail.jpg").is_file()
    assert "2 of 2 captures done" in page


def test_a_failure_is_tried_again_and_told(posed_file: Path, clip_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder where a result should lie: it passes every check, and no attempt can succeed."""
    path, out = write_jobs(tmp_path, posed_file, clip_file, "ab"), tmp_path / "out"
    (out / "a" / "a.blend").mkdir(parents=True)
    code, error = run(path, "--output", out, "--retries", "1", capsys=capsys)
    assert code == 1
    assert journal(out) == {("a", "started"): 2, ("a", "failed"): 2, ("b", "started"): 1, ("b", "done"): 1}
    assert "1 of 2 jobs are done, not done: a" in error
    rows = {row["job"]: row for row in csv.DictReader((out / "summary.csv").open(encoding="utf-8"))}
    assert "is a folder" in rows["a"]["error"]
    (out / "a" / "a.blend").rmdir()
    assert run(path, "--output", out, capsys=capsys)[0] == 0
    assert journal(out)["b", "started"] == 1


def test_kill_costs_only_the_job_in_hand(posed_file: Path, clip_file: Path, tmp_path: Path) -> None:
    path, out = write_jobs(tmp_path, posed_file, clip_file, "abcd"), tmp_path / "jobs_results"
    command = [sys.executable, "-m", "mocap_anything", "batch", str(path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("c ") and "Following" in line:
                process.send_signal(signal.SIGKILL)
                break
        process.stderr.read()  # until the worker, which shares it, is gone too
    before = journal(out)
    assert {job for job, state in before if state == "done"} == {"a", "b"}
    result = subprocess.run([*command, "--workers", "2"], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    after = journal(out)
    assert {job: after[job, "done"] for job in "abcd"} == dict.fromkeys("abcd", 1)
    assert {job: after[job, "started"] for job in "abcd"} == {"a": 1, "b": 1, "c": 2, "d": 1}
    assert not list(out.rglob("*.partial*"))


def test_a_torn_line_is_skipped(tmp_path: Path) -> None:
    from mocap_anything.backend.batch.jobs import Job
    from mocap_anything.backend.batch.journal import Journal

    job = Job("a", tmp_path / "a.blend", tmp_path / "a.mp4")
    told = Journal(tmp_path)
    told.write(job, "started")
    with (tmp_path / "journal" / "a.jsonl").open("ab") as file:
        file.write(b'\n{"state": "do')
    told.write(job, "failed", error="x")
    assert [record["state"] for record in told.records(job)] == ["started", "failed"]
    assert told.standing(job).state == "failed"


def test_two_batches_in_one_folder(tmp_path: Path) -> None:
    from mocap_anything.backend.batch.journal import alone
    from mocap_anything.backend.errors import CaptureError

    with alone(tmp_path, "part"), pytest.raises(CaptureError, match="Another batch is running"), alone(tmp_path, "part"):
        pass
    with alone(tmp_path, "part"):
        pass


def test_workers_that_die_are_replaced() -> None:
    """Real processes that are not ours to know: one that answers, and dies over the job called poison."""
    from mocap_anything.backend.batch.workers import MARK, WorkerProcess, run_all

    code = f"""
import json, os, sys
for line in sys.stdin:
    print("noise", flush=True)
    if line.strip() == "poison":
        os.kill(os.getpid(), 9)
    print({MARK!r} + json.dumps(dict(job=line.strip(), error="")), flush=True)
"""
    workers = [WorkerProcess([sys.executable, "-c", code]) for _ in range(2)]
    said = {answer.job: answer.error for answer in run_all(["a", "poison", "b", "c"], workers, retries=2)}
    assert {job for job, error in said.items() if not error} == {"a", "b", "c"}
    assert "killed by signal 9" in said["poison"]
