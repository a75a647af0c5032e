"""The same jobs shared among machines: on a Ray cluster of this machine's processes, and as the tasks that a render farm would start."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Flamenco gives a job type these objects; here they note what they are given
COLLECT = """
const task = (name, type) => ({name, type, commands: [], after: [], addCommand(c) { this.commands.push(c) }, addDependency(t) { this.after.push(t.name) }});
global.author = {Task: task, Command: (name, parameters) => ({name, parameters})};
const fs = require("fs"), vm = require("vm");
vm.runInThisContext(fs.readFileSync(process.argv[1], "utf-8") + "; global.compile = compileJob; global.type = JOB_TYPE");
const job = {settings: {}, tasks: [], addTask(t) { this.tasks.push(t) }};
for (const setting of type.settings) if ("default" in setting) job.settings[setting.key] = setting.default;
Object.assign(job.settings, JSON.parse(process.argv[2]));
compile(job);
console.log(JSON.stringify({tasks: job.tasks, keys: type.settings.map((s) => s.key)}));
"""


def write_jobs(folder: Path, scene: Path, clip: Path, names: str) -> Path:
    path = folder / "jobs.toml"
    head = f'[defaults]\nscene = "{scene.as_posix()}"\nvideo = "{clip.as_posix()}"\ntrim_end = 0.2\ndevice = "cpu"\npreview = false\n'
    path.write_text(head + "".join(f'[[job]]\nname = "{name}"\n' for name in names), "utf-8")
    return path


def journal(folder: Path) -> list[dict[str, str]]:
    lines = [line for path in (folder / "journal").glob("*.jsonl") for line in path.read_text("utf-8").splitlines() if line]
    return [json.loads(line) for line in lines]


def done(folder: Path) -> Counter[str]:
    return Counter(record["job"] for record in journal(folder) if record["state"] == "done")


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node to run the job type")
def test_tasks_of_a_render_farm(posed_file: Path, clip_file: Path, tmp_path: Path) -> None:
    """Every command line that the job type makes is run as it stands, with Blender as a module in Blender's place."""
    path, out = write_jobs(tmp_path, posed_file, clip_file, "abc"), tmp_path / "out"
    settings = {"jobs": str(path), "output": str(out), "parts": 2, "blender": "blender"}
    script = ROOT / "tools" / "flamenco" / "mocap_anything_batch.js"
    made = json.loads(subprocess.run(["node", "-e", COLLECT, str(script), json.dumps(settings)], capture_output=True, text=True, check=True).stdout)
    tasks = {task["name"]: task for task in made["tasks"]}
    assert list(tasks) == ["part-1-of-2", "part-2-of-2", "summary"]
    assert tasks["summary"]["after"] == ["part-1-of-2", "part-2-of-2"]
    for task in made["tasks"]:
        (command,) = task["commands"]
        assert command["name"] == "exec"
        exe, words = command["parameters"]["exe"], command["parameters"]["args"]
        assert [exe, *words[:3]] == ["blender", "--background", "--command", "mocap_anything"]
        result = subprocess.run([sys.executable, "-m", "mocap_anything", *words[3:]], capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
    assert done(out) == {"a": 1, "b": 1, "c": 1}
    assert "3 of 3 captures done" in (out / "summary.html").read_text("utf-8")


# looked for, not imported: beside Blender in one process it keeps the suite from ending
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs ray")
def test_a_cluster_that_loses_a_worker(posed_file: Path, clip_file: Path, tmp_path: Path) -> None:
    path, out = write_jobs(tmp_path, posed_file, clip_file, "abcd"), tmp_path / "jobs_results"
    command = [sys.executable, "-m", "mocap_anything", "batch", str(path), "--ray", "local", "--workers", "2", "--retries", "2"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not (begun := [r for r in (journal(out) if out.is_dir() else []) if r["state"] == "started"]):
            time.sleep(0.05)
        if process.poll() is None:
            worker = int(begun[0]["worker"].rpartition(":")[2])
            # not the worker but what Ray put beside it on its node: the worker must not outlive it
            os.kill(int(Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1]), signal.SIGKILL)
        _, said = process.communicate()
    assert process.returncode == 0, said
    assert done(out) == dict.fromkeys("abcd", 1), "all done, none twice"
    assert sum(record["state"] == "started" for record in journal(out)) == 5
    assert "was lost in the middle of the job" in said or any("was lost" in record.get("error", "") for record in journal(out))
