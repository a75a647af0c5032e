"""Films of our own as files."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av


def write_video(path: Path, pictures: Iterable[av.VideoFrame], fps: float, size: tuple[int, int]) -> None:
    """Write pictures of a size (width, height), as they come, H.264 at a quality that hides nothing."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001), options={"crf": "14", "preset": "medium"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
