"""What the fit expects of motions and of what is seen, by which it weighs one against the other."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FitSettings:
    """Expected sizes, which weigh the terms.

    noise: error of a place, share of the crop. near: how far a point's place may be from where the pose so far puts it, share of the crop.
    doubt: chance that a point is at none of its places. lively: so many times wider, in variance, turns since the reference are than the motion prior says,
    rest: radians that every bone may turn besides. brisk, still: the same of turns in a 24th of a second, about what is expected. travel: sizes a second by
    which the place differs from what is expected, recede: away from the camera or towards it. onward: of a bone's speed, so much goes on. looks: at the
    places and the picture, a frame. heard: how much of its places is believed beside the picture. sure: how many independent points the many of a bone's
    skin are worth. surge: radians / s^2, rush: sizes / s^2 that are usual. doubtful: of what frames know of the pose, that much is believed against those
    around, since their errors are alike.
    """

    noise: float = 0.04
    near: float = 0.04
    doubt: float = 1e-5
    lively: float = 5.0
    rest: float = 0.08
    brisk: float = 1.7
    still: float = 0.03
    travel: float = 0.5
    recede: float = 0.3
    onward: float = 0.8
    looks: int = 1
    heard: float = 0.3
    sure: float = 1.5
    surge: float = 600.0
    rush: float = 20.0
    doubtful: float = 0.1
