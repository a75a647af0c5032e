// SPDX-License-Identifier: GPL-3.0-or-later
// Job type for Flamenco 3: a batch of captures, in parts that the farm's workers share. Put it into the `scripts` folder beside Flamenco
// Manager; the extension must be enabled in the Blender that the workers run, and all paths must mean the same to them.

const JOB_TYPE = {
    label: "Capture from Video: Batch",
    description: "Capture many clips onto many rigs",
    settings: [
        { key: "jobs", type: "string", subtype: "file_path", required: true, description: "TOML file of jobs, or a folder of scenes and videos" },
        { key: "output", type: "string", subtype: "dir_path", required: true, description: "Folder of the results and of the journal" },
        { key: "parts", type: "int32", default: 4, propargs: { min: 1, max: 1000 }, description: "How many tasks the jobs are shared among" },
        { key: "workers", type: "int32", default: 1, propargs: { min: 1, max: 64 }, description: "Processes on each machine" },
        { key: "retries", type: "int32", default: 1, propargs: { min: 0, max: 10 }, description: "How often a failed job is tried again" },
        { key: "blender", type: "string", default: "{blender}", visible: "submission", description: "Blender, as the workers know it" },
    ],
};

function batch(settings, extra) {
    const words = ["--background", "--command", "mocap_anything", "batch", settings.jobs, "--output", settings.output];
    return { exe: settings.blender, args: words.concat(extra) };
}

function compileJob(job) {
    const settings = job.settings;
    const summary = author.Task("summary", "misc");
    summary.addCommand(author.Command("exec", batch(settings, ["--only-summary"])));
    for (let part = 1; part <= settings.parts; part++) {
        const task = author.Task("part-" + part + "-of-" + settings.parts, "misc");
        const share = ["--part", part + "/" + settings.parts, "--workers", "" + settings.workers, "--retries", "" + settings.retries];
        task.addCommand(author.Command("exec", batch(settings, share)));
        summary.addDependency(task);
        job.addTask(task);
    }
    job.addTask(summary);
}
