"""Pose networks with a teacher: maps inside an ONNX file, the loss, and checkpoints that plain networks read."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ehrpose.config import load_config
from ehrpose.engine import build_runner
from ehrpose.models import MapDistillationLoss, OnnxTeacher, load_checkpoint
from ehrpose.registry import MODELS

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

WEIGHT = torch.linspace(-1, 1, 5 * 3 * 4 * 4).reshape(5, 3, 4, 4)


@pytest.fixture
def teacher_file(tmp_path):
    """Write a network of one convolution at stride 4 and a ReLU, with a decoder that would refuse any input."""

    def write(layout="nchw", kind="FLOAT", batch=1):
        from onnx import TensorProto, helper, numpy_helper

        axes = ["h", "w", 3] if layout == "nhwc" else [3, "h", "w"]
        nodes = [helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT)]
        if layout == "nhwc":
            nodes.append(helper.make_node("Transpose", ["float"], ["planes"], perm=[0, 3, 1, 2]))
        nodes += [
            helper.make_node("Conv", ["planes" if layout == "nhwc" else "float", "weight"], ["conv"],
                             strides=[4, 4]),
            helper.make_node("Relu", ["conv"], ["features"]),
            helper.make_node("Reshape", ["features", "impossible"], ["people"]),
        ]  # fmt: skip
        stored = [
            numpy_helper.from_array(WEIGHT.numpy(), "weight"),
            numpy_helper.from_array(np.array([7, 11, 13]), "impossible"),
        ]
        image = helper.make_tensor_value_info("image", getattr(TensorProto, kind), [batch, *axes])
        people = helper.make_tensor_value_info("people", TensorProto.FLOAT, None)
        graph = helper.make_graph(nodes, "teacher", [image], [people], stored)
        path = tmp_path / f"{layout}_{kind}.onnx"
        onnx.save(
            helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path)
        )
        return path

    return write


@pytest.mark.parametrize(
    ("layout", "kind", "options"),
    [
        ("nchw", "FLOAT", {"mean": [120.0, 110, 100], "std": 50.0}),
        ("nhwc", "INT32", {}),
        ("nhwc", "UINT8", {}),
    ],
)
def test_the_maps_are_those_inside_the_graph(teacher_file, layout, kind, options):
    teacher = OnnxTeacher(teacher_file(layout, kind), ["conv", "features"], layout, **options)
    assert teacher.channels == [5, 5]
    images = torch.randint(0, 256, (3, 3, 16, 24)).float()
    # Integers are rounded, not cut: normalising and back leaves 253.99999.
    conv, features = teacher(images - 1e-4 if kind != "FLOAT" else images)
    mean = torch.tensor(options.get("mean", 0.0)).reshape(-1, 1, 1)
    wanted = F.conv2d((images - mean) / options.get("std", 1.0), WEIGHT, stride=4)
    assert conv.shape == (3, 5, 4, 6)
    torch.testing.assert_close(conv, wanted, rtol=1e-4, atol=1e-2)
    torch.testing.assert_close(features, wanted.relu(), rtol=1e-4, atol=1e-2)


def test_bgr_and_copies(teacher_file):
    images = torch.randint(0, 256, (1, 3, 8, 8)).float()
    rgb, bgr = (OnnxTeacher(teacher_file(), ["conv"], bgr=bgr) for bgr in (False, True))
    assert torch.equal(rgb(images.flip(1))[0], copy.deepcopy(bgr)(images)[0])
    assert not torch.equal(rgb(images)[0], bgr(images)[0])


def test_bad_teachers_are_refused(teacher_file, tmp_path):
    path = teacher_file()
    with pytest.raises(FileNotFoundError, match="no such teacher"):
        OnnxTeacher(tmp_path / "none.onnx", ["conv"])
    with pytest.raises(ValueError, match="has no tensor 'heat'"):
        OnnxTeacher(path, ["conv", "heat"])
    with pytest.raises(ValueError, match="'weight'"):
        OnnxTeacher(path, ["weight"])
    with pytest.raises(ValueError, match="at least one name"):
        OnnxTeacher(path, [])
    with pytest.raises(ValueError, match="'nchw' or 'nhwc', got 'hwc'"):
        OnnxTeacher(path, ["conv"], layout="hwc")
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(ValueError, match="not an ONNX file"):
        OnnxTeacher(tmp_path / "text.onnx", ["conv"])


def test_only_training_needs_the_file(teacher_file, tmp_path):
    late = OnnxTeacher(tmp_path / "later.onnx", ["conv"], channels=[5])
    wrong = OnnxTeacher(tmp_path / "later.onnx", ["conv"], channels=[6])
    with pytest.raises(FileNotFoundError, match="no such teacher"):
        late(torch.zeros(1, 3, 8, 8))
    teacher_file().rename(tmp_path / "later.onnx")
    assert late(torch.zeros(1, 3, 8, 8))[0].shape == (1, 5, 2, 2)
    with pytest.raises(ValueError, match=r"expected \[6\] channels of outputs, got \[5\]"):
        wrong(torch.zeros(1, 3, 8, 8))


def test_the_loss_is_relative_to_each_channels_spread():
    torch.manual_seed(0)
    maps = torch.randn(4, 3, 8, 8) * torch.tensor([1e-3, 1.0, 1e3]).view(3, 1, 1) + 5
    loss = MapDistillationLoss(weight=2.0)
    assert float(loss(torch.zeros(4, 3, 8, 8), [maps])) == pytest.approx(2.0, rel=1e-2)
    spread, mean = torch.std_mean(maps, dim=(0, 2, 3), keepdim=True)
    assert float(loss((maps - mean) / spread, [maps[:, :1], maps[:, 1:]])) == pytest.approx(0, abs=1e-6)
    assert float(loss(torch.zeros(4, 3, 8, 8), [torch.ones(4, 3, 4, 4)])) == 0  # a flat map, of another size


def pose_network(codec, **parts):
    torch.manual_seed(0)
    return MODELS.build(
        {
            "type": "BottomUpEstimator",
            "backbone": {"type": "EfficientNet", "phi": -12},
            "neck": {"type": "HighResolutionNeck", "phi": -12},
            "head": {"type": "AEHead", "codec": codec},
            **parts,
        }
    )


def test_a_network_learns_its_teachers_maps(teacher_file, coco_keypoints, tmp_path):
    codec = {"type": "AssociativeEmbedding", "input_size": 64, "keypoints": coco_keypoints}
    teacher = {"type": "OnnxTeacher", "file": str(teacher_file()), "outputs": ["features"]}
    model = pose_network(codec, type="DistilledEstimator", teacher=teacher, fit_channels=8)
    plain = pose_network(codec)
    assert {n for n in model.state_dict() if not n.startswith("training_only.")} == set(plain.state_dict())
    images = model.data_preprocessor({"inputs": [torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8)] * 2})
    seen = []
    model._teacher[0], ask = (lambda pixels: seen.append(pixels) or ask(pixels)), model._teacher[0]
    model._head_losses = lambda features, samples: {"loss_heat4": features.mean() * 0}
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    totals = []
    for _ in range(30):
        losses = model.train()(images["inputs"], mode="loss")
        optimizer.zero_grad()
        losses["loss_teacher"].backward()
        optimizer.step()
        totals.append(float(losses["loss_teacher"].detach()))
    assert totals[-1] < 0.7 * totals[0]
    # The teacher sees RGB from 0 to 255, whatever the student's normalisation is.
    pixels = images["inputs"] * model.data_preprocessor.std + model.data_preprocessor.mean
    torch.testing.assert_close(seen[0], pixels)
    assert 200 < float(seen[0].max()) <= 255.01
    torch.save({"state_dict": model.state_dict()}, tmp_path / "trained.pth")
    assert not load_checkpoint(plain, tmp_path / "trained.pth")
    x = torch.randn(1, 3, 64, 64)
    assert torch.equal(plain.eval()(x).heat2, model.eval()(x).heat2)


def test_a_resumed_training_keeps_what_predicts_the_teacher(teacher_file, tmp_path, root):
    options = {
        "codec.input_size": 64, "max_iters": 2, "vis_backends": [], "default_hooks.checkpoint.interval": 1,
        "model.backbone": {"_delete_": True, "type": "EfficientNet", "phi": -12, "frozen_stages": 0},
        "model.neck.channels": (8, 8, 8, 8), "model.teacher.file": str(teacher_file("nhwc", "INT32")),
        "model.teacher.outputs": ["features"], "model.teacher.channels": [5], "val_cfg": None,
        "val_dataloader": None, "val_evaluator": None, "default_hooks.checkpoint.save_best": None,
        "train_dataloader.batch_size": 2, "train_dataloader.num_workers": 0,
        "train_dataloader.persistent_workers": False,
        "train_dataloader.dataset": {
            "_delete_": True, "type": "SyntheticPeople", "keypoints": "$keypoints", "length": 4, "image_size": 64,
            "pipeline": [
                {"type": "BottomUpAffine", "codec": "$codec"},
                {"type": "EncodeTargets", "codec": "$codec"},
                {"type": "PackPose"},
            ],
        },
    }  # fmt: skip
    config = root / "configs/ehrnet/small_coco-movenet-256.py"
    whole = build_runner(load_config(config, options), tmp_path / "whole").train()
    schedule = {**options, "max_iters": 1, "param_scheduler.1.end": 2}
    build_runner(load_config(config, schedule), tmp_path / "part").train()
    resumed = load_config(config, {**options, "resume": True})
    weights = build_runner(resumed, tmp_path / "part").train().state_dict()
    assert "training_only.fit.0.weight" in weights
    for name, value in whole.state_dict().items():
        assert torch.equal(value, weights[name]), name


def test_several_maps_have_no_fit(teacher_file, coco_keypoints):
    codec = {"type": "AssociativeEmbedding", "input_size": 64, "keypoints": coco_keypoints}
    teacher = {"type": "OnnxTeacher", "file": str(teacher_file()), "outputs": ["conv"]}
    with pytest.raises(ValueError, match="a neck with one map, got maps of"):
        pose_network(
            codec,
            type="DistilledEstimator",
            teacher=teacher,
            backbone={"type": "LitePose", "stem_channels": 16, "channels": (16, 32, 48, 80)},
            neck=None,
            head={"type": "FusionDeconvHead", "codec": codec, "channels": (16, 24, 24)},
        )
