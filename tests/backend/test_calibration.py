"""From the network's word to expected errors: the curve, its place in a model file, and what people are told of it."""

import csv

import numpy as np
import pytest
import torch
from mocap_anything.backend.calibration import UNTOUCHED, Calibration, Curve, gaps
from mocap_anything.backend.errors import CaptureError
from mocap_anything.backend.model.checkpoint import load_model, save_calibration, save_model
from mocap_anything.backend.model.config import ModelConfig
from mocap_anything.backend.model.network import Video2Pose2Rot
from mocap_anything.backend.motion import Motion
from mocap_anything.backend.sureness import in_words, least_sure, write_sureness
from safetensors import safe_open

TINY = ModelConfig(image_size=64, stem_dims=(16, 16), token_dim=32, fine_dim=16, joint_dim=32, head_dim=16, token_head_dim=16, encoder_layers=1,
                   match_layers=1, pose_layers=1, lift_layers=1, rot_layers=1)
MEASURED = Calibration(Curve(3.0, 0.004, 0.1), Curve(4.0, 0.002, 0.0), True)


def motion(confidence: np.ndarray) -> Motion:
    frames, bones = confidence.shape
    rotations = np.tile(np.eye(3), (frames, bones, 1, 1))
    return Motion(np.arange(frames) / 10, rotations, np.zeros((frames, bones, 3)), confidence.astype(np.float32), np.zeros((frames, bones, 2), np.float32))


def test_nothing_is_expected_at_the_reference_and_the_more_the_farther():
    curve = Curve(2.0, 0.01, 0.1)
    expected = curve.expected(np.full((5, 2), 0.03), np.array([0.0, 0.05, 0.1, 1.0, np.inf]))
    assert (expected[0] == 0).all()
    assert (np.diff(expected[:, 0]) > 0).all()
    assert expected[2, 0] == pytest.approx(0.04 * (1 - np.exp(-1)))
    assert expected[-1, 1] == pytest.approx(0.04)


def test_the_curve_stays_above_zero_and_below_the_rig():
    curve = Curve(2.0, 0.01, 0.0)
    expected = curve.expected(np.array([[0.001], [0.01], [0.02], [5.0]]), np.zeros(4))[:, 0]
    assert expected == pytest.approx([0.0002, 0.002, 0.02, 1.0])


def test_gaps_to_the_nearest_reference():
    assert gaps(np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.5, 3.0])) == pytest.approx([0.5, 0.5, 1.0, 0.0])
    assert np.isinf(gaps(np.zeros(3), np.zeros(0))).all()


def test_fitted_and_plain_captures_have_curves_of_their_own():
    raw = motion(np.full((4, 2), 0.024))
    fitted = MEASURED.applied(raw, np.array([0.1]), fitted=True).confidence
    plain = MEASURED.applied(raw, np.zeros(0), fitted=False).confidence
    assert fitted[:, 0] == pytest.approx(0.06 * (1 - np.exp(-np.array([1.0, 0.0, 1.0, 2.0]))))
    assert plain == pytest.approx(0.088)
    assert (UNTOUCHED.applied(raw, np.array([0.1]), fitted=True).confidence == raw.confidence).all()


def test_a_model_file_carries_its_calibration_and_keeps_its_weights(tmp_path):
    model, path = Video2Pose2Rot(TINY), tmp_path / "model.safetensors"
    save_model(model, path, {"name": "tiny"}, half=True)
    assert load_model(path).calibration == Calibration(), "a file of before has none, and still loads"
    assert not load_model(path).calibration.measured
    before = path.read_bytes()
    save_calibration(path, MEASURED, tmp_path / "copy.safetensors")
    assert path.read_bytes() == before
    save_calibration(path, MEASURED)
    again = load_model(path)
    assert again.calibration == MEASURED
    with safe_open(str(path), "pt") as new, safe_open(str(tmp_path / "copy.safetensors"), "pt") as copy:
        assert new.metadata()["name"] == "tiny"
        assert all(new.get_tensor(k).dtype == torch.float16 and torch.equal(new.get_tensor(k), copy.get_tensor(k)) for k in new.keys())  # noqa: SIM118
    save_model(again, tmp_path / "third.safetensors")
    assert load_model(tmp_path / "third.safetensors").calibration == MEASURED, "publishing copies it"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["copy.safetensors", "model.safetensors", "third.safetensors"]


@pytest.mark.parametrize(
    "text", ["{}", "[1]", '{"fitted": {"scale": 1}, "plain": 3}', '{"fitted": {"scale": -1}, "plain": {}}', '{"fitted": {"slope": 1}, "plain": {}}']
)
def test_a_calibration_that_is_none_is_refused_in_one_line(tmp_path, text):
    path = tmp_path / "model.safetensors"
    save_model(Video2Pose2Rot(TINY), path, {"calibration": text})
    with pytest.raises(CaptureError, match="another version") as error:
        load_model(path)
    assert "\n" not in str(error.value)


def test_the_least_sure_stretch_comes_first_with_its_bones():
    expected = np.full((30, 5), 0.01)
    expected[4:7, 3] = 0.03
    expected[15:21, 1], expected[15:21, 4] = 0.2, 0.15
    first, *rest = least_sure(expected)
    assert not rest, "three frames that are hardly less sure are no place to look at"
    assert (first.first, first.last, first.bones) == (15, 20, (1, 4))
    assert first.error == pytest.approx(0.175)


def test_where_all_is_alike_nothing_is_named():
    assert least_sure(np.full((5, 3), 0.02)) == []
    assert least_sure(np.zeros((0, 3))) == []


def test_where_much_is_as_unsure_as_can_be_it_is_named():
    expected = np.full((10, 2), 1.0)
    expected[:5] = 0.1
    assert [(s.first, s.last, s.bones) for s in least_sure(expected)] == [(5, 9, (0, 1))]


def test_words_for_an_animator():
    assert in_words((31.0, 48.0), ["Foot.L", "Leg.L"], 0.081) == "Look first at frames 31–48: Foot.L, Leg.L (about 8 % of its size off)"
    assert in_words((9.0, 9.0), ["Tail"], 0.02).startswith("Look first at frame 9: Tail")


def test_both_tables_say_the_same(tmp_path):
    frames, times, expected = np.array([1.0, 3.0]), np.array([0.0, 2 / 24]), np.array([[0.0, 0.01], [0.02, 0.03]])
    for name in ("a.csv", "a.npz"):
        write_sureness(tmp_path / name, frames, times, ["hip", "küçük"], expected)
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with np.load(tmp_path / "a.npz", allow_pickle=False) as data:
        assert data["bone"].tolist() == ["hip", "küçük"]
        assert data["expected_error_percent"].tolist() == [[0.0, 1.0], [2.0, 3.0]]
        assert data["frame"].tolist() == [1.0, 3.0]
    assert [(row["frame"], row["bone"], float(row["expected_error_percent"])) for row in rows] == [
        ("1", "hip", 0.0), ("1", "küçük", 1.0), ("3", "hip", 2.0), ("3", "küçük", 3.0)
    ]
    assert float(rows[-1]["time"]) == pytest.approx(2 / 24, abs=1e-6)
