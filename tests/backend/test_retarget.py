"""Motions of one rig on another: exact where the rigs differ in their axes alone, by arc length where chains differ, never onto the other side."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mocap_anything.backend.errors import CaptureError
from mocap_anything.backend.finish.smoothing import from_local, to_local
from mocap_anything.backend.kinematics import pose_along_carriers
from mocap_anything.backend.motion import Motion
from mocap_anything.backend.quaternions import power
from mocap_anything.backend.retarget.correspondence import propose
from mocap_anything.backend.retarget.links import Link, chain, load_links, save_links
from mocap_anything.backend.retarget.transfer import Posed, RetargetSettings, retarget
from mocap_anything.backend.rig import Rig

UP, FRONT = np.array([0.0, 0, 1]), np.array([0.0, -1, 0])


def make_rig(bones: dict[str, tuple[str, tuple[float, float, float], tuple[float, float, float]]], seed: int = 0) -> Rig:
    """A rig of bones {name: (parent, head, end)} with axes drawn at random."""
    names, count = tuple(bones), len(bones)
    parents = np.array([names.index(parent) if parent else -1 for parent, *_ in bones.values()], np.int32)
    rest = np.tile(np.eye(4), (count, 1, 1))
    rest[:, :3, :3] = random_rotations(count, seed)
    rest[:, :3, 3] = [head for _, head, _ in bones.values()]
    ends = np.array([end for *_, end in bones.values()], np.float64)
    flags = np.ones(count, bool)
    return Rig(names, parents, parents.copy(), rest, ends, flags, ("",) * count, flags, flags, ("FULL",) * count)


def random_rotations(count: int, seed: int) -> np.ndarray:
    matrices = np.linalg.qr(np.random.default_rng(seed).normal(size=(count, 3, 3)))[0]
    return matrices * np.sign(np.linalg.det(matrices))[:, None, None]


def quadruped(seed: int = 0, tail: int = 4, scale: float = 1.0, side: tuple[str, str] = (".L", ".R")) -> Rig:
    s = scale
    bones = {"Root": ("", (0, 0, 0), (0, 0, s)), "Hips": ("Root", (0, s, 2 * s), (0, 0, 2 * s)), "Spine": ("Hips", (0, 0, 2 * s), (0, -s, 2 * s))}
    bones |= {"Neck": ("Spine", (0, -s, 2 * s), (0, -1.5 * s, 2.5 * s)), "Head": ("Neck", (0, -1.5 * s, 2.5 * s), (0, -2 * s, 2.5 * s))}
    for n in range(tail):
        begin, end = (s + 2 * s * n / tail, s + 2 * s * (n + 1) / tail)
        bones[f"Tail{n + 1}"] = (f"Tail{n}" if n else "Hips", (0, begin, 2 * s), (0, end, 2 * s))
    for letter, x in zip(side, (0.5 * s, -0.5 * s), strict=True):
        for part, carrier, y in (("Front", "Spine", -s), ("Back", "Hips", s)):
            bones[f"{part}UpperLeg{letter}"] = (carrier, (x, y, 2 * s), (x, y, s))
            bones[f"{part}LowerLeg{letter}"] = (f"{part}UpperLeg{letter}", (x, y, s), (x, y, 0))
    return make_rig(bones, seed)


def posed(rig: Rig) -> Posed:
    return Posed(rig, rig.rest, UP, FRONT)


def some_motion(rig: Rig, frames: int = 9, seed: int = 5, travel: float = 1.0) -> Motion:
    """Every bone turns about an axis of its own, and the root walks."""
    share = np.sin(np.linspace(0, 2 * np.pi, frames))
    axes = random_rotations(len(rig), seed)
    turns = np.stack([power(axes, 0.2 * value) for value in share])
    # turned about the armature's axes, so that the motion does not depend on a bone's own
    rotations = from_world_turns(rig, turns)
    roots = np.broadcast_to(rig.rest[:, :3, 3], (frames, len(rig), 3)) + np.linspace(0, travel, frames)[:, None, None] * [0, -1, 0]
    heads = pose_along_carriers(rig, rotations, rig.rest, roots)
    return Motion(np.arange(frames) / 24, rotations, heads, np.zeros((frames, len(rig)), np.float32), np.full((frames, len(rig), 2), np.nan, np.float32))


def from_world_turns(rig: Rig, turns: np.ndarray) -> np.ndarray:
    """Orientations whose turns since rest add up along the carriers."""
    return from_local(rig, turns) @ rig.rest[:, :3, :3]


def angles(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    trace = np.trace(np.swapaxes(a, -1, -2) @ b, axis1=-2, axis2=-1)
    return np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1)))


def turns_of(rig: Rig, motion: Motion) -> np.ndarray:
    return motion.rotations @ np.swapaxes(rig.rest[:, :3, :3], -1, -2)


def test_other_axes_change_nothing() -> None:
    driving, target = quadruped(1), quadruped(2)
    motion = some_motion(driving)
    result = retarget(posed(driving), posed(target), propose(posed(target).anatomy(), posed(driving).anatomy()), motion, RetargetSettings(contacts=False))
    assert angles(turns_of(target, result), turns_of(driving, motion)).max() < 1e-4
    np.testing.assert_allclose(result.heads, motion.heads, atol=1e-9)


def test_the_body_may_face_and_stand_any_way() -> None:
    """The same creature Y up and turned by a quarter about it: turns come out in its own axes."""
    driving = quadruped(1)
    turn = np.array([[0.0, -1, 0], [0, 0, 1], [-1, 0, 0]])
    whole = np.eye(4)
    whole[:3, :3] = turn
    target = replace(quadruped(2), rest=whole @ quadruped(2).rest, ends=quadruped(2).ends @ turn.T)
    motion = some_motion(driving)
    pair = Posed(target, target.rest, turn @ UP, turn @ FRONT)
    result = retarget(posed(driving), pair, propose(pair.anatomy(), posed(driving).anatomy()), motion, RetargetSettings(contacts=False))
    assert angles(turns_of(target, result), turn @ turns_of(driving, motion) @ turn.T).max() < 1e-4
    np.testing.assert_allclose(result.heads, motion.heads @ turn.T, atol=1e-9)


def test_travel_is_scaled_by_the_legs() -> None:
    driving, target = quadruped(1), quadruped(2, scale=3.0)
    motion = some_motion(driving, travel=2.0)
    result = retarget(posed(driving), posed(target), propose(posed(target).anatomy(), posed(driving).anatomy()), motion, RetargetSettings(contacts=False))
    hips = target.names.index("Hips")
    np.testing.assert_allclose(result.heads[-1, hips] - result.heads[0, hips], [0, -6, 0], atol=1e-9)


@pytest.mark.parametrize(("mine", "theirs"), [(7, 4), (3, 6), (5, 1)])
def test_tails_of_other_length(mine: int, theirs: int) -> None:
    """A tail that curls evenly curls as far in as many bones as there are."""
    driving, target = quadruped(1, tail=theirs), quadruped(2, tail=mine)
    curl = np.tile(np.eye(3), (2, len(driving), 1, 1))
    for n in range(theirs):
        angle = np.radians(60 / theirs)
        curl[1, driving.names.index(f"Tail{n + 1}")] = [[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]]
    still = some_motion(driving, 2)
    motion = still.with_pose(from_world_turns(driving, curl), still.heads)
    links = propose(posed(target).anatomy(), posed(driving).anatomy())
    assert Link(("Tail1", f"Tail{mine}"), ("Tail1", f"Tail{theirs}")) in links
    result = retarget(posed(driving), posed(target), links, motion)
    bent = turns_of(target, result)[1, [target.names.index(f"Tail{n + 1}") for n in range(mine)]]
    sizes = angles(np.eye(3), bent)
    assert (np.diff(sizes) >= -1e-6).all(), "never back"
    assert sizes[-1] == pytest.approx(60 if mine > theirs else 50, abs=10.1)
    # the middle of the tail lies as the middle of the driver's tail does
    assert sizes.mean() == pytest.approx(60 * (theirs + 1) / (2 * theirs), abs=60 / min(mine, theirs) / 2 + 10)


def test_proposal_keeps_sides_and_order() -> None:
    """Other names for the sides, other legs: front to front, left to left, and a hand to a foot."""
    human = make_rig({
        "root": ("", (0, 0, 0), (0, 0, 1)), "pelvis": ("root", (0, 0, 10), (0, 0, 12)), "spine_01": ("pelvis", (0, 0, 12), (0, 0, 14)),
        "spine_02": ("spine_01", (0, 0, 14), (0, 0, 16)), "neck_01": ("spine_02", (0, 0, 16), (0, 0, 17)), "head": ("neck_01", (0, 0, 17), (0, 0, 19)),
        **{f"clavicle_{s}": ("spine_02", (x * 0.3, 0, 16), (x, 0, 16)) for s, x in (("l", 1), ("r", -1))},
        **{f"upperarm_{s}": (f"clavicle_{s}", (x, 0, 16), (x * 4, 0, 16)) for s, x in (("l", 1), ("r", -1))},
        **{f"lowerarm_{s}": (f"upperarm_{s}", (x * 4, 0, 16), (x * 7, 0, 16)) for s, x in (("l", 1), ("r", -1))},
        **{f"hand_{s}": (f"lowerarm_{s}", (x * 7, 0, 16), (x * 8, 0, 16)) for s, x in (("l", 1), ("r", -1))},
        **{f"thigh_{s}": ("pelvis", (x, 0, 10), (x, 0, 5.5)) for s, x in (("l", 1), ("r", -1))},
        **{f"calf_{s}": (f"thigh_{s}", (x, 0, 5.5), (x, 0, 1)) for s, x in (("l", 1), ("r", -1))},
        **{f"foot_{s}": (f"calf_{s}", (x, 0, 1), (x, -1.5, 0)) for s, x in (("l", 1), ("r", -1))},
    })  # fmt: skip
    found = {link.target: link.driving for link in propose(posed(quadruped()).anatomy(), posed(human).anatomy())}
    one = {target[0]: driving[0] for target, driving in found.items() if target[0] == target[1]}
    expected = {"Hips": "pelvis", "Head": "head", "Neck": "neck_01"}
    for letter, low in (("L", "l"), ("R", "r")):
        expected |= {f"FrontUpperLeg.{letter}": f"upperarm_{low}", f"FrontLowerLeg.{letter}": f"lowerarm_{low}"}
        expected |= {f"BackUpperLeg.{letter}": f"thigh_{low}", f"BackLowerLeg.{letter}": f"calf_{low}"}
    assert {name: one.get(name) for name in expected} == expected
    assert found["Spine", "Spine"] == ("spine_01", "spine_02")


def test_a_chain_that_runs_back_from_its_root_is_all_tail() -> None:
    def back(name: str, count: int) -> Rig:
        return make_rig({f"{name}{n}": (f"{name}{n - 1}" if n else "", (0, n, 0), (0, n + 1, 0)) for n in range(count)}, count)

    fish, other = back("Main", 6), back("x", 4)
    links = propose(posed(fish).anatomy(), posed(other).anatomy())
    assert [(link.target, link.driving) for link in links] == [(("Main0", "Main0"), ("x0", "x0")), (("Main1", "Main5"), ("x1", "x3"))]
    # and one that runs forward is all neck
    ahead = make_rig({f"x{n}": (f"x{n - 1}" if n else "", (0, -n, 0), (0, -n - 1, 0)) for n in range(4)})
    assert posed(ahead).anatomy().neck == (1, 2, 3)
    assert posed(fish).anatomy().tail == (1, 2, 3, 4, 5)


def test_a_foot_that_hangs_elsewhere_belongs_to_the_template() -> None:
    """For its IK one rig's foot hangs from the root: it is still the other's foot, and turns as that does."""
    driving, target = quadruped(1), quadruped(2)
    foot = target.names.index("BackLowerLeg.L")
    carriers = target.carriers.copy()
    carriers[foot] = target.names.index("Root")
    target = replace(target, parents=carriers, carriers=carriers)
    links = propose(posed(target).anatomy(), posed(driving).anatomy())
    assert Link.bone("BackLowerLeg.L", "BackLowerLeg.L") in links
    motion = some_motion(driving)
    result = retarget(posed(driving), posed(target), links, motion, RetargetSettings(contacts=False))
    assert angles(turns_of(target, result), turns_of(driving, motion))[:, foot].max() < 1e-4


def test_sides_are_found_without_names() -> None:
    plain = quadruped()
    nameless = replace(plain, names=tuple(f"Bone.{n:03}" for n in range(len(plain))))
    body = posed(nameless).anatomy()
    told = np.array([1 if name.endswith(".L") else -1 if name.endswith(".R") else 0 for name in plain.names])
    np.testing.assert_array_equal(body.side, told)


def test_unlinked_bones_ride() -> None:
    driving, target = quadruped(1), quadruped(2)
    result = retarget(posed(driving), posed(target), [Link.bone("Spine", "Spine")], some_motion(driving))
    turns = turns_of(target, result)
    head, spine, hips = (target.names.index(name) for name in ("Head", "Spine", "Hips"))
    assert angles(turns[:, head], turns[:, spine]).max() < 1e-4
    assert angles(turns[:, hips], np.eye(3)).max() < 1e-4


def test_presets_come_back(tmp_path: Path) -> None:
    links = (Link(("Tail1", "Tail4"), ("a", "b")), Link.bone("Köpf", "head"))
    save_links(tmp_path / "map.json", links)
    assert load_links(tmp_path / "map.json") == links
    (tmp_path / "other.json").write_text('{"links": []}', "utf-8")
    with pytest.raises(CaptureError, match="is not a list of bones"):
        load_links(tmp_path / "other.json")
    with pytest.raises(CaptureError, match="cannot be read"):
        load_links(tmp_path / "none.json")


def test_chains_that_are_none() -> None:
    rig = quadruped()
    assert [rig.names[b] for b in chain(rig, ("Hips", "Tail2"))] == ["Hips", "Tail1", "Tail2"]
    with pytest.raises(CaptureError, match="does not hang from"):
        chain(rig, ("Tail1", "Head"))
    with pytest.raises(CaptureError, match="no bone 'Fin'"):
        chain(rig, ("Fin", "Head"))


def test_contacts_are_carried_over() -> None:
    """The driver's feet stand while its body sways over them; the target's, on legs of other proportions, slide less than they would."""
    driving, target = quadruped(1), quadruped(2, scale=1.0)
    ends, rest = target.ends.copy(), target.rest.copy()
    for n, name in enumerate(target.names):  # longer shins
        if "LowerLeg" in name:
            ends[n, 2] -= 1.0
    target = replace(target, ends=ends, rest=rest)
    frames = 25
    lean = np.radians(12) * np.sin(np.linspace(0, 2 * np.pi, frames))
    turns = np.tile(np.eye(3), (frames, len(driving), 1, 1))
    for n, name in enumerate(driving.names):
        if "UpperLeg" in name:
            turns[:, n] = [[[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]] for a in lean]
    rotations = from_world_turns(driving, turns)
    roots = np.broadcast_to(driving.rest[:, :3, 3], (frames, len(driving), 3)).copy()
    roots[..., 1] += -2 * np.sin(lean)[:, None]
    heads = pose_along_carriers(driving, rotations, driving.rest, roots)
    motion = Motion(
        np.arange(frames) / 24, rotations, heads, np.zeros((frames, len(driving)), np.float32), np.full((frames, len(driving), 2), np.nan, np.float32)
    )
    links = propose(posed(target).anatomy(), posed(driving).anatomy())
    from mocap_anything.backend.finish.contacts import foot_points

    def slide(contacts: bool) -> float:
        result = retarget(posed(driving), posed(target), links, motion, RetargetSettings(scale=1.0, contacts=contacts))
        feet = foot_points(target, result)[:, [n for n, name in enumerate(leaf_names(target)) if "LowerLeg" in name]]
        return float(np.abs(np.diff(feet[..., 1], axis=0)).sum(0).mean())

    assert slide(True) < 0.5 * slide(False)


def test_a_walk_on_the_spot_stays_there() -> None:
    """Feet that slide as the driver's do are as they are meant: on the same body nothing is shifted."""
    rig = quadruped(1)
    angle = np.radians(15) * np.sin(np.linspace(0, 4 * np.pi, 49))
    turns = np.tile(np.eye(3), (49, len(rig), 1, 1))
    for n, name in enumerate(rig.names):
        if "UpperLeg" in name:
            swing = angle * (1 if name in ("FrontUpperLeg.L", "BackUpperLeg.R") else -1)
            turns[:, n] = [[[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]] for a in swing]
    still = some_motion(rig, 49, travel=0.0)
    rotations = from_world_turns(rig, turns)
    heads = pose_along_carriers(rig, rotations, rig.rest, np.broadcast_to(rig.rest[:, :3, 3], still.heads.shape))
    motion = still.with_pose(rotations, heads)
    links = propose(posed(rig).anatomy(), posed(rig).anatomy())
    np.testing.assert_allclose(retarget(posed(rig), posed(rig), links, motion).heads, motion.heads, atol=1e-9)


def along_bones(rig: Rig, splay: float = 0.0, roll: float = 0.0) -> Rig:
    """The rig with bones along their local Y, as Blender has them; legs splayed outwards at rest, all bones rolled: radians."""
    rest, ends = rig.rest.copy(), rig.ends.copy()
    for n, name in enumerate(rig.names):
        if "Leg" in name:
            hip = n if "Upper" in name else int(rig.parents[n])
            angle = splay * (-1 if name.endswith(".L") else 1)
            out = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
            base = rig.rest[hip, :3, 3]
            rest[n, :3, 3], ends[n] = base + out @ (rig.rest[n, :3, 3] - base), base + out @ (rig.ends[n] - base)
        y = (ends[n] - rest[n, :3, 3]) / np.linalg.norm(ends[n] - rest[n, :3, 3])
        side = np.array([1.0, 0, 0]) - y[0] * y
        x = side / np.linalg.norm(side)
        frame = np.stack([x, y, np.cross(x, y)], 1)
        rest[n, :3, :3] = frame @ [[np.cos(roll), 0, np.sin(roll)], [0, 1, 0], [-np.sin(roll), 0, np.cos(roll)]]
    return replace(rig, rest=rest, ends=ends)


def test_bones_of_one_template_turn_about_their_own_axes() -> None:
    """A creature of the same bones whose legs are splayed: its knees bend about their hinges. Rolled otherwise, turns are the body's again."""
    driving, plain = along_bones(quadruped()), along_bones(quadruped(), splay=0.6)
    motion = some_motion(driving)
    moved = np.swapaxes(to_local(driving, driving.rest[:, :3, :3]), -1, -2) @ to_local(driving, motion.rotations)
    legs = [n for n, name in enumerate(driving.names) if "Leg" in name]
    results = []
    for target in (plain, along_bones(quadruped(), splay=0.6, roll=0.6)):
        links = propose(posed(target).anatomy(), posed(driving).anatomy())
        found = retarget(posed(driving), posed(target), links, motion, RetargetSettings(contacts=False))
        results.append(np.swapaxes(to_local(target, target.rest[:, :3, :3]), -1, -2) @ to_local(target, found.rotations))
        if target is not plain:
            assert angles(turns_of(target, found), turns_of(driving, motion)).max() < 1e-4
    assert angles(results[0], moved)[:, legs].max() < 1e-4
    assert angles(results[1], moved)[:, legs].max() > 1


def test_a_stride_does_not_turn_the_body() -> None:
    """Paired in mid-stride with one side's limbs ahead, the two still face the same way: the body goes where the driver's goes."""
    driving, target = quadruped(1), quadruped(2, scale=2.0)
    turns = np.tile(np.eye(3), (1, len(driving), 1, 1))
    for n, name in enumerate(driving.names):
        if "UpperLeg" in name:
            a = 1.2 if name.endswith(".L") else -1.2
            turns[:, n] = [[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]]
    rotations = from_world_turns(driving, turns)
    stride = np.tile(np.eye(4), (len(driving), 1, 1))
    stride[:, :3, :3] = rotations[0]
    stride[:, :3, 3] = pose_along_carriers(driving, rotations, driving.rest, driving.rest[None, :, :3, 3])[0]
    pair = Posed(driving, stride, UP, FRONT)
    motion = some_motion(driving, travel=2.0)
    result = retarget(pair, posed(target), propose(posed(target).anatomy(), posed(driving).anatomy()), motion, RetargetSettings(contacts=False, scale=1.0))
    hips = target.names.index("Hips")
    np.testing.assert_allclose(result.heads[-1, hips] - result.heads[0, hips], [0, -2, 0], atol=1e-9)


def leaf_names(rig: Rig) -> list[str]:
    from mocap_anything.backend.finish.contacts import leaves

    return [rig.names[n] for n in leaves(rig)]
