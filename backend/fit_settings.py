"""What the fit expects of motions and of what is seen, by which it weighs one against the other."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FitSettings:
    """Expected sizes, which weigh the terms.

    noise: error of a place, share of the crop. near: how far a point's place may be from where the pose so far puts it, share of the crop.
    doubt: chance that a point is at none of its places. rest: radians by which a bone that stays as in the reference seems to turn; lazy: how much more
    firmly it is held than one that has turned, if it carries as many bones as they do on average. bend: radians that a bone turns at all. hurry: radians a
    second by which a turn differs from what is expected. travel: sizes a second by which the place does, recede: away from the camera or
    towards it. onward: of a bone's speed, so much
    goes on. looks: at the places and the picture, a frame. heard: how much of its
    places is believed beside the picture.
    sure: how many independent points the many of a bone's skin are worth.
    surge: radians / s^2, rush: sizes / s^2 that are usual. doubtful: of what frames know of the pose, that much is believed against those around, since their
    errors are alike.
    """

    noise: float = 0.04
    near: float = 0.04
    doubt: float = 1e-5
    rest: float = 0.07
    lazy: float = 0.2
    bend: float = 0.6
    hurry: float = 3.0
    travel: float = 0.5
    recede: float = 0.3
    onward: float = 0.8
    looks: int = 1
    heard: float = 0.3
    sure: float = 1.5
    surge: float = 300.0
    rush: float = 20.0
    doubtful: float = 0.1
