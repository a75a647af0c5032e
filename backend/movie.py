"""Frames of a video file: which there are (an index of time stamps), and how to read any run of them."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from .errors import CaptureError
from .picture import Picture

log = logging.getLogger(__name__)

_HEAD_FRAMES = 16
_DECODE_THREADS = min(4, os.cpu_count() or 1)  # each frame thread holds whole pictures: an 8K clip on 64 cores must not fill the memory
_TEXT_CODECS = {"ansi", "bintext", "xbin", "idf"}  # FFmpeg draws text files as pictures


def _open_container(path: Path) -> tuple[InputContainer, VideoStream]:
    """The file and its first real video stream (no cover art, no text drawn as pictures), local files only."""
    try:
        container = av.open(str(path.absolute()), options={"protocol_whitelist": "file"})
    except PermissionError as error:
        raise CaptureError(f"'{path.name}' cannot be read: permission denied.") from error
    except (av.FFmpegError, OSError) as error:
        raise CaptureError(f"'{path.name}' is not a video that can be read, or it is cut off before its index. Choose another file.") from error
    streams = [s for s in container.streams.video if s.codec_context is not None and s.codec_context.name not in _TEXT_CODECS]
    streams = [s for s in streams if not s.disposition & type(s.disposition).attached_pic]
    if not streams:
        has_audio = len(container.streams.audio) > 0
        container.close()
        raise CaptureError(f"'{path.name}' holds {'only sound' if has_audio else 'no video'}. Choose a video file.")
    stream = streams[0]
    stream.thread_type = "AUTO"
    stream.codec_context.thread_count = _DECODE_THREADS
    return container, stream


def _decode(container: InputContainer, stream: VideoStream, name: str) -> Iterator[VideoFrame]:
    """Every frame that can be decoded from here on; what cannot be is skipped with one warning."""
    broken = 0
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except (av.FFmpegError, OSError):  # the file ends within a packet: the decoder still holds frames
            broken, packet = broken + 1, None
        if packet is not None and packet.size == 0:
            if packet.dts is not None:  # AVI: the frame before stays
                continue
            packet = None
        try:
            yield from stream.codec_context.decode(packet)  # None: give out what is held back
        except av.EOFError:
            break
        except av.FFmpegError:
            broken += 1
        if packet is None:
            break
    if broken:
        log.warning("%s: %d damaged part(s) were left out.", name, broken)


def _seek(container: InputContainer, stream: VideoStream, stamp: int) -> bool:
    try:
        container.seek(stamp, stream=stream, backward=True)
    except (av.FFmpegError, OSError):
        return False
    return True


@dataclass(frozen=True, eq=False)
class Movie:
    """A video file whose frames are known by their time stamps (a video.Source).

    stamps: (T,) int64 increasing presentation time stamps, or None where the file has none to rely on: then frames are counted from
        the beginning. keys: (K,) int64 increasing stamps at which decoding can begin.
    """

    path: Path
    picture: Picture
    times: np.ndarray
    fps: float
    stamps: np.ndarray | None
    keys: np.ndarray

    @property
    def size(self) -> tuple[int, int]:
        return self.picture.size

    @property
    def full_size(self) -> tuple[int, int]:
        return self.picture.full_size

    def _decode_from(self, start: int) -> Iterator[tuple[int, VideoFrame]]:
        """(index, frame) from at the latest `start` on, if such frames can be decoded at all."""
        stamps = self.stamps
        key = int(np.searchsorted(self.keys, stamps[start], side="right")) - 1 if stamps is not None else -1
        while True:
            container, stream = _open_container(self.path)
            with container:
                late = key > 0
                if late and not _seek(container, stream, int(self.keys[key])):
                    key = 0
                    continue
                for count, frame in enumerate(_decode(container, stream, self.path.name)):
                    if stamps is None:
                        yield count, frame
                        continue
                    if late and (frame.pts is None or frame.pts > stamps[start]):  # some containers land behind the key frame
                        break
                    late = False
                    index = int(np.searchsorted(stamps, frame.pts)) if frame.pts is not None else len(stamps)
                    if index < len(stamps) and stamps[index] == frame.pts:
                        yield index, frame
                if not late:
                    return
            key = key // 2 if key > 1 else 0

    def read(self, start: int, stop: int) -> Iterator[np.ndarray]:
        wanted, missing = start, 0
        before: VideoFrame | None = None
        for index, frame in self._decode_from(start):
            while wanted < min(index, stop):
                missing += 1
                yield self.picture.array(before or frame)
                wanted += 1
            if wanted >= stop:
                break
            before = frame
            if index == wanted:
                yield self.picture.array(frame)
                wanted += 1
        if before is None:
            raise CaptureError(f"'{self.path.name}' can no longer be decoded. Was it changed or moved during the capture?")
        while wanted < stop:
            missing += 1
            yield self.picture.array(before)
            wanted += 1
        if missing:
            log.warning("%s: %d frame(s) could not be decoded and repeat the one before.", self.path.name, missing)


def _demux_stamps(path: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """(stamps, key stamps), both sorted, from the packets alone, or None where these do not tell the frames for sure."""
    stamps: list[int] = []
    keys: list[int] = []
    container, stream = _open_container(path)
    with container:
        try:
            for packet in container.demux(stream):
                if packet.size == 0 or packet.is_discard:
                    continue
                if packet.pts is None or packet.is_corrupt:
                    return None
                stamps.append(packet.pts)
                if packet.is_keyframe:
                    keys.append(packet.pts)
        except (av.FFmpegError, OSError):
            return None
        complete = stream.frames == len(stamps)
    found, starts = np.array(sorted(stamps), np.int64), np.array(sorted(keys), np.int64)
    if not len(starts) or starts[0] != found[0] or (np.diff(found) == 0).any():
        return None
    return (found, starts) if _ends_agree(path, found, starts, complete) else None


def _ends_agree(path: Path, stamps: np.ndarray, keys: np.ndarray, complete: bool) -> bool:
    """Whether what decodes at both ends is what the packets promise: hidden frames, fields and cut files show there."""

    def agrees(key: int, limit: int) -> bool:
        container, stream = _open_container(path)
        with container:
            if key > 0 and not _seek(container, stream, int(keys[key])):
                return False
            seen: list[int | None] = []
            for frame in _decode(container, stream, path.name):
                if frame.pts is None or frame.pts >= keys[key]:
                    seen.append(frame.pts)
                if len(seen) == limit:
                    break
        return seen == stamps[stamps >= keys[key]][:limit].tolist()

    return agrees(0, _HEAD_FRAMES) and (complete or agrees(len(keys) - 1, len(stamps)))


def _decode_stamps(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """(stamps as float with NaN where a frame has none, key stamps), in decoding order, by decoding all: slow, but right for any file."""
    container, stream = _open_container(path)
    stamps: list[float] = []
    keys: list[int] = []
    with container:
        for frame in _decode(container, stream, path.name):
            stamps.append(np.nan if frame.pts is None else frame.pts)
            if frame.key_frame and frame.pts is not None:
                keys.append(frame.pts)
    return np.array(stamps), np.array(sorted(keys), np.int64)


def _increasing(stamps: np.ndarray) -> np.ndarray | None:
    """(T,) stamps, those missing or not past all before them put evenly between their neighbours; None if too many are so."""
    known = np.flatnonzero(np.isfinite(stamps))
    good = known[np.diff(np.maximum.accumulate(stamps[known]), prepend=-np.inf) > 0]
    if len(good) < 0.8 * len(stamps) or not len(good) or good[0] != 0 or good[-1] != len(stamps) - 1:
        return None
    return np.interp(np.arange(len(stamps)), good, stamps[good])


def _index(path: Path) -> tuple[np.ndarray | None, np.ndarray, np.ndarray | int]:
    """(stamps to find frames by or None, key stamps, times in ticks of the time base or else the number of frames)."""
    found = _demux_stamps(path)
    if found is not None:
        return *found, found[0].astype(np.float64)
    decoded, keys = _decode_stamps(path)
    ticks = _increasing(decoded)
    if ticks is not None and (ticks == decoded).all():
        return decoded.astype(np.int64), keys, ticks
    return None, keys[:0], len(decoded) if ticks is None else ticks


def open_movie(path: Path, frame_rate: float | None, max_side: int) -> Movie:
    """Index a video file; see video.open_clip."""
    if path.stat().st_size == 0:
        raise CaptureError(f"'{path.name}' is empty (0 bytes). Choose another video.")
    container, stream = _open_container(path)
    with container:
        first = next(_decode(container, stream, path.name), None)
        header, guessed = float(stream.average_rate or 0), float(stream.guessed_rate or 0)
        base = float(stream.time_base or 0)
        promised = float(stream.duration * base) if stream.duration else 0.0
    if first is None:
        raise CaptureError(f"No frame of '{path.name}' can be decoded: it is damaged or uses an unknown codec. Convert it to H.264 and try again.")
    picture = Picture.of(first, path.name, max_side)
    stamps, keys, ticks = _index(path)
    if isinstance(ticks, int):
        rate = frame_rate or guessed or header or 24.0
        log.info("%s: no reliable time stamps; its frames are taken as even, %g per second.", path.name, rate)
        times = np.arange(ticks) / rate
    else:
        times = (ticks - ticks[0]) * base
        rate = header or guessed or 24.0
        measured = (len(times) - 1) / float(times[-1]) if len(times) > 1 else rate
        if abs(rate - measured) > 0.005 * measured:  # else the header's is the exact one: stamps may be rounded
            rate = measured
    if promised > times[-1] + max(1.0, 5.0 / rate):
        log.warning("%s: it promises %.1f s, but only %.1f s can be decoded. It may be cut off.", path.name, promised, times[-1])
    return Movie(path, picture, times, rate, stamps, keys)
