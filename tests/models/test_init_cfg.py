"""init_cfg of type Pretrained: it loads, reports mismatches and runs no code."""

from __future__ import annotations

import builtins

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import WEIGHT_INITIALIZERS
from torch.utils.data import Dataset

import ehrpose.models
from ehrpose.config import load_config, resolve
from ehrpose.engine import build_runner
from ehrpose.model_zoo import find_model
from ehrpose.models import EfficientNet
from ehrpose.models.loading import init_model
from ehrpose.models.weights import checkpoint
from ehrpose.registry import DATASETS, MODELS


@DATASETS.register_module()
class Nothing(Dataset):
    """One item that is never used."""

    def __len__(self):
        return 1

    def __getitem__(self, index):
        raise AssertionError


class Harmful:
    """Pickles as a call that would create a file."""

    def __reduce__(self):
        return builtins.open, ("made", "w")


def save(path, content):
    torch.save(content, path)
    return path


def assert_same(a, b):
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


def backbone_cfg(path, **init_cfg):
    return {
        "type": "EfficientNet",
        "phi": -7,
        "init_cfg": {"type": "Pretrained", "checkpoint": str(path), **init_cfg},
    }


def runner_config(work_dir, keypoints, backbone):
    """Return the config of a training with no epochs: it ends once the weights are initialised."""
    codec = {"type": "AssociativeEmbedding", "input_size": 64, "keypoints": keypoints}
    return Config(
        {
            "default_scope": "ehrpose",
            "work_dir": str(work_dir),
            "model": {
                "type": "BottomUpEstimator",
                "backbone": backbone,
                "neck": {"type": "HighResolutionNeck", "phi": -7},
                "head": {"type": "AEHead", "codec": codec},
            },
            "train_dataloader": {
                "batch_size": 1,
                "dataset": {"type": "Nothing"},
                "sampler": {"type": "DefaultSampler"},
            },
            "train_cfg": {"by_epoch": True, "max_epochs": 0},
            "optim_wrapper": {"optimizer": {"type": "SGD", "lr": 0.1}},
            "log_level": "WARNING",
        }
    )


def pretrained_file(folder):
    torch.manual_seed(5)
    weights = EfficientNet(phi=-7).state_dict()
    return save(folder / "backbone.pth", weights), weights


def test_runner_starts_from_pretrained_weights(tmp_path, five_keypoints):
    path, weights = pretrained_file(tmp_path)
    runner = build_runner(runner_config(tmp_path / "work", five_keypoints, backbone_cfg(path)))
    assert not torch.equal(runner.model.backbone.stem.conv.weight, weights["stem.conv.weight"])
    runner.train()
    assert_same(runner.model.backbone.state_dict(), weights)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda t: None, FileNotFoundError, "checkpoint not found"),
        (lambda t: EfficientNet(phi=-4).state_dict(), ValueError, r"only \d+ of \d+ tensors of EfficientNet"),
        (lambda t: {**t, "x": Harmful()}, ValueError, "refused"),
    ],
    ids=["missing", "another size", "harmful"],
)
def test_runner_stops_at_a_bad_file(change, error, message, tmp_path, five_keypoints, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path, weights = pretrained_file(tmp_path)
    path.unlink()
    content = change(weights)
    if content is not None:
        save(path, content)
    runner = build_runner(runner_config(tmp_path / "work", five_keypoints, backbone_cfg(path)))
    with pytest.raises(error, match=message):
        runner.train()
    assert not (tmp_path / "made").exists()


def test_importing_the_models_replaces_pretrained():
    assert WEIGHT_INITIALIZERS.get("Pretrained") is checkpoint.PretrainedWeights
    assert ehrpose.models.load_checkpoint is checkpoint.load_checkpoint


def test_models_without_a_runner_are_safe_too(tmp_path):
    path, weights = pretrained_file(tmp_path)
    save(path, {f"backbone.{name}": value for name, value in weights.items()})
    model = MODELS.build(backbone_cfg(path, prefix="backbone."))
    model.init_weights()
    assert_same(model.state_dict(), weights)
    with pytest.raises(ValueError, match="set prefix"):
        MODELS.build(backbone_cfg(path)).init_weights()
    strict = backbone_cfg(path, prefix="backbone.", min_match=1.0)
    save(path, {f"backbone.{name}": value for name, value in weights.items() if name != "stem.bn.bias"})
    with pytest.raises(ValueError, match=r"expected 100%: 1 missing: stem\.bn\.bias"):
        MODELS.build(strict).init_weights()


def test_the_checkpoint_may_be_a_zoo_model():
    shipped = checkpoint.read_state_dict(find_model("ehrnet-small").checkpoint)
    init = {"type": "Pretrained", "checkpoint": "ehrnet-small", "prefix": "backbone.", "min_match": 1.0}
    backbone = MODELS.build({"type": "EfficientNetLite", "phi": 0, "init_cfg": init})
    backbone.init_weights()
    expected = {
        n.removeprefix("backbone."): v.float() for n, v in shipped.items() if n.startswith("backbone.")
    }
    assert_same({n: v.float() for n, v in backbone.state_dict().items()}, expected)
    with pytest.raises(ValueError, match="no config file or zoo model named 'ehrnet-smal'"):
        MODELS.build(backbone_cfg("ehrnet-smal")).init_weights()


NECK = {
    "type": "HighResolutionNeck",
    "in_channels": (8, 12, 16, 20),
    "channels": (6, 8, 10, 12),
    "init_std": None,
}
SMALL_NECK = {**NECK, "num_modules": (1, 1, 2), "num_blocks": 1}
LARGE_NECK = {**NECK, "num_modules": (2, 2, 4), "num_blocks": 2}


def randomise_norms(module):
    """Give batch norms random scales, shifts and statistics, as after training."""
    for layer in module.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.weight.data.uniform_(0.5, 1.5)
            layer.bias.data.normal_()
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2)


def grown(small, large_config, path, **options):
    """Return a larger module initialised with the weights of a smaller one."""
    randomise_norms(small)
    init_cfg = {"type": "Pretrained", "checkpoint": str(save(path, small.state_dict())), "min_match": 0.1}
    large = MODELS.build({**large_config, "init_cfg": init_cfg, **options})
    large.init_weights()
    assert len(large.state_dict()) > len(small.state_dict())
    return large


@pytest.mark.parametrize("zero_init_residual", [True, False])
def test_a_larger_neck_starts_as_the_smaller_one(tmp_path, zero_init_residual):
    torch.manual_seed(0)
    small = MODELS.build(SMALL_NECK).eval()
    large = grown(small, LARGE_NECK, tmp_path / "small.pth", zero_init_residual=zero_init_residual).eval()
    taps = [torch.randn(2, c, 32 // 2**i, 32 // 2**i) for i, c in enumerate(NECK["in_channels"])]
    with torch.no_grad():
        same = torch.equal(small(taps), large(taps))
    assert same == zero_init_residual
    large.train()(taps).sum().backward()
    new = large.stages[1][1].fuse[0][1][1].weight  # a batch norm that starts at 0 still learns
    assert new.grad.abs().max() > 0


@pytest.mark.parametrize("zero_init_residual", [True, False])
def test_a_larger_head_starts_as_the_smaller_one(tmp_path, five_keypoints, zero_init_residual):
    torch.manual_seed(0)
    codec = {"type": "AssociativeEmbedding", "input_size": 64, "keypoints": five_keypoints}
    config = {"type": "AEHead", "in_channels": 6, "codec": codec, "init_std": None, "tag_init_std": 0.1}
    small = MODELS.build({**config, "num_blocks": 1}).eval()
    options = {"num_blocks": 3, "zero_init_residual": zero_init_residual}
    large = grown(small, config, tmp_path / "small.pth", **options).eval()
    features = torch.randn(2, 6, 16, 16)
    with torch.no_grad():
        assert torch.equal(small(features).tag4, large(features).tag4)
        assert torch.equal(small(features).heat2, large(features).heat2) == zero_init_residual


def test_the_medium_model_starts_as_the_small_one(root):
    """As in its config: the shipped weights in a deeper network."""
    small = init_model("ehrnet-small")
    config = resolve(load_config(root / "configs/ehrnet/medium_coco-320.py"))
    medium = MODELS.build(config.model)
    medium.init_weights()
    medium.eval()
    assert sum(p.numel() for p in medium.parameters()) > 1.4 * sum(p.numel() for p in small.parameters())
    image = torch.rand(1, 3, 96, 128, generator=torch.Generator().manual_seed(0)) - 0.5
    with torch.no_grad():
        expected, got = (model.head(model.neck(model.backbone(image))) for model in (small, medium))
    for name in ("heat4", "tag4", "heat2"):
        torch.testing.assert_close(getattr(got, name), getattr(expected, name), rtol=1e-4, atol=1e-5)
