"""Turns of a way smoothed by what was found after them (Rauch, Tung and Striebel 1965, AIAA Journal 3), a stretch at a time."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .axis_angles import exp_rotation, log_rotation

_STRETCH = 64  # frames that are settled at once
_BEYOND = 32  # frames after them that have a say: a step's gain is a matrix of all bones, so not all of a long way's are kept


@dataclass(frozen=True, eq=False)
class _Step:
    """From a frame to one after it, where turns (A, 3) were expected; gain (3A, 3A): of what was wrong with that, so much was wrong before."""

    before: int
    frame: int
    expected: Tensor
    gain: Tensor


class Smoother:
    """Of turns (T, A, 3), in place, that a filter finds one frame after the other on its way."""

    def __init__(self, turns: Tensor) -> None:
        self.turns = turns
        self.steps: list[_Step] = []

    def add(self, before: int, frame: int, expected: Tensor, gain: Tensor) -> None:
        """A step whose frame is found. expected: (A, 3). gain: (3A, 3A) covariance of the turns before it, times the inverse of the expected ones'."""
        self.steps.append(_Step(before, frame, expected, gain.float()))
        if len(self.steps) == _STRETCH + _BEYOND:
            self._settle(_STRETCH)

    def finish(self) -> None:
        """The way has ended."""
        self._settle(len(self.steps))

    def _settle(self, count: int) -> None:
        """Take the first `count` steps' starts as they are by all that is known now."""
        if not self.steps:
            return
        later = self.turns[self.steps[-1].frame]
        settled: dict[int, Tensor] = {}
        for step in reversed(self.steps):
            wrong = log_rotation(exp_rotation(later) @ exp_rotation(step.expected).transpose(-1, -2))
            back = (step.gain.to(wrong) @ wrong.flatten()).view_as(wrong)
            later = settled[step.before] = log_rotation(exp_rotation(back) @ exp_rotation(self.turns[step.before]))
        for step in self.steps[:count]:
            self.turns[step.before] = settled[step.before]
        del self.steps[:count]
