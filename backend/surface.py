"""The skin of a posed rig: where its vertices are, how bones move them, how it looks in a crop, and where the refiner sees it instead."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .body_points import Crop, crop_around
from .camera import Camera
from .crop import crop_square
from .drawn import Painted, Visible, draw, project
from .ik_chain import Chain, riding
from .kinematics import bone_rotations, inverse_affine
from .model.refiner import Refiner
from .rasterizer import rasterize
from .reference import Reference
from .rig import Rig
from .silhouette import crop_camera

_LATTICE = 1e-5  # of the rig's size
_LEFT = 0.5  # share of a likelihood below which it says nothing
_NEAREST = 0.01  # of the rig's size before the camera
_LARGEST = 6.0  # crop, in pictures
_MARGIN = 1.3  # of the skin's extent, as in training


@dataclass(frozen=True, eq=False)
class Seen:
    """Where the refiner sees N points of the skin.

    corners: (N, 3) vertices, weights: (N, 3) of them, target: (N, 2) and variance: (N,) of a coordinate in shares of the crop, whose intrinsics (4,) are in
    shares of it too; matrix: (4, 4) armature to camera. share: (N,) so that every bone counts alike, however large it looks.
    """

    corners: np.ndarray
    weights: np.ndarray
    target: np.ndarray
    variance: np.ndarray
    share: np.ndarray
    intrinsics: np.ndarray
    matrix: np.ndarray


class OutOfViewError(ValueError):
    """The mesh is not wholly before the reference's camera."""


class Surface:
    """The mesh of a rig on a chain, painted with an aligned reference; raises OutOfViewError where part of it is behind the camera there.

    Poses are the chain's: rotations (J, 3, 3), heads (J, 3) in sizes.
    """

    def __init__(self, rig: Rig, chain: Chain, reference: Reference, refiner: Refiner, least: float = 0.01, usual: float = 0.03) -> None:
        assert rig.mesh is not None
        mesh, pose = rig.mesh, np.asarray(reference.pose, np.float64)
        self.least, self.usual = least, usual
        self.rig, self.chain, self.refiner, self.size = rig, chain, refiner, refiner.config.image_size
        self.device = next(refiner.parameters()).device
        self.triangles = mesh.triangles.astype(np.int64)
        stretch = np.swapaxes(bone_rotations(pose), -1, -2) @ pose[:, :3, :3]  # a scaled bone carries its skin farther
        inverse = inverse_affine(rig.rest)
        linear, shift = stretch @ inverse[:, :3, :3], (stretch @ inverse[:, :3, 3:])[..., 0]
        self.local = (np.einsum("vkab,vb->vka", linear[mesh.bones], mesh.vertices) + shift[mesh.bones]) / rig.size
        self.bones, self.shares = mesh.bones, mesh.weights.astype(np.float64)
        self.chief = self.bones[np.arange(len(self.bones)), self.shares.argmax(1)]
        self.moved = np.einsum("vk,vka->va", self.shares, riding(rig)[self.bones][:, :, chain.active])  # (V, A) how much of a vertex a bone turns
        vertices = self._stand(chain.reference.numpy(), chain.ref_heads.numpy(), reference.camera)
        crop = self._window(vertices, reference.camera)
        if crop is None:
            raise OutOfViewError
        self.first = self.last = self._painted(vertices, crop, reference.camera, reference.image, 1.0)

    def vertices(self, rotations: np.ndarray, heads: np.ndarray, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
        """(V, 3) in sizes, armature frame."""
        bones = self.bones[rows]
        return np.einsum("vk,vka->va", self.shares[rows], np.einsum("vkab,vkb->vka", rotations[bones], self.local[rows]) + heads[bones])

    def remember(self, rotations: np.ndarray, heads: np.ndarray, camera: Camera, image: np.ndarray, scale: float) -> None:
        """Paint the rig with a frame (H, W, 3), shrunk by `scale`, for which its pose was found, when it looks at the next one."""
        vertices = self._stand(rotations, heads, camera)
        crop = self._window(vertices, camera)
        if crop is not None:
            self.last = self._painted(vertices, crop, camera, image, scale)

    def forget(self) -> None:
        """Paint it with the reference alone."""
        self.last = self.first

    def _stand(self, rotations: np.ndarray, heads: np.ndarray, camera: Camera) -> np.ndarray:
        """Vertices (V, 3) in the camera frame, on a lattice far finer than a pixel: what is drawn, and so what the refiner answers, must be the
        same to the last bit where poses differ by rounding alone, or the difference grows from frame to frame."""
        step = 2.0 ** round(np.log2(_LATTICE * self.rig.size * float(camera.scale)))
        return np.round(camera.to_camera(self.vertices(rotations, heads) * self.rig.size) / step) * step

    def _window(self, vertices: np.ndarray, camera: Camera) -> Crop | None:
        """The crop around what was posed; None where it is behind the camera, or so near that there is nothing to compare."""
        if not (vertices[:, 2] > _NEAREST * self.rig.size * float(camera.scale)).all():
            return None
        crop = crop_around(project(vertices, camera.intrinsics), _MARGIN)
        middle = np.array([camera.width, camera.height]) / 2
        reach = max(camera.width, camera.height)
        return crop if crop.side < _LARGEST * reach and (np.abs(crop.center - middle) < middle + crop.side / 2).all() else None

    def _painted(self, vertices: np.ndarray, crop: Crop, camera: Camera, image: np.ndarray, scale: float) -> Painted:
        intrinsics = crop_camera(camera, crop, self.size)
        cut = crop_square(image, crop.center * scale, float(crop.side) * scale, self.size).permute(1, 2, 0).numpy()
        return Painted(cut, intrinsics, vertices, self._see(vertices, intrinsics).depth(vertices, self.triangles))

    def _see(self, vertices: np.ndarray, intrinsics: np.ndarray) -> Visible:
        points, camera = torch.from_numpy(vertices).float()[None], torch.from_numpy(intrinsics).float()[None]
        buffers = rasterize(points, torch.from_numpy(self.triangles), camera, (self.size, self.size))
        return Visible(self.size, buffers.pixel.numpy(), buffers.triangle.numpy(), buffers.weights.numpy())

    def look(self, rotations: np.ndarray, heads: np.ndarray, camera: Camera, image: np.ndarray, scale: float) -> Seen | None:
        """Compare the rig posed so with a frame (H, W, 3) that was shrunk by `scale`; None where nothing of it is in the picture."""
        vertices = self._stand(rotations, heads, camera)
        crop = self._window(vertices, camera)
        if crop is None:
            return None
        intrinsics = crop_camera(camera, crop, self.size)
        visible = self._see(vertices, intrinsics)
        if not len(visible.pixel):
            return None
        extent = self.rig.size * float(camera.scale)
        drawn = torch.from_numpy(draw(visible, vertices, self.triangles, (self.first, self.last), extent))
        frame = crop_square(image, crop.center * scale, float(crop.side) * scale, self.size).float() / 255 - 0.5
        with torch.inference_mode():
            flow, log_error, _ = self.refiner(drawn[None].to(self.device), frame[None].to(self.device))
        return self._seen(visible, flow[0].cpu().numpy(), log_error[0].cpu().exp().numpy(), intrinsics, camera.from_armature)

    def _seen(self, visible: Visible, flow: np.ndarray, error: np.ndarray, intrinsics: np.ndarray, matrix: np.ndarray) -> Seen:
        """The answer at the pixels that the refiner answers for.

        An unsure refiner says that a point is where it is drawn, for in training it mostly was nearby; the fit knows that already, from the frame
        before. So that prior is taken out: of a Gaussian posterior of variance v under a prior of variance p, the likelihood has the variance
        v / (1 - v / p), and its mean is 1 / (1 - v / p) times as far away.
        """
        y, x = visible.pixel // self.size, visible.pixel % self.size
        row = np.flatnonzero((y % 2 == 0) & (x % 2 == 0))
        y, x = y[row] // 2, x[row] // 2
        corners, weights = self.triangles[visible.triangle[row]], visible.weights[row].astype(np.float64)
        # under a Laplace distribution of the plane a coordinate has three times its scale's square as variance
        variance = 3 * np.square(error[y, x].astype(np.float64)) + self.least**2
        left = np.clip(1 - variance / self.usual**2, _LEFT, None)
        target = visible.centers[row] / self.size + flow[:, y, x].T / left[:, None]
        chief = self.chief[corners[np.arange(len(row)), weights.argmax(1)]]
        share = 1 / np.bincount(chief, minlength=len(self.rig))[chief]
        return Seen(corners, weights, target.astype(np.float64), variance / left, share * (left > _LEFT), intrinsics / self.size, matrix)

    def residuals(self, seen: Seen, rotations: np.ndarray, heads: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How far the points are from where they are seen (N, 2), and how they move (N, 2, 3A + 3) with turns of the active bones in their
        carriers' axes and with all roots' place."""
        used, place = np.unique(seen.corners, return_inverse=True)
        place = place.reshape(seen.corners.shape)
        points = np.einsum("nk,nka->na", seen.weights, self.vertices(rotations, heads, used)[place])
        moved = np.einsum("nk,nka->na", seen.weights, self.moved[used][place])
        matrix = seen.matrix[:3, :3] * self.rig.size
        before = points @ matrix.T + seen.matrix[:3, 3]
        depth = np.maximum(before[:, 2:], 1e-6)
        flat = before[:, :2] / depth
        focal = seen.intrinsics[:2]
        across = np.zeros((len(points), 2, 3))
        across[:, 0, 0], across[:, 1, 1] = (focal / depth).T
        across[:, :, 2] = -flat * focal / depth
        slope = across @ matrix
        active = self.chain.active
        above = self.rig.carriers[active]
        axes = np.where((above >= 0)[:, None, None], np.swapaxes(rotations[np.maximum(above, 0)], -1, -2), np.eye(3))  # (A, 3, 3) axis by axis
        # a turn by d about an axis moves a point by d axis x (point - head), so slope . that = (point x slope) . axis - slope . (axis x head)
        both = np.concatenate([np.cross(points[:, None], slope), slope], -1)
        levers = np.concatenate([axes, -np.cross(axes, heads[active][:, None])], -1).reshape(-1, 6)
        turning = (both.reshape(-1, 6) @ levers.T).reshape(len(points), 2, len(active), 3) * moved[:, None, :, None]
        return seen.target - flat * focal - seen.intrinsics[2:], np.concatenate([turning.reshape(len(points), 2, -1), slope], 2)

    def normal(self, seen: Seen, state: tuple[Tensor, Tensor], trust: float) -> tuple[Tensor, Tensor]:
        """What the points add to the normal equations of one frame: (3A + 3, 3A + 3) and (3A + 3,). trust: how many independent points the many
        of a bone are worth."""
        residual, jacobian = self.residuals(seen, state[0].numpy(), state[1].numpy())
        weight = trust * seen.share / (seen.variance + np.square(residual).sum(1))  # Cauchy's, of the scale that is expected
        rows = jacobian.reshape(-1, jacobian.shape[-1])
        weighted = rows * np.repeat(weight, 2)[:, None]
        return torch.from_numpy(weighted.T @ rows), torch.from_numpy(weighted.T @ residual.reshape(-1))
