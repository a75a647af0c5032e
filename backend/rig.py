"""The rig as the backend sees it: what never changes during a capture, in the armature's own frame."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np


def _expect(name: str, array: np.ndarray, shape: tuple[int | None, ...], kind: str = "f") -> None:
    ok = array.ndim == len(shape) and all(want is None or want == got for want, got in zip(shape, array.shape, strict=True))
    if not ok or array.dtype.kind not in kind:
        raise ValueError(f"{name} must have shape {shape} and dtype kind '{kind}', not {array.shape} {array.dtype}")


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles that follow the bones, sampled from every mesh bound to the rig.

    vertices: (V, 3) float32, rest position, armature frame, armature units.
    triangles: (F, 3) int32 into vertices.
    bones: (V, 4) int32 bone indices, weights: (V, 4) float32, rows sum to 1 (a vertex no bone moves has bone 0, weight 0 rows
        are not allowed: such vertices are bound to the nearest bone of their object's parent, else left out).
    colors: (V, 3) float32 sRGB 0..1, base colour of the material or texture at the vertex.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    bones: np.ndarray
    weights: np.ndarray
    colors: np.ndarray

    def __post_init__(self) -> None:
        count = len(self.vertices)
        _expect("vertices", self.vertices, (count, 3))
        _expect("triangles", self.triangles, (None, 3), "iu")
        _expect("bones", self.bones, (count, 4), "iu")
        _expect("weights", self.weights, (count, 4))
        _expect("colors", self.colors, (count, 3))
        if len(self.triangles) and int(self.triangles.max()) >= count:
            raise ValueError("triangles point past the last vertex")


@dataclass(frozen=True, eq=False)
class Rig:
    """A skeleton and its skin at rest. Bones are ordered parents before children.

    names: J bone names.
    parents: (J,) int32, -1 for roots. Blender's own hierarchy.
    carriers: (J,) int32, the bone whose motion carries this bone's head: the parent, save for detached bones (an `IK…` or `FF…`
        foot that hangs off the root but belongs to a leg), where it is the limb. -1 for roots. Carriers form a forest too, but
        not necessarily in index order: use `carrier_order`.
    rest: (J, 4, 4) float64 rigid matrices, bone to armature, at rest (Blender's `bone.matrix_local`).
    ends: (J, 3) float64 point in the armature frame at rest that shows where the bone points: the tail, or the centroid of the
        vertices that it moves where the tail is degenerate.
    driven: (J,) bool, bones that a capture keys.
    reasons: J strings, why a bone is or is not driven, shown to the user.
    inherit_rotation, local_location: (J,) bool, Blender's flags of the same names.
    inherit_scale: J strings, Blender's enum.
    mesh: what the rig moves, or None.
    """

    names: tuple[str, ...]
    parents: np.ndarray
    carriers: np.ndarray
    rest: np.ndarray
    ends: np.ndarray
    driven: np.ndarray
    reasons: tuple[str, ...]
    inherit_rotation: np.ndarray
    local_location: np.ndarray
    inherit_scale: tuple[str, ...]
    mesh: Mesh | None = field(default=None)

    def __post_init__(self) -> None:
        count = len(self.names)
        if count == 0:
            raise ValueError("a rig needs at least one bone")
        _expect("parents", self.parents, (count,), "i")
        _expect("carriers", self.carriers, (count,), "i")
        _expect("rest", self.rest, (count, 4, 4))
        _expect("ends", self.ends, (count, 3))
        _expect("driven", self.driven, (count,), "b")
        _expect("inherit_rotation", self.inherit_rotation, (count,), "b")
        _expect("local_location", self.local_location, (count,), "b")
        if len(self.reasons) != count or len(self.inherit_scale) != count:
            raise ValueError("reasons and inherit_scale must have one entry per bone")
        if (self.parents >= np.arange(count)).any():
            raise ValueError("bones must be ordered parents before children")
        if not np.isfinite(self.rest).all() or not np.isfinite(self.ends).all():
            raise ValueError("rest matrices and ends must be finite")

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def size(self) -> float:
        """Diagonal of the rest pose's bounding box (mesh if there is one, else heads and ends), armature units."""
        points = self.mesh.vertices if self.mesh is not None and len(self.mesh.vertices) else np.concatenate([self.rest[:, :3, 3], self.ends])
        return max(float(np.linalg.norm(points.max(0) - points.min(0))), 1e-12)

    @cached_property
    def carrier_order(self) -> np.ndarray:
        """(J,) bone indices, carriers before what they carry."""
        order: list[int] = []
        placed = np.zeros(len(self), bool)
        while len(order) < len(self):
            ready = [j for j in range(len(self)) if not placed[j] and (self.carriers[j] < 0 or placed[self.carriers[j]])]
            if not ready:
                raise ValueError("carriers form a cycle")
            placed[ready] = True
            order += ready
        return np.array(order, np.int32)

    @cached_property
    def detached(self) -> np.ndarray:
        """(J,) bool, driven bones whose head their parent's rotation does not determine (roots included): they get location keys."""
        return self.driven & ((self.parents < 0) | (self.carriers != self.parents))
