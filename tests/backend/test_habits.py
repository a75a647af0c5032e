"""What actions of a rig add to what the network tells of its bones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from mocap_anything.backend.axis_angles import exp_rotation
from mocap_anything.backend.habits import Habits
from mocap_anything.backend.kinematics import bone_rotations
from mocap_anything.backend.model.checkpoint import bundled_prior
from mocap_anything.backend.moves import Moves
from mocap_anything.backend.rig import Rig
from mocap_anything.training.zoo import make_creature

UP = np.array([0.0, 0, 1])


@pytest.fixture(scope="module")
def chain() -> tuple[Rig, np.ndarray, np.ndarray]:
    rig = make_creature(np.random.default_rng(5), "snake", frames=2).rig
    return rig, np.flatnonzero(rig.driven)[1:4], bone_rotations(rig.rest)


def moved(rig: Rig, bones: np.ndarray, reference: np.ndarray, turns: np.ndarray, keyed: np.ndarray | None = None) -> Moves:
    """An action in which bones (A,) turn by axis-angles (N, A, 3) against their carriers, each lasting for one frame."""
    local = np.broadcast_to(np.eye(3), (len(turns), len(rig), 3, 3)).copy()
    local[:, bones] = exp_rotation(torch.from_numpy(turns)).numpy()
    out = np.empty_like(local)
    for bone in rig.carrier_order:
        above = rig.carriers[bone]
        rest = reference[above].T @ reference[bone] if above >= 0 else reference[bone]
        out[:, bone] = (out[:, above] if above >= 0 else np.eye(3)) @ local[:, bone] @ rest
    return Moves("Action", out[:-1], out[1:], np.ones(len(rig), bool) if keyed is None else keyed)


def cost(firmness: torch.Tensor, *turns: tuple[float, float, float]) -> float:
    x = torch.tensor(turns, dtype=torch.float64).flatten()
    return float(x @ firmness @ x)


def test_bones_that_turned_together_are_expected_to(chain):
    rig, bones, reference = chain
    rng = np.random.default_rng(0)
    angle = rng.normal(0, 0.4, 30)
    turns = np.zeros((30, 3, 3))
    turns[:, 0, 0], turns[:, 1, 0] = angle, -angle
    actions = tuple(moved(rig, bones, reference, turns) for _ in range(5))
    for told, scale in zip(Habits(bundled_prior(), UP, actions).of(rig, bones, reference), (1.0, 1.4), strict=True):
        firm = torch.linalg.inv(told.spread(5.0, 0.08))
        torch.testing.assert_close(firm, firm.T)
        assert torch.linalg.eigvalsh(firm).min() > 0
        a, still = 0.4 * scale, (0.0, 0.0, 0.0)
        together = cost(firm, (a, 0, 0), (-a, 0, 0), still)
        assert together < 0.25 * cost(firm, (a, 0, 0), (a, 0, 0), still)  # the other way round
        assert together < 0.25 * cost(firm, (0, a, 0), (0, -a, 0), still)  # about another axis
        assert together < cost(firm, (a, 0, 0), still, still)


def test_without_actions_the_network_speaks_alone(chain):
    rig, bones, reference = chain
    since, pace = Habits(bundled_prior(), UP).of(rig, bones, reference)
    for told in (since, pace):
        spread = told.spread(5.0, 0.08)
        torch.testing.assert_close(spread, torch.block_diag(*(5.0 * (told.usual + 0.08**2 * torch.eye(3)))))
        mean, near = told.near(torch.full((9,), 0.3, dtype=torch.float64), spread)
        assert not mean.any()
        torch.testing.assert_close(near, spread)


def test_bones_that_no_action_keys_are_the_networks(chain):
    rig, bones, reference = chain
    keyed = np.ones(len(rig), bool)
    keyed[bones[2]] = False
    action = moved(rig, bones, reference, np.random.default_rng(1).normal(0, 0.3, (20, 3, 3)), keyed)
    alone = Habits(bundled_prior(), UP).of(rig, bones, reference)[0].spread(5.0, 0.08)
    told = Habits(bundled_prior(), UP, (action,)).of(rig, bones, reference)[0]
    beside = told.spread(5.0, 0.08)
    mean, near = told.near(torch.full((9,), 0.3, dtype=torch.float64), beside)
    for found in (beside, near):
        torch.testing.assert_close(found[6:, 6:], alone[6:, 6:])
        assert not found[:6, 6:].any()
        assert not torch.allclose(found[:6, :6], alone[:6, :6])
    assert mean[:6].any()
    assert not mean[6:].any()


def test_more_actions_are_believed_more(chain):
    rig, bones, reference = chain
    rng = np.random.default_rng(2)
    actions = tuple(moved(rig, bones, reference, rng.normal(0, 0.3, (20, 3, 3)) * [1, 0, 0]) for _ in range(8))
    tells = [Habits(bundled_prior(), UP, actions[:count]).of(rig, bones, reference)[0].spread(5.0, 0.08) for count in (0, 1, 3, 8)]
    across = [cost(torch.linalg.inv(told), (0, 0.5, 0), (0, 0, 0), (0, 0, 0)) for told in tells]
    assert across == sorted(across)


def test_actions_that_come_near_the_reference_count_most(chain):
    rig, bones, reference = chain
    rng = np.random.default_rng(3)
    near = moved(rig, bones, reference, rng.normal(0, 0.3, (20, 3, 3)) * [1, 0, 0] * np.linspace(0, 1, 20)[:, None, None])
    far = moved(rig, bones, reference, 1.5 + rng.normal(0, 0.3, (20, 3, 3)) * [0, 1, 0])
    told = Habits(bundled_prior(), UP, (near, far)).of(rig, bones, reference)[0]
    assert told.weights[:19].sum() > 0.99
    # where the far one is expected, its poses say how the rig stands there
    spread = told.spread(5.0, 0.08)
    mean, _ = told.near(torch.full((9,), 1.5, dtype=torch.float64), spread)
    assert mean.mean() > 0.9
    assert told.near(torch.zeros(9, dtype=torch.float64), spread)[0].abs().max() < 0.2


def test_how_fast_the_whole_turns_is_not_learned(chain):
    rig, bones, reference = chain
    bones = np.array([0, *bones])
    assert rig.carriers[0] < 0
    actions = tuple(moved(rig, bones, reference, np.random.default_rng(4).normal(0, 0.3, (20, 4, 3))) for _ in range(3))
    (since, pace), (_, alone) = (Habits(bundled_prior(), UP, moves).of(rig, bones, reference) for moves in (actions, ()))
    assert since.known.all()
    assert pace.known.tolist() == [False, True, True, True]
    torch.testing.assert_close(pace.spread(5.0, 0.08)[:3, :3], alone.spread(5.0, 0.08)[:3, :3])
    assert not pace.spread(5.0, 0.08)[:3, 3:].any()


def test_where_actions_are_headed_does_not_matter(chain):
    rig, bones, reference = chain
    bones = np.array([0, *bones])
    action = moved(rig, bones, reference, np.random.default_rng(5).normal(0, 0.3, (20, 4, 3)))
    around = exp_rotation(torch.tensor([0.0, 0, 2.0], dtype=torch.float64)).numpy()
    turned = Moves(action.name, around @ action.rotations, around @ action.after, action.keyed)
    for told, other in zip(*(Habits(bundled_prior(), UP, (moves,)).of(rig, bones, reference) for moves in (action, turned)), strict=True):
        torch.testing.assert_close(told.turns, other.turns)
        torch.testing.assert_close(told.weights, other.weights)


def test_other_bodies_count_as_one_action_of_its_own(chain):
    rig, bones, reference = chain
    rng = np.random.default_rng(6)
    own = [moved(rig, bones, reference, rng.normal(0, 0.2, (10, 3, 3))) for _ in range(3)]
    others = [replace(moved(rig, bones, reference, rng.normal(0, 0.2, (10, 3, 3))), body=f"body {n}") for n in range(7)]
    habits = Habits(bundled_prior(), UP, (*others, *own))
    told = habits.of(rig, bones, reference)[0]
    assert float(told.weights[:27].sum()) == pytest.approx(3 / 4)
    assert float(told.weights.sum()) == pytest.approx(1)
    assert habits.moves_like == [f"body {n}" for n in range(7)]
    alone = Habits(bundled_prior(), UP, tuple(others)).of(rig, bones, reference)[0]
    assert float(alone.weights.sum()) == pytest.approx(1)
