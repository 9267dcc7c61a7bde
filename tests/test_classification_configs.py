"""The configs of the compact EfficientNets: the paper's recipe, a present-day one, and Table 2's sizes."""

from __future__ import annotations

import pytest

from ehrpose.config import load_config, resolve
from ehrpose.config_names import find_config
from ehrpose.registry import TRANSFORMS

SIZES = {0: 224, -1: 195, -2: 170, -3: 145, -4: 128}
CLASSES = {"imagenet": 1000, "cifar100": 100}
NAMES = [
    f"b{phi}_{data}{recipe}" for phi in SIZES for data in CLASSES for recipe in ("", "_modern")
]  # fmt: skip


@pytest.fixture(scope="module")
def configs():
    return {name: resolve(load_config(find_config(name))) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_says_what_its_config_is(configs, name):
    cfg = configs[name]
    phi, data = int(name[1:].split("_")[0]), name.split("_")[1]
    assert (cfg.model.backbone.phi, cfg.phi, cfg.input_size) == (phi, phi, SIZES[phi])
    assert cfg.model.num_classes == cfg.model.data_preprocessor.num_classes == CLASSES[data]
    crops = [cfg[f"{part}_dataloader"].dataset.pipeline[1] for part in ("train", "val", "test")]
    assert [crop.type for crop in crops] == ["RandomResizedCrop", "CenterSquare", "CenterSquare"]
    assert {crop.size for crop in crops} == {SIZES[phi]}
    kind = {"imagenet": "ImageNet", "cifar100": "Cifar100"}[data]
    splits = [(cfg[f"{part}_dataloader"].dataset.type, cfg[f"{part}_dataloader"].dataset.split)
              for part in ("train", "test")]  # fmt: skip
    assert splits == [(kind, "train"), (kind, "val" if data == "imagenet" else "test")]
    for step in cfg.train_dataloader.dataset.pipeline:
        TRANSFORMS.build(step)


def test_the_papers_recipe(configs):
    for name in NAMES:
        if name.endswith("_modern"):
            continue
        cfg = configs[name]
        assert cfg.optim_wrapper.optimizer == {
            "type": "SGD",
            "lr": 0.05,
            "momentum": 0.9,
            "weight_decay": 1e-4,
        }
        assert cfg.train_cfg.max_epochs == 200
        warm_up, steps = cfg.param_scheduler
        assert 0.05 * warm_up.start_factor == pytest.approx(1e-4)
        assert (warm_up.begin, warm_up.end) == (0, 5)
        assert (steps.begin, steps.end, steps.step_size, steps.gamma) == (5, 200, 30, 0.1)
        assert cfg.model.init_cfg.type == "Xavier"
        kinds = [step.type for step in cfg.train_dataloader.dataset.pipeline]
        assert kinds[1:-1] == ["RandomResizedCrop", "PhotometricDistortion", "PcaLighting"]
        assert cfg.train_dataloader.dataset.pipeline[1].rotate > 0
        assert cfg.model.head.loss.label_smoothing == cfg.model.data_preprocessor.mixup == 0
        assert cfg.test_dataloader.batch_size == 1


def test_the_learning_rate_falls_as_the_paper_says(configs):
    """Counted with the schedulers themselves: a tenth at epochs 35, 65, ... 185."""
    import torch
    from mmengine.optim.scheduler import LinearLR, StepLR

    warm_up, steps = (dict(part) for part in configs["b0_imagenet"].param_scheduler)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.05)
    made = []
    for kind, part in ((LinearLR, warm_up), (StepLR, steps)):
        part.pop("type")
        if part.pop("convert_to_iter_based", False):
            made.append(kind.build_iter_from_epoch(optimizer, epoch_length=10, **part))
        else:
            made.append(kind(optimizer, **part))
    rates = []
    for _ in range(200):
        rates.append(optimizer.param_groups[0]["lr"])
        for _ in range(10):
            optimizer.step()
            made[0].step()
        made[1].step()
    assert rates[0] == pytest.approx(1e-4)
    assert rates[5] == rates[34] == pytest.approx(0.05)
    assert rates[35] == pytest.approx(0.005)
    assert [rates[epoch] / rates[epoch - 1] for epoch in range(35, 200, 30)] == pytest.approx([0.1] * 6)
    assert rates[-1] == pytest.approx(0.05e-6)


def test_the_present_day_recipe(configs):
    for name in NAMES:
        if name.endswith("_modern"):
            cfg = configs[name]
            assert (cfg.model.head.loss.label_smoothing, cfg.model.data_preprocessor.mixup) == (0.1, 0.1)
            assert cfg.param_scheduler[1].type == "CosineAnnealingLR"
            assert cfg.custom_hooks[0].type == "EMAHook"
            assert "RandAugment" in [step.type for step in cfg.train_dataloader.dataset.pipeline]


def test_any_phi_is_a_config():
    cfg = resolve(load_config(find_config("b-4_imagenet"), {"phi": -4.5, "input_size": 112}))
    assert (cfg.model.backbone.phi, cfg.test_dataloader.dataset.pipeline[1].size) == (-4.5, 112)


def test_a_misspelt_key_is_named():
    with pytest.raises(ValueError, match="did you mean 'label_smoothing'"):
        load_config(find_config("b0_imagenet"), {"model.head.loss.label_smothing": 0.1})
