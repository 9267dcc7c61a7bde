"""Converted weights compute the same as the network they come from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from reference_lite import LITE0, LITE1, LITE2, ReferenceLite
from reference_network import ReferenceNetwork, conv_bn_swish, randomize
from torch import nn

from ehrpose.models import EfficientNet, ImageClassifier, compound_scaling
from ehrpose.models.weights.conversion import convert
from ehrpose.models.weights.fitting_config import fitting_config
from ehrpose.registry import MODELS

ROOT = Path(__file__).parents[3]
PHIS = (0, -1, -2, -3, -4)


def reference(phi, **kwargs):
    sizes = compound_scaling(phi)
    network = ReferenceNetwork(
        sizes.stage_channels, sizes.stage_repeats, sizes.branch_channels, sizes.num_modules, **kwargs
    )
    return randomize(network)


def estimator(keypoints, converted):
    """Build the model with the conversion's sizes."""
    phi, tag_strides = converted.sizes["phi"], converted.sizes["tag_strides"]
    codec = {
        "type": "AssociativeEmbedding",
        "input_size": 64,
        "keypoints": keypoints,
        "tag_strides": tag_strides,
    }
    model = MODELS.build(
        {
            "type": "BottomUpEstimator",
            "backbone": {"type": "EfficientNet", "phi": phi},
            "neck": {"type": "HighResolutionNeck", "phi": phi},
            "head": {"type": "AEHead", "codec": codec},
        }
    )
    model.load_state_dict(converted.state_dict)
    return model.eval()


def same_maps(network, model):
    images = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        low, high = network(images)
        maps = model(images)
    assert low.std() > 0.1  # otherwise the comparison says nothing
    assert high.std() > 0.1
    torch.testing.assert_close(torch.cat([maps.heat4, maps.tag4], 1), low, rtol=0, atol=1e-5)
    second = maps.heat2 if maps.tag2 is None else torch.cat([maps.heat2, maps.tag2], 1)
    torch.testing.assert_close(second, high, rtol=0, atol=1e-5)


def read_keys(path):
    lines = [
        line.split() for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")
    ]
    return {name: shape for name, shape in lines}


def test_reference_has_the_public_layout():
    keys = {n: "x".join(map(str, t.shape)) or "scalar" for n, t in reference(-4).state_dict().items()}
    assert keys == read_keys(ROOT / "tests/data/reference_keys_h-4.txt")


@pytest.mark.parametrize("phi", PHIS)
def test_same_maps(phi, coco_keypoints):
    network = reference(phi)
    converted = convert(network.state_dict())
    assert converted.sizes == {"phi": phi, "num_keypoints": 17, "tag_strides": (4,)}
    same_maps(network, estimator(coco_keypoints, converted))


@pytest.mark.parametrize("phi", PHIS)
def test_same_maps_with_tags_at_both_levels(phi, coco_keypoints):
    network = reference(phi, tags_at_both=True)
    converted = convert(network.state_dict())
    assert converted.sizes["tag_strides"] == (4, 2)
    same_maps(network, estimator(coco_keypoints, converted))


@pytest.mark.parametrize("phi", [-5.5, -7])
def test_any_phi_and_number_of_keypoints(phi, five_keypoints):
    network = reference(phi, num_keypoints=5)
    converted = convert(network.state_dict(), phi=phi)
    assert converted.sizes["num_keypoints"] == 5
    same_maps(network, estimator(five_keypoints, converted))


def test_counters_and_prefixes():
    tensors = reference(-4).state_dict()
    plain = convert(tensors).state_dict
    assert len(plain) == len(tensors)
    counter = "backbone.stem.bn.num_batches_tracked"
    assert plain[counter] == tensors["features.0.2.num_batches_tracked"] > 0
    for prefix in ("module.", "1.", "module.1."):
        prefixed = convert({prefix + name: value for name, value in tensors.items()}).state_dict
        assert prefixed.keys() == plain.keys()


def test_what_does_not_fit_is_listed():
    tensors = reference(-4).state_dict()
    tensors["deconv_layers.0.0.1.bias"] = torch.zeros(15)
    del tensors["trans2_branch3.0.weight"]
    tensors["stage4.7.fuse_layers.0.1.0.weight"] = torch.zeros(1)
    with pytest.raises(ValueError, match="H-4") as error:
        convert(tensors)
    message = str(error.value)
    assert "deconv_layers.0.0.1.bias has shape (15,), expected (14,)" in message
    assert "1 missing: trans2_branch3.0.weight" in message
    assert "1 unexpected: stage4.7.fuse_layers.0.1.0.weight" in message


def test_missing_statistic_is_not_passed_over():
    tensors = reference(-4).state_dict()
    del tensors["stage2.0.branches.1.0.bn1.running_var"]
    with pytest.raises(ValueError, match=r"1 missing: stage2\.0\.branches\.1\.0\.bn1\.running_var"):
        convert(tensors)


def test_wrong_phi_names_the_first_tensor():
    with pytest.raises(ValueError, match=r"do not match H-5 .* features\.\d+\.conv.* has shape"):
        convert(reference(-4).state_dict(), phi=-5)
    with pytest.raises(ValueError, match=r"H-4 \(phi -4\): [1-9].*pass phi"):
        convert(reference(-7).state_dict())


def swapped(tensors, changes):
    return {changes.get(name, name): value for name, value in tensors.items()}


BAD = {
    "unknown names": (lambda t: {"conv1.weight": torch.zeros(1)}, {}, r"unknown layout.*conv1\.weight"),
    "no output": (
        lambda t: swapped(t, {"final_layers.1.weight": "x"}),
        {},
        r"final_layers\.1\.weight is missing",
    ),
    "odd outputs": (
        lambda t: {**t, "final_layers.1.weight": torch.zeros(16, 14, 1, 1)},
        {},
        "34 and 16 channels",
    ),
    "scalar output": (lambda t: {**t, "final_layers.1.weight": torch.zeros(())}, {}, "1x1 convolution"),
    "unknown kind": (lambda t: t, {"kind": "yolo"}, "kind must be .* got 'yolo'"),
    "pose has no classifier": (lambda t: t, {"keep_classifier": True}, "no classifier"),
    "lite has no phi": (lambda t: t, {"kind": "lite", "phi": -1}, "has no phi"),
}


@pytest.mark.parametrize(("change", "kwargs", "message"), BAD.values(), ids=BAD)
def test_user_errors(change, kwargs, message):
    with pytest.raises(ValueError, match=message):
        convert(change(reference(-4).state_dict()), **kwargs)


class ReferenceClassifier(nn.Module):
    """Classifier of B-4 in the public layout; ``padded``: the last convolution has a padding layer before it."""

    def __init__(self, padded=True, dropout=True):
        super().__init__()
        sizes = compound_scaling(-4)
        last = sizes.stage_channels[-1]
        hidden = EfficientNet(phi=-4).head_channels
        trunk = ReferenceNetwork(
            sizes.stage_channels, sizes.stage_repeats, sizes.branch_channels, sizes.num_modules
        )
        head = conv_bn_swish(last, hidden, 1)
        self.features = nn.Sequential(*trunk.features, head if padded else nn.Sequential(*head[1:]))
        linear = nn.Linear(hidden, 10)
        self.classifier = nn.Sequential(nn.Dropout(), linear) if dropout else linear

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


@pytest.mark.parametrize(("padded", "dropout"), [(True, True), (False, False)])
def test_same_classes(padded, dropout):
    network = randomize(ReferenceClassifier(padded, dropout))
    converted = convert(network.state_dict(), keep_classifier=True)
    assert converted.kind == "classification"
    assert converted.sizes == {"phi": -4, "num_classes": 10}
    model = ImageClassifier({"type": "EfficientNet", "phi": -4}, num_classes=10).eval()
    model.load_state_dict(converted.state_dict)
    same_logits(network, model)
    converted.sizes["num_classes"] = 100
    assert fitting_config(converted, "") == ("configs/classification/b-4_cifar100.py", "")
    backbone = convert(network.state_dict())
    assert backbone.state_dict.keys() == model.backbone.state_dict().keys()
    assert len(backbone.dropped) == 8


def same_logits(network, model):
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = network(images)
        assert expected.std() > 0.01
        torch.testing.assert_close(model(images), expected, rtol=1e-5, atol=1e-5)


def test_weights_without_a_classifier():
    tensors = {k: v for k, v in reference(-4).state_dict().items() if k.startswith("features.")}
    converted = convert(tensors)
    assert converted.sizes == {"phi": -4}
    assert converted.state_dict.keys() == EfficientNet(phi=-4).state_dict().keys()
    with pytest.raises(ValueError, match="no classifier"):
        convert(tensors, keep_classifier=True)


@pytest.mark.parametrize(
    ("stages", "width", "depth"),
    [(LITE0, 1.0, 1.0), (LITE1, 1.0, 1.1), (LITE2, 1.1, 1.2)],
    ids=["0", "1", "2"],
)
def test_same_classes_of_lite(stages, width, depth):
    network = randomize(ReferenceLite(stages))
    converted = convert(network.state_dict(), keep_classifier=True)
    assert converted.sizes == {"width": width, "depth": depth, "num_classes": 11}
    backbone = {"type": "EfficientNetLite", "width": width, "depth": depth}
    model = ImageClassifier(backbone, num_classes=11, lite=True).eval()
    model.load_state_dict(converted.state_dict)
    same_logits(network, model)
    assert fitting_config(converted, "")[0] is None, "no config has 11 classes"
    converted.sizes["num_classes"] = 1000
    number = {(1.0, 1.0): 0, (1.0, 1.1): 1, (1.1, 1.2): 2}[width, depth]
    assert fitting_config(converted, "") == (f"configs/classification/lite{number}_imagenet.py", "")
    assert convert(network.state_dict()).state_dict.keys() == model.backbone.state_dict().keys()
