"""Classifiers: labels, losses, mixing, distillation, and a short training by the runner."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger

from ehrpose.config import load_config
from ehrpose.data_sample import LabelDataSample
from ehrpose.engine import build_runner
from ehrpose.engine.runner import evaluate_checkpoint
from ehrpose.models import (
    ClassLoss,
    EfficientNet,
    FeatureDistillationLoss,
    ImageClassifier,
    LabelPreprocessor,
    LogitDistillationLoss,
)
from ehrpose.models.weights.checkpoint import load_pretrained
from ehrpose.registry import MODELS

TINY = {"type": "EfficientNet", "phi": -12, "drop_connect": 0.0}


def samples(labels):
    made = [LabelDataSample() for _ in labels]
    for sample, label in zip(made, labels):
        sample.gt_label = label
    return made


def test_labels_come_as_numbers_tensors_and_samples():
    model = ImageClassifier(TINY, num_classes=3).eval()
    images = torch.rand(2, 3, 32, 32)
    losses = [
        float(model(images, labels, mode="loss")["loss_class"].detach())
        for labels in ([0, 2], torch.tensor([0, 2]), samples([0, 2]), torch.eye(3)[[0, 2]])
    ]
    assert losses == pytest.approx([losses[0]] * 4)
    for nothing in (None, [LabelDataSample()] * 2):
        with pytest.raises(ValueError, match="is PackLabel in the pipeline"):
            model(images, nothing, mode="loss")


def test_predictions_go_into_the_samples():
    model = ImageClassifier(TINY, num_classes=3, flip_test=True).eval()
    images = torch.rand(2, 3, 32, 32)
    found = model(images, samples([0, 1]), mode="predict")
    assert [s.pred_label for s in found] == model(images, mode="predict").tolist()
    assert np.stack([s.pred_scores for s in found]).sum(1) == pytest.approx([1, 1])
    mirrored = model(images.flip(3), samples([0, 1]), mode="predict")
    assert mirrored[0].pred_scores == pytest.approx(found[0].pred_scores, abs=1e-6)


def test_smoothing_is_that_of_its_formula():
    logits, labels = torch.tensor([[2.0, 0.0, -1.0]]), torch.tensor([0])
    plain = ClassLoss()(logits, labels)
    smooth = ClassLoss(label_smoothing=0.3)(logits, labels)
    assert plain == pytest.approx(float(-logits.log_softmax(1)[0, 0]))
    shares = torch.tensor([[0.8, 0.1, 0.1]])
    assert smooth == pytest.approx(float(ClassLoss()(logits, shares)))
    assert ClassLoss(weight=0.5)(logits, labels) == pytest.approx(float(plain) / 2)
    with pytest.raises(ValueError, match="label_smoothing"):
        ClassLoss(label_smoothing=1.0)


def test_distillation_losses_are_zero_for_the_same_answer():
    logits, maps = torch.randn(4, 5), torch.rand(2, 6, 3, 3)
    assert float(LogitDistillationLoss(3.0)(logits, logits + 7)) == pytest.approx(0, abs=1e-5)
    assert float(LogitDistillationLoss(3.0)(logits, -logits)) > 0.1
    assert float(FeatureDistillationLoss()(maps, 2 * maps)) == pytest.approx(0, abs=1e-6)
    assert float(
        FeatureDistillationLoss()(torch.ones(1, 2, 4, 4), torch.tensor([1.0, -1]).view(1, 2, 1, 1))
    ) == (pytest.approx(2, abs=1e-6))
    with pytest.raises(ValueError, match="temperature"):
        LogitDistillationLoss(0)


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_mixed_images_have_mixed_labels(kind):
    random.seed(0)
    mixing = LabelPreprocessor(**{kind: 1.0}, num_classes=2, mean=(0, 0, 0), std=(1, 1, 1))
    images = [torch.full((3, 10, 10), value, dtype=torch.uint8) for value in (0, 100)]
    seen = []
    for _ in range(10):
        batch = mixing({"inputs": images, "data_samples": samples([0, 1])}, training=True)
        shares = batch["data_samples"]
        assert shares.sum(1).tolist() == pytest.approx([1, 1])
        # The mean of an image says how much of the second one is in it.
        assert (batch["inputs"].mean((1, 2, 3)) / 100).tolist() == pytest.approx(
            shares[:, 1].tolist(), abs=1e-5
        )
        seen.append(float(shares[0, 1]))
    assert max(seen) - min(seen) > 0.2
    tested = mixing({"inputs": images, "data_samples": samples([0, 1])})
    assert tested["inputs"][1].unique().tolist() == [100]
    assert tested["data_samples"][1].gt_label == 1


def test_mixing_needs_the_number_of_classes():
    with pytest.raises(ValueError, match="need num_classes"):
        LabelPreprocessor(mixup=0.2)
    with pytest.raises(ValueError, match="at least 0"):
        LabelPreprocessor(mixup=-1, num_classes=2)


def distilled(**parts):
    return MODELS.build(
        {"type": "DistilledClassifier", "backbone": TINY, "num_classes": 4,
         "teacher": {"backbone": {**TINY, "phi": -10}, "num_classes": 4}, **parts}
    )  # fmt: skip


def test_a_student_learns_its_teachers_answers():
    torch.manual_seed(0)
    model = distilled(
        logit_loss={"type": "LogitDistillationLoss"}, feature_loss={"type": "FeatureDistillationLoss"}
    )
    MMLogger.get_instance("student")  # that of an earlier test may have a closed file
    model.init_weights()
    images = torch.randn(8, 3, 32, 32)
    before = [p.clone() for p in model._teacher[0].parameters()]
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    totals = []
    for _ in range(12):
        losses = model.train()(images, mode="loss")
        assert set(losses) == {"loss_logits", "loss_features"}
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
        totals.append(float(sum(losses.values()).detach()))
    assert totals[-1] < 0.8 * totals[0]
    assert all(torch.equal(a, b) for a, b in zip(before, model._teacher[0].parameters()))
    assert not any("teacher" in name for name in model.state_dict())
    plain = ImageClassifier(TINY, num_classes=4)
    assert set(plain.state_dict()) == {n for n in model.state_dict() if not n.startswith("fit.")}


def test_a_teacher_sees_its_own_normalisation():
    model = distilled(
        logit_loss={"type": "LogitDistillationLoss"}, teacher_mean=[127.0] * 3, teacher_std=[128.0] * 3
    )
    pixels = torch.randint(0, 256, (1, 3, 4, 4))
    found = model._for_teacher(model.data_preprocessor({"inputs": pixels})["inputs"])
    assert torch.allclose(found, (pixels.flip(1) - 127.0) / 128.0, atol=1e-5)


def test_distillation_is_checked():
    with pytest.raises(ValueError, match="got neither"):
        distilled()
    with pytest.raises(ValueError, match="the teacher has 4 classes and the student 3"):
        distilled(num_classes=3, logit_loss={"type": "LogitDistillationLoss"})


@pytest.fixture(scope="module")
def trained(root, tmp_path_factory):
    """Config, and folder of a run of a few steps."""
    folder = tmp_path_factory.mktemp("classifier")
    options = {
        "phi": -12,
        "max_iters": 4,
        "input_size": 32,
        "train_dataloader.batch_size": 8,
        "val_dataloader.dataset.length": 40,
        "test_dataloader.dataset.length": 40,
        "vis_backends": [],
    }
    cfg = load_config(root / "configs/classification/demo_drawn-64.py", options)
    build_runner(cfg, folder).train()
    return cfg, folder


def test_training_and_testing_are_those_of_poses(trained, tmp_path):
    cfg, folder = trained
    cfg = cfg.copy()
    cfg.test_evaluator.update(
        outfile_prefix=str(tmp_path / "out"), confusion_file=str(tmp_path / "confusion.png"), per_class=True
    )
    metrics = evaluate_checkpoint(cfg, folder / "iter_4.pth", tmp_path, out=tmp_path / "out.json")
    assert 0 <= metrics["accuracy/top1"] <= metrics["accuracy/top5"] <= 1
    assert "accuracy/class_dotted star" in metrics
    assert (tmp_path / "out.json").read_text().count('"label"') == 40
    assert (tmp_path / "confusion.png").stat().st_size > 1000
    assert list(folder.glob("best_accuracy_top1_iter_4.pth"))


def test_a_backbone_starts_from_a_classifiers_checkpoint(trained):
    """The weights of a pose network's backbone are those of the classifier, in ``init_cfg``'s own way."""
    _, folder = trained
    stored = torch.load(folder / "iter_4.pth", weights_only=False)["state_dict"]
    init = {"type": "Pretrained", "checkpoint": str(folder / "iter_4.pth"), "prefix": "backbone."}
    backbone = EfficientNet(phi=-12, init_cfg=init)
    backbone.init_weights()
    own = backbone.state_dict()
    assert len(own) > 100
    assert all(torch.equal(value, stored[f"backbone.{name}"]) for name, value in own.items())
    with pytest.raises(ValueError, match="match, expected 90%"):
        load_pretrained(EfficientNet(phi=-10), folder / "iter_4.pth", "backbone.")
