"""What a training leaves to look at: numbers, sheets of what was found, learning curves."""

import json

import numpy as np
import pytest
import torch
from mocap_anything.backend.model.config import ModelConfig
from mocap_anything.training.curves import draw, validations
from mocap_anything.training.data.sample import SampleConfig
from mocap_anything.training.data.stream import Batch, SampleStream, StreamConfig
from mocap_anything.training.journal import overlay
from mocap_anything.training.train import TrainConfig, Trainer
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

MODEL = ModelConfig(image_size=64, stem_dims=(16, 16), token_dim=32, fine_dim=16, joint_dim=32, head_dim=16, token_head_dim=16, encoder_layers=1,
                    match_layers=1, pose_layers=1, lift_layers=1, rot_layers=1, time_window=2)
SAMPLE = SampleConfig(frames=3, image_size=64, max_bones=10, rendered_share=0.0, loose_share=0.0)
STREAM = StreamConfig(batch=2, motion_batch=0, baked_share=0.0, creature_uses=2, sample=SAMPLE)


@pytest.fixture(scope="module")
def batch() -> Batch:
    return next(iter(SampleStream(STREAM, [])))


def test_a_validation_leaves_numbers_a_sheet_and_a_curve(batch, tmp_path):
    trainer = Trainer(TrainConfig(stage="match", bf16=False, model=MODEL, stream=STREAM), tmp_path, [])
    for trainer.step in (0, 5):
        trainer.validate({"unseen": [batch]})
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0, 5]
    sheet = np.asarray(Image.open(tmp_path / "unseen-000005.png"))
    assert sheet.shape == (2 * 192, 4 * 192, 3), "two clips, each with its reference and three frames"
    board = EventAccumulator(str(tmp_path / "board"))
    board.Reload()
    assert [event.value for event in board.Scalars("unseen/pck10")] == pytest.approx([row["pck10"] for row in rows], abs=1e-4)
    draw([tmp_path / "log.jsonl"], ["pck10", "uv"], tmp_path / "curves.png")
    assert Image.open(tmp_path / "curves.png").size[0] > 300


def test_runs_that_went_on_follow_each_other_on_the_curve(tmp_path):
    for name, minutes in (("a", (1.0, 4.0)), ("b", (2.0, 3.0))):
        lines = [json.dumps({"step": k, "minutes": m, "set": "rare", "pck10": 0.5}) for k, m in enumerate(minutes)]
        (tmp_path / name).write_text("\n".join(lines))
    assert [row["minutes"] for row in validations([tmp_path / "a", tmp_path / "b"])["rare"]] == [1, 4, 6, 7]


def test_lines_lead_from_where_joints_are_to_where_they_were_found(batch):
    x, truth = batch.clips
    right = overlay(x, truth, truth.uv.numpy())
    wrong = overlay(x, truth, (truth.uv + torch.tensor([0.1, 0.0])).numpy())
    assert (right[:, :192] == wrong[:, :192]).all(), "the reference is as it was given"
    red = [((sheet[..., 0] > 200) & (sheet[..., 1] < 120)).sum() for sheet in (right, wrong)]
    assert red[1] > red[0] + 100
