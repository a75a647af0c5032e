"""The skin of a posed rig before a camera: where its vertices are, what of it shows, and how bones move it to where it is seen instead."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import torch
from torch import Tensor

from .body_points import Crop, crop_around
from .camera import Camera
from .drawn import Visible, project
from .ik_chain import Chain, levers, swept
from .kinematics import bone_rotations, inverse_affine
from .rasterizer import rasterize
from .rig import Rig
from .silhouette import crop_camera

_LATTICE = 1e-5  # of the rig's size
_NEAREST = 0.01  # of the rig's size before the camera
_LARGEST = 6.0  # crop, in pictures
_MARGIN = 1.3  # of the skin's extent, as in training


@dataclass(frozen=True, eq=False)
class Seen:
    """Where N points of the skin are seen.

    corners: (N, 3) vertices, weights: (N, 3) of them, target: (N, 2) in shares of the crop and information: (N, 2, 2), its covariance's inverse; the crop's
    intrinsics (4,) are in shares of it too. matrix: (4, 4) armature to camera. share: (N,) so that every bone counts alike, however large it looks.
    """

    corners: np.ndarray
    weights: np.ndarray
    target: np.ndarray
    information: np.ndarray
    share: np.ndarray
    intrinsics: np.ndarray
    matrix: np.ndarray


@dataclass(frozen=True, eq=False)
class Shot:
    """A frame: its picture (H, W, 3), shrunk by `scale`, that of the next where it is known, and how surely (h, w), of 255, a window shows the subject."""

    image: np.ndarray
    after: np.ndarray | None
    scale: float
    mask: np.ndarray
    window: Crop

    def subject(self, places: np.ndarray) -> np.ndarray:
        """(N,) how surely, 0..1, the subject is at places (N, 2), pixels of the clip; as at the window's border beyond it."""
        x, y = (((places - self.window.center) / self.window.side + 0.5) * len(self.mask) - 0.5).astype(np.float32).T[:, :, None]
        return cv2.remap(self.mask, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[:, 0] / 255


@dataclass(frozen=True, eq=False)
class Standing:
    """The skin before a camera: vertices (V, 3) in its frame, triangles (F, 3), the crop around them and its intrinsics (4,), pixels of size × size."""

    vertices: np.ndarray
    triangles: np.ndarray
    crop: Crop
    intrinsics: np.ndarray
    size: int

    @cached_property
    def box(self) -> np.ndarray:
        """(2, 2) its low and high corner in the picture, pixels of the clip."""
        places = project(self.vertices, self.intrinsics)
        return self.crop.to_pixels(np.stack([places.min(0), places.max(0)]) / self.size)

    @cached_property
    def visible(self) -> Visible:
        """What shows of it; drawn once, whoever asks."""
        points, camera = torch.from_numpy(self.vertices).float()[None], torch.from_numpy(self.intrinsics).float()[None]
        buffers = rasterize(points, torch.from_numpy(self.triangles), camera, (self.size, self.size))
        return Visible(self.size, buffers.pixel.numpy(), buffers.triangle.numpy(), buffers.weights.numpy())


class Surface:
    """The mesh of a rig on a chain. Poses are the chain's: rotations (J, 3, 3), heads (J, 3) in sizes."""

    def __init__(self, rig: Rig, chain: Chain, reference_pose: np.ndarray, size: int = 128) -> None:
        assert rig.mesh is not None
        mesh, pose = rig.mesh, np.asarray(reference_pose, np.float64)
        self.rig, self.chain, self.size = rig, chain, size
        self.triangles = mesh.triangles.astype(np.int64)
        self.stretch = np.swapaxes(bone_rotations(pose), -1, -2) @ pose[:, :3, :3]  # a scaled bone carries its skin farther
        inverse = inverse_affine(rig.rest)
        linear, shift = self.stretch @ inverse[:, :3, :3], (self.stretch @ inverse[:, :3, 3:])[..., 0]
        self.local = (np.einsum("vkab,vb->vka", linear[mesh.bones], mesh.vertices) + shift[mesh.bones]) / rig.size
        self.bones, self.shares = mesh.bones, mesh.weights.astype(np.float64)
        self.chief = self.bones[np.arange(len(self.bones)), self.shares.argmax(1)]
        self.moved = np.einsum("vk,vka->va", self.shares, chain.below[self.bones][:, :, chain.active])  # (V, A) how much of a vertex a bone turns

    def vertices(self, rotations: np.ndarray, heads: np.ndarray, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
        """(V, 3) in sizes, armature frame."""
        bones = self.bones[rows]
        return np.einsum("vk,vka->va", self.shares[rows], np.einsum("vkab,vkb->vka", rotations[bones], self.local[rows]) + heads[bones])

    def stand(self, rotations: np.ndarray, heads: np.ndarray, camera: Camera, window: Crop | None = None, size: int | None = None) -> Standing | None:
        """The skin posed so, in a window or the crop around it, of size² pixels; None where it is behind the camera, or so near that there is nothing
        to compare.

        Vertices lie on a lattice far finer than a pixel: what is drawn, and so what is answered to it, must be the same to the last bit where
        poses differ by rounding alone, or the difference grows from frame to frame.
        """
        step = 2.0 ** round(np.log2(_LATTICE * self.rig.size * float(camera.scale)))
        vertices = np.round(camera.to_camera(self.vertices(rotations, heads) * self.rig.size) / step) * step
        if not (vertices[:, 2] > _NEAREST * self.rig.size * float(camera.scale)).all():
            return None
        size = size or self.size
        if window is not None:
            return Standing(vertices, self.triangles, window, crop_camera(camera, window, size), size)
        crop = crop_around(project(vertices, camera.intrinsics), _MARGIN)
        middle = np.array([camera.width, camera.height]) / 2
        reach = max(camera.width, camera.height)
        if crop.side >= _LARGEST * reach or not (np.abs(crop.center - middle) < middle + crop.side / 2).all():
            return None
        return Standing(vertices, self.triangles, crop, crop_camera(camera, crop, size), size)

    def chiefs(self, corners: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """(N,) bones that move points of triangles' corners (N, 3) most."""
        return self.chief[corners[np.arange(len(corners)), weights.argmax(1)]]

    def residuals(self, seen: Seen, rotations: np.ndarray, heads: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How far the points are from where they are seen (N, 2), and how they move (N, 2, 3A + 3) with turns of the active bones in their
        carriers' axes and with all roots' place."""
        used, place = np.unique(seen.corners, return_inverse=True)
        place = place.reshape(seen.corners.shape)
        points = np.einsum("nk,nka->na", seen.weights, self.vertices(rotations, heads, used)[place])
        moved = np.einsum("nk,nka->na", seen.weights, self.moved[used][place])
        matrix = seen.matrix[:3, :3] * self.rig.size
        before = np.einsum("na,ba->nb", points, matrix) + seen.matrix[:3, 3]
        depth = np.maximum(before[:, 2:], 1e-6)
        flat = before[:, :2] / depth
        focal = seen.intrinsics[:2]
        across = np.zeros((len(points), 2, 3))
        across[:, 0, 0], across[:, 1, 1] = (focal / depth).T
        across[:, :, 2] = -flat * focal / depth
        slope = np.einsum("nij,jk->nik", across, matrix)
        # by torch, whose threads are counted: numpy's would stand in the way of those that work out optical flow
        arms = levers(self.chain, torch.from_numpy(rotations)[None], torch.from_numpy(heads)[None])
        turning = swept(torch.from_numpy(points)[None], torch.from_numpy(slope)[None], arms)[0].numpy() * moved[:, None, :, None]
        return seen.target - flat * focal - seen.intrinsics[2:], np.concatenate([turning.reshape(len(points), 2, -1), slope], 2)

    def normal(self, seen: Seen, state: tuple[Tensor, Tensor], trust: float) -> tuple[Tensor, Tensor]:
        """What the points add to the normal equations of one frame: (3A + 3, 3A + 3) and (3A + 3,). trust: how many independent points the many
        of a bone are worth."""
        residual, jacobian = self.residuals(seen, state[0].numpy(), state[1].numpy())
        off = np.einsum("na,nab,nb->n", residual, seen.information, residual)
        weight = seen.information * (trust * seen.share / (1 + off))[:, None, None]  # Cauchy's, of the scale that is expected
        rows = torch.from_numpy(jacobian.reshape(-1, jacobian.shape[-1]))
        weighted = (torch.from_numpy(weight) @ torch.from_numpy(jacobian)).view_as(rows).T
        return weighted @ rows, weighted @ torch.from_numpy(residual.reshape(-1))

    def pulled(
        self, standing: Standing, information: np.ndarray, force: np.ndarray, matrix: np.ndarray, pose: tuple[np.ndarray, np.ndarray]
    ) -> tuple[Tensor, Tensor]:
        """What pixels add to the normal equations of the pose that they show, each moving as the bone does that moves it most: (3A + 3, 3A + 3) and (3A + 3,).

        information: (N, 2, 2) and force: (N, 2) of the standing's visible pixels, in its crop's sides. Composite bodies: a bone turns all that rides on it
        (Featherstone 2008, Rigid Body Dynamics Algorithms, section 6.2).
        """
        visible, chain = standing.visible, self.chain
        linear = matrix[:3, :3] * self.rig.size
        corners = self.triangles[visible.triangle]
        before = visible.blend(standing.vertices, self.triangles)
        points = np.einsum("na,ba->nb", before - matrix[:3, 3], torch.linalg.inv(torch.from_numpy(linear)).numpy())  # numpy's wakes threads that spin
        focal = standing.intrinsics[:2] / standing.size
        flat = torch.from_numpy(before[:, :2] * focal / before[:, 2:])
        across = torch.cat([torch.diag_embed(torch.from_numpy(focal / before[:, 2:])), -(flat / torch.from_numpy(before[:, 2:]))[..., None]], -1)
        slope, place = across @ torch.from_numpy(linear), torch.from_numpy(points)[:, None]
        motion = torch.cat([torch.linalg.cross(place.expand(slope.shape), slope), slope], -1)  # (N, 2, 6) by turns about the armature's axes, and by shifts
        chief = torch.from_numpy(self.chiefs(corners, visible.weights))
        asked = torch.cat([torch.from_numpy(information) @ motion, torch.from_numpy(force)[..., None]], -1)
        count, active = len(self.rig), len(chain.active)
        bodies = torch.zeros(count, 42, dtype=torch.float64).index_add_(0, chief, (motion.transpose(1, 2) @ asked).flatten(1))
        rides = torch.from_numpy(chain.below[:, chain.active].astype(np.float64))  # (J, A)
        pairs = (rides[:, :, None] * rides[:, None]).flatten(1).T @ bodies  # (A², 42) of what rides on both of two bones
        single, whole = (rides.T @ bodies).view(active, 6, 7), bodies.sum(0).view(6, 7)
        arms = levers(chain, *(torch.from_numpy(x)[None] for x in pose))[0].unflatten(1, (active, 3)).permute(1, 0, 2)  # (A, 6, 3)
        turning = torch.einsum("aij,abik,bkl->ajbl", arms, pairs.view(active, active, 6, 7)[..., :6], arms).reshape(3 * active, 3 * active)
        beside = (arms.transpose(1, 2) @ single[:, :, 3:6]).flatten(0, 1)
        normal = torch.cat([torch.cat([turning, beside], 1), torch.cat([beside.T, whole[3:, 3:6]], 1)])
        return normal, torch.cat([(arms.transpose(1, 2) @ single[:, :, 6:]).flatten(), whole[3:, 6]])
