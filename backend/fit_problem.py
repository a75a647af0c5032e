"""The equations of a fit: what one frame's points, skin and picture say of the pose, and what is expected of it (see fit.py)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .assemble import Track
from .axis_angles import exp_rotation, inverse_left_jacobian, log_rotation
from .body_points import Body
from .camera import Camera
from .fit_settings import FitSettings
from .habits import Habits
from .ik_chain import Chain, Targets, levers, swept
from .likeness import Likeness
from .moves import FRAME
from .rig import Rig
from .skin_tracks import SkinTracks
from .steady import surety
from .surface import Seen, Shot, Standing, Surface

_DAMPING = 1e-6
_SETTLED = 0.01  # radians, or sizes: a step smaller than this is the last

Posed = tuple[Tensor, Tensor]  # rotations (n, J, 3, 3) and heads (n, J, 3), sizes of the rig

Data = tuple[tuple[Tensor, Tensor], Seen | None]  # where points should go and how surely, and where the skin has gone


@dataclass
class State:
    """angles (T, A, 3) of the active bones' turns against their carriers, shift (T, 3) of all roots since the reference, sizes of the rig."""

    angles: Tensor
    shift: Tensor


@dataclass(frozen=True, eq=False)
class Before:
    """What the frame before lets expect: angles (1, A, 3), shift (1, 3), the seconds since, gap (1,), how firmly bones are held there (3A, 3A), and
    about which angles (3A,) they are held how firmly (3A, 3A) whatever was before."""

    angles: Tensor
    shift: Tensor
    gap: Tensor
    hold: Tensor
    usual: Tensor
    firmness: Tensor


@dataclass(frozen=True)
class Stage:
    """Steps of a fit: how many at most; blur of the pictures that are compared, pixels."""

    steps: int
    blur: float | None = None


def chain_of(rig: Rig, body: Body, reference: np.ndarray, times: np.ndarray) -> Chain:
    """The chain that a capture is fitted with, of all points of a body."""
    rows, slots = np.nonzero(body.mask)
    unknown = np.broadcast_to(np.zeros(3), (len(times), len(rows), 3))
    return Chain(rig, reference, Targets(body.bones[rows], body.offsets[rows, slots], unknown, times))


class Problem:
    """One track's points and camera as tensors, and steps towards poses that explain them."""

    def __init__(self, rig: Rig, body: Body, track: Track, habits: Habits, settings: FitSettings) -> None:
        assert track.places is not None
        assert track.chances is not None
        self.settings, self.times = settings, torch.from_numpy(np.asarray(track.times, np.float64))
        frames = len(track.times)
        rows, slots = np.nonzero(body.mask)
        self.chain = chain_of(rig, body, track.reference.pose, track.times)
        self.places, self.chances, self.rows, self.slots = track.places, track.chances, rows, slots
        self.told, pace = habits.of(rig, self.chain.active, self.chain.reference.numpy())
        self.spread = self.told.spread(settings.lively, settings.rest)
        self.firmness = torch.linalg.inv(self.spread)
        self.pace = pace.spread(settings.brisk, settings.still)  # (3A, 3A) covariance of what bones turn in a `FRAME`
        self.unsure: Tensor | None = None  # (3A, 3A) covariance of the frame before's turns; nothing of the reference's
        self.share = torch.from_numpy(body.mask.sum(1)[rows] ** -0.5)  # points of one bone err alike
        self.corner = torch.from_numpy(track.crop.center - np.asarray(track.crop.side)[:, None] / 2)
        self.side = torch.from_numpy(np.asarray(track.crop.side, np.float64))
        self.mask, self.crop = track.mask, track.crop
        self.stand_before(track.camera)
        self.tracks: SkinTracks | None = None
        self.likeness: Likeness | None = None
        self.normal: Tensor  # the last step's equations
        self.moved = 0.0  # the last step's largest change
        self.placed = torch.zeros(frames, 3, 3)
        self.known = torch.zeros(frames, len(self.chain.active), 3, 3)  # single precision: it is the largest thing here

    def stand_before(self, camera: Camera) -> None:
        """Be seen by a camera, of one time or of all frames."""
        frames = len(self.times)
        self.camera = camera
        matrix = np.broadcast_to(camera.from_armature, (frames, 4, 4)).copy()
        matrix[:, :3, :3] *= self.chain.size
        self.matrix = torch.from_numpy(matrix)
        self.intrinsics = torch.from_numpy(np.broadcast_to(camera.intrinsics, (frames, 4)).copy())

    def start(self) -> State:
        """The reference's pose in every frame."""
        frames = len(self.times)
        return State(torch.zeros(frames, len(self.chain.active), 3, dtype=torch.float64), torch.zeros(frames, 3, dtype=torch.float64))

    def pose(self, state: State, part: slice) -> Posed:
        """Rotations (n, J, 3, 3) and heads (n, J, 3), sizes of the rig."""
        angles = state.angles[part]
        turns = torch.eye(3, dtype=angles.dtype).expand(len(angles), len(self.chain.rig), 3, 3).clone()
        turns[:, self.chain.active] = exp_rotation(angles)
        return self.chain.pose(turns, self.chain.ref_heads + state.shift[part][:, None])

    def before(self, angles: Tensor, shift: Tensor, gap: Tensor) -> Before:
        """What is expected where the frame before, and how it moved, lets expect angles (1, A, 3) and shift (1, 3) after a gap (1,)."""
        usual, spread = self.told.near(angles.flatten(), self.spread)
        moved = self.pace * (float(gap) / FRAME) ** 2
        hold = torch.linalg.inv(moved if self.unsure is None else moved + self.unsure)
        return Before(angles, shift, gap, hold, usual, self.firmness if spread is self.spread else torch.linalg.inv(spread))

    def look(self, posed: Posed, part: slice) -> tuple[Tensor, Tensor]:
        """Where each point should go, crop units (n, P, 2), from its places near the present pose, and how surely (n, P)."""
        settings = self.settings
        shown, _ = self._seen(self.chain.points(*posed), part)
        places, chances = (torch.from_numpy(said[part][:, self.rows, self.slots]).double() for said in (self.places, self.chances))
        off = (places - shown[..., None, :]).square().sum(-1)
        likely = chances * torch.exp(-off / (2 * settings.near**2))
        total = likely.sum(-1)
        share = likely / total.clamp(min=1e-300)[..., None]
        return (share[..., None] * places).sum(-2), self.share * (share * chances).sum(-1) * total / (total + settings.doubt)

    def watch(self, rig: Rig, track: Track, compare: bool) -> None:
        """From now on see the skin too, by optical flow and, to compare, drawn, where the whole of it stands before the reference's camera."""
        if rig.mesh is None or not len(rig.mesh.triangles):
            return
        self.surface = Surface(rig, self.chain, track.reference.pose)
        start = self.surface.stand(self.chain.reference.numpy(), self.chain.ref_heads.numpy(), track.reference.camera)
        if start is None:  # then its points alone are fitted
            return
        self.tracks = SkinTracks(self.surface)
        if compare:
            self.likeness = Likeness(self.surface)
            self.likeness.color_as(start, track.reference)

    def close(self) -> None:
        """End what following points left running."""
        if self.tracks is not None:
            self.tracks.close()

    def forget(self) -> None:
        """The frame before: how it stood, and what the skin looked like."""
        self.unsure = None
        if self.tracks is not None:
            self.tracks.forget()

    def shots(self, path: range, pictures: Iterator[np.ndarray] | None, scale: float) -> Iterator[Shot]:
        """A way's frames, each with a look at the next one's picture."""
        if pictures is None or not len(path):
            return
        assert self.mask is not None
        image = next(pictures)
        for frame in path:
            after = next(pictures) if frame != path[-1] else None
            yield Shot(image, after, scale, self.mask[frame], self.crop.at(frame))
            if after is not None:
                image = after

    def follow(self, posed: Posed, part: slice, shot: Shot) -> Seen | None:
        """Where the skin's points have gone in a part's one frame."""
        standing, camera = self._standing(posed, part)
        return None if standing is None or self.tracks is None else self.tracks.look(standing, camera, shot)

    def remember(self, posed: Posed, part: slice, shot: Shot) -> None:
        """What the skin looks like in a part's one frame, for the next."""
        standing, _ = self._standing(posed, part)
        if standing is not None and self.tracks is not None:
            self.tracks.remember(standing, shot)

    def _standing(self, posed: Posed, part: slice) -> tuple[Standing | None, Camera]:
        rotations, heads = posed
        camera = self._camera(part)
        return self.surface.stand(rotations[0].numpy(), heads[0].numpy(), camera), camera

    def _camera(self, part: slice) -> Camera:
        return self.camera if self.camera.from_armature.ndim == 2 else self.camera.at(part.start)

    def refine(self, state: State, part: slice, posed: Posed, data: Data, before: Before, stage: Stage) -> Posed:
        """One damped Gauss-Newton step of a part's one frame, in place, and how it then stands.

        posed: how it stands. data: where its points should go and how surely, and where its skin is seen.
        """
        goal, seen = data
        settings, angles = self.settings, state.angles[part]
        active = angles.shape[1]
        rotations, heads = posed
        points = self.chain.points(rotations, heads)
        shown, slope = self._seen(points, part)
        residual = goal[0] - shown
        weight = goal[1] / (1 + residual.square().sum(-1) / settings.noise**2) / settings.noise**2
        turning = swept(points, slope, levers(self.chain, rotations, heads)) * self.chain.moves[:, None, :, None]
        jacobian = torch.cat([turning.flatten(3), slope], -1)  # (n, P, 2, 3A + 3)
        weighted = (jacobian * weight[..., None, None]).flatten(1, 2)
        normal = weighted.transpose(-1, -2) @ jacobian.flatten(1, 2)
        gradient = (weighted.transpose(-1, -2) @ residual.flatten(1)[..., None])[..., 0]
        if seen is not None:
            more = self.surface.normal(seen, (rotations[0], heads[0]), settings.sure)
            normal[0] += more[0]
            gradient[0] += more[1]
        if stage.blur is not None and self.likeness is not None:
            alike = self.likeness.normal(rotations[0].numpy(), heads[0].numpy(), stage.blur)
            if alike is not None:
                normal[0] += alike[0]
                gradient[0] += alike[1]
        self._believe(normal, gradient, angles, before)
        firm = self._firm(part, before.gap)
        gradient[:, -3:] += (firm @ (before.shift - state.shift[part])[..., None])[..., 0]
        normal[:, -3:, -3:] += firm
        diagonal = normal.diagonal(dim1=-2, dim2=-1)
        # alike for the three axes of a bone, whichever those are
        diagonal += _DAMPING * diagonal.unflatten(1, (-1, 3)).mean(-1).repeat_interleave(3, 1) + 1e-9
        step = torch.linalg.solve(normal, gradient[..., None])[..., 0]
        self.normal = normal
        turn = step[:, : 3 * active].unflatten(1, (active, 3))
        turn = turn / (2 * turn.norm(dim=-1, keepdim=True)).clamp(min=1.0)  # half a radian at most: farther off a linear step says nothing
        state.angles[part] = log_rotation(exp_rotation(turn) @ exp_rotation(angles))
        state.shift[part] += step[:, 3 * active :]
        self.moved = float(step.unflatten(1, (-1, 3)).norm(dim=-1).max())
        return self.pose(state, part)

    def settle(self, state: State, part: slice, posed: Posed, data: Data, before: Before, stage: Stage) -> Posed:
        """A stage's steps, until they are small."""
        for _ in range(stage.steps):
            posed = self.refine(state, part, posed, data, before, stage)
            if self.moved < _SETTLED:
                break
        return posed

    def observe(self, part: slice, shot: Shot) -> None:
        """Look at a part's one frame, to compare it with the drawn rig."""
        assert self.likeness is not None
        self.likeness.observe(shot, self._camera(part))

    def know(self, state: State, part: slice, before: Before) -> None:
        """Keep how surely each angle, and the place, is known, by the last step, without what the frame before said; and with it, for the next."""
        angles = state.angles[part]
        normal = self.normal.clone()
        self.unsure = torch.linalg.inv(normal[0])[:-3, :-3]
        normal[:, :-3, :-3] -= before.hold
        normal[:, -3:, -3:] -= self._firm(part, before.gap)
        covariance = torch.linalg.inv(normal)
        known = surety(covariance, inverse_left_jacobian(angles)), torch.linalg.inv(covariance[:, -3:, -3:])
        self.known[part], self.placed[part] = ((self.settings.doubtful * x).float() for x in known)

    def _firm(self, part: slice, gap: Tensor) -> Tensor:
        """(n, 3, 3) how firmly the place is held where it was: pictures tell little of what comes nearer."""
        settings, ahead = self.settings, self.matrix[part, 2, :3]
        ahead = ahead / ahead.norm(dim=-1, keepdim=True)
        apart = 1 / settings.recede**2 - 1 / settings.travel**2
        return (torch.eye(3, dtype=ahead.dtype) / settings.travel**2 + apart * ahead[..., None] * ahead[:, None]) / gap[:, None, None] ** 2

    def _believe(self, normal: Tensor, gradient: Tensor, angles: Tensor, before: Before) -> None:
        """Add what the reference and the frame before say of the angles, whose increments are turns in the carriers' axes."""
        back = log_rotation(exp_rotation(before.angles) @ exp_rotation(angles).transpose(-1, -2))
        change = torch.block_diag(*inverse_left_jacobian(angles)[0])
        rest = change.T @ before.firmness
        normal[0, :-3, :-3] += rest @ change + before.hold
        gradient[0, :-3] += before.hold @ back.flatten() - rest @ (angles.flatten() - before.usual)

    def _seen(self, points: Tensor, part: slice) -> tuple[Tensor, Tensor]:
        """Where points (n, P, 3) show, crop units (n, P, 2), and how that moves with them (n, P, 2, 3)."""
        matrix, intrinsics, side = self.matrix[part], self.intrinsics[part], self.side[part][:, None, None]
        seen = points @ matrix[:, :3, :3].transpose(-1, -2) + matrix[:, None, :3, 3]
        depth = seen[..., 2:].clamp(min=1e-6)
        focal, middle = intrinsics[:, None, :2], intrinsics[:, None, 2:]
        flat = seen[..., :2] / depth
        shown = (flat * focal + middle - self.corner[part][:, None]) / side
        across = torch.diag_embed((focal / depth).expand_as(flat))
        slope = torch.cat([across, -(flat * focal / depth)[..., None]], -1) / side[..., None]
        return shown, slope @ matrix[:, None, :3, :3]
