"""The procedural zoo: valid, repeatable, closed, limbs that hold together."""

from __future__ import annotations

import numpy as np
import pytest
from mocap_anything.backend.kinematics import skin
from mocap_anything.training.data.asset import Asset
from mocap_anything.training.zoo import PLANS, make_creature, make_pair

SEEDS = 200


@pytest.fixture(scope="module")
def creatures() -> list[Asset]:
    return [make_creature(np.random.default_rng(seed), PLANS[seed % len(PLANS)] if seed % 2 else None, frames=12) for seed in range(SEEDS)]


def test_same_seed_same_creature() -> None:
    for plan in PLANS:
        a, b = (make_creature(np.random.default_rng(5), plan, clips=2, frames=8) for _ in range(2))
        assert a.name == b.name
        assert a.rig.names == b.rig.names
        assert np.array_equal(a.rig.rest, b.rig.rest)
        assert np.array_equal(a.rig.mesh.colors, b.rig.mesh.colors)
        assert all(np.array_equal(x.pose, y.pose) and x.name == y.name for x, y in zip(a.clips, b.clips, strict=True))
        other = make_creature(np.random.default_rng(6), plan, frames=8)
        assert a.rig.rest.shape != other.rig.rest.shape or not np.allclose(a.rig.rest, other.rig.rest)


def test_rigs_are_plausible(creatures: list[Asset]) -> None:
    counts = np.array([len(a.rig) for a in creatures])
    assert counts.min() >= 5
    assert counts.max() <= 110
    assert {a.plan for a in creatures} == set(PLANS)
    for asset in creatures:
        rig, mesh = asset.rig, asset.rig.mesh
        assert len(set(rig.names)) == len(rig)
        rotation = rig.rest[:, :3, :3]
        assert np.allclose(rotation @ np.swapaxes(rotation, -1, -2), np.eye(3), atol=1e-6)
        assert np.allclose(np.linalg.det(rotation), 1, atol=1e-6)
        assert len(rig.carrier_order) == len(rig)
        assert np.abs(np.linalg.norm(asset.up) - 1) < 1e-9
        assert rig.driven[np.unique(mesh.bones[mesh.weights > 0])].all(), "a bone that vertices follow must be driven"


def test_meshes_are_closed_and_the_right_way_out(creatures: list[Asset]) -> None:
    for asset in creatures:
        mesh = asset.rig.mesh
        assert 300 < len(mesh.triangles) <= 3200
        assert np.isfinite(mesh.vertices).all()
        assert mesh.colors.min() >= 0
        assert mesh.colors.max() <= 1
        assert np.allclose(mesh.weights.sum(1), 1, atol=1e-5)
        assert mesh.weights.min() >= 0
        edges = np.concatenate([mesh.triangles[:, [i, (i + 1) % 3]] for i in range(3)])
        forward = {(int(a), int(b)) for a, b in edges}
        assert len(forward) == len(edges), "no edge twice in the same direction"
        assert all((b, a) in forward for a, b in forward), "every edge must have its opposite: closed, one winding"
        p, q, r = (mesh.vertices[mesh.triangles[:, i]].astype(float) - mesh.vertices.mean(0) for i in range(3))
        assert np.einsum("fi,fi->", p, np.cross(q, r)) > 0, "normals must point outward"


def test_poses_are_rigid_and_hang_together(creatures: list[Asset]) -> None:
    for asset in creatures:
        rig, pose = asset.rig, asset.clips[0].pose.astype(float)
        assert pose.shape == (12, len(rig), 4, 4)
        assert asset.clips[0].pose.dtype == np.float32
        assert np.isfinite(pose).all()
        rotation = pose[..., :3, :3]
        assert np.abs(rotation @ np.swapaxes(rotation, -1, -2) - np.eye(3)).max() < 1e-4
        assert np.linalg.det(rotation).min() > 0.99
        held = np.flatnonzero(rig.carriers >= 0)
        carrier = rig.carriers[held]
        offset = np.linalg.inv(rig.rest[carrier]) @ rig.rest[held]
        carried = (pose[:, carrier] @ offset)[..., :3, 3]
        gap = np.linalg.norm(carried - pose[:, held][..., :3, 3], axis=-1) / rig.size
        followed = np.zeros(len(rig), bool)
        followed[np.unique(rig.mesh.bones[rig.mesh.weights > 0])] = True
        ground = (rig.parents[carrier] < 0) & ~followed[carrier]
        held_on = rig.driven[held] & ~ground
        assert gap[:, held_on].max(initial=0) < 1e-3, "a bone's head must stay where its carrier takes it"


def test_creatures_move_and_stay_in_one_piece(creatures: list[Asset]) -> None:
    turns = []
    for asset in creatures:
        rig, pose = asset.rig, asset.clips[0].pose.astype(float)
        points = skin(rig.mesh, rig, pose)
        span = np.linalg.norm(np.ptp(points, axis=1), axis=-1)
        assert (span < 3 * rig.size).all()
        assert (span > 0.2 * rig.size).all()
        parents = np.maximum(rig.parents, 0)
        local = np.swapaxes(pose[:, parents, :3, :3], -1, -2) @ pose[..., :3, :3]
        change = np.swapaxes(local[:1], -1, -2) @ local
        angle = np.degrees(np.arccos(np.clip((np.trace(change, axis1=-2, axis2=-1) - 1) / 2, -1, 1))).mean(0)
        moved = rig.driven & (rig.parents >= 0)
        turns.append(angle[moved].mean())
    assert 5 < np.mean(turns) < 30


def test_a_pair_shares_bones_and_turns_but_not_proportions() -> None:
    for index, plan in enumerate(PLANS):
        rig, subject = make_pair(np.random.default_rng(index), plan, frames=6)
        assert rig.rig.names == subject.rig.names
        assert np.array_equal(rig.rig.parents, subject.rig.parents)
        assert np.allclose(rig.clips[0].pose[..., :3, :3], subject.clips[0].pose[..., :3, :3], atol=1e-5)
        heads = [a.rig.rest[:, :3, 3] / a.rig.size for a in (rig, subject)]
        assert np.abs(heads[0] - heads[1]).max() > 0.01
        children = np.flatnonzero((subject.rig.parents >= 0) & (subject.rig.carriers == subject.rig.parents))
        pose, rest = subject.clips[0].pose.astype(float), subject.rig.rest
        parents = subject.rig.parents[children]
        moving = np.isin(parents, np.unique(subject.rig.mesh.bones[subject.rig.mesh.weights > 0]))
        carried = (pose[:, parents] @ np.linalg.inv(rest[parents]) @ rest[children])[..., :3, 3]
        gap = np.linalg.norm(carried - pose[:, children][..., :3, 3], axis=-1) / subject.rig.size
        assert gap[:, moving & subject.rig.driven[children]].max(initial=0) < 1e-3
