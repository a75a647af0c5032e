"""How many frames a second the compiled renderer draws: `python -m mocap_anything.training.render.benchmark`."""

from __future__ import annotations

import argparse
import os
import threading
import time
from collections.abc import Callable

import cv2
import numpy as np

from . import Background, Look, augment, render_clip
from .raster import NEAR, rasterize
from .shapes import limbs, staged


def rate(work: Callable[[int], int], threads: int, seconds: float) -> tuple[float, float]:
    """Frames a second of `work` (called with a seed, returns frames) on some threads at once: by the wall and by the processor's clock."""
    work(0)
    counts = [0] * threads
    end = time.perf_counter() + seconds

    def loop(index: int) -> None:
        seed = index * 100_000
        while time.perf_counter() < end:
            counts[index] += work(seed)
            seed += 1

    started, busy = time.perf_counter(), time.process_time()
    workers = [threading.Thread(target=loop, args=(index,)) for index in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(counts) / (time.perf_counter() - started), sum(counts) / (time.process_time() - busy)


def main() -> None:
    """Print the rates of the rasteriser alone and of whole pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--frames", type=int, default=24, help="frames of a clip")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    options = parser.parse_args()
    cv2.setNumThreads(1)
    size, frames = options.size, options.frames
    rest, triangles = limbs()
    vertices, up, intrinsics = staged(rest, frames, size, np.random.default_rng(0))

    def raster_only(seed: int) -> int:
        nearness, ids = np.empty((size * 2, size * 2), np.float32), np.empty((size * 2, size * 2), np.int32)
        for points, (fx, fy, cx, cy) in zip(vertices, intrinsics * 2, strict=True):
            nearness[:], ids[:] = 0, -1
            rasterize(points, triangles, 0, fx, fy, cx, cy, 1, 0, 0, NEAR, nearness, ids)
        return frames

    def whole(seed: int) -> int:
        rng = np.random.default_rng(seed)
        points, above, crops = staged(rest, frames, size, rng)
        look = Look.random(rng, np.full_like(rest, 0.5), rest)
        clip = render_clip(points, triangles, rest, crops, size, look, Background.random(rng), rng, above)
        augment(clip.images, rng, clip.mask)
        return frames

    print(f"{len(triangles)} triangles, {size} px, 4 samples a pixel, clips of {frames}")
    for name, work in (("rasteriser alone", raster_only), ("whole pictures", whole)):
        for threads in sorted({1, options.threads}):
            wall, busy = rate(work, threads, options.seconds)
            print(f"{name:18} {threads} thread{'s' * (threads > 1):1} {wall:8.0f} frames/s, {busy:8.0f} per second of processor time")


if __name__ == "__main__":
    main()
