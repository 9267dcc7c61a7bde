"""The network built from configs: counts, gradients, freezing, checkpointing, taps."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch

from ehrpose.models import EfficientNet, EfficientNetLite, HighResolutionNeck, ImageClassifier
from ehrpose.models.layers import MBConv, SplitPadConv2d
from ehrpose.registry import MODELS

# phi, parameters of the whole network and of the backbone.
COUNTS = [
    (0, 19_725_359, 3_595_388),
    (-1, 13_004_446, 3_050_752),
    (-2, 8_263_495, 2_125_854),
    (-3, 5_360_390, 1_602_678),
    (-4, 2_764_706, 993_186),
]
# phi, ImageNet parameters in millions, CIFAR-100 parameters in millions.
CLASSIFIERS = [
    (0, 5.289, 4.136),
    (-1, 4.548, 3.503),
    (-2, 3.464, 2.512),
    (-3, 2.796, 1.931),
    (-4, 2.056, 1.271),
]


def estimator_cfg(keypoints, phi=-7, **parts):
    cfg = {
        "type": "BottomUpEstimator",
        "backbone": {"type": "EfficientNet", "phi": phi},
        "neck": {"type": "HighResolutionNeck", "phi": phi},
        "head": {
            "type": "AEHead",
            "codec": {"type": "AssociativeEmbedding", "input_size": 64, "keypoints": keypoints},
        },
    }
    return {**cfg, **parts}


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("phi", "whole", "backbone"), COUNTS)
def test_parameter_counts(coco_keypoints, phi, whole, backbone):
    model = MODELS.build(estimator_cfg(coco_keypoints, phi))
    assert count(model) == whole
    assert count(model.backbone) == backbone


@pytest.mark.parametrize(
    ("divisor", "widths"), [(1, (14, 27, 54, 107)), (8, (16, 32, 56, 112)), (16, (16, 32, 64, 112))]
)
def test_neck_widths_are_rounded_up_to_the_divisor(divisor, widths):
    neck = HighResolutionNeck((16, 24, 80, 216), phi=-4, width_divisor=divisor)
    assert tuple(branch[0].conv1.out_channels for branch in neck.stages[-1][0].branches) == widths
    assert neck.out_channels == widths[0]


@pytest.mark.parametrize(("phi", "imagenet", "cifar"), CLASSIFIERS)
def test_classifier_counts(phi, imagenet, cifar):
    backbone = {"type": "EfficientNet", "phi": phi}
    assert count(ImageClassifier(backbone)) / 1e6 == pytest.approx(imagenet, abs=6e-4)
    assert count(ImageClassifier(backbone, num_classes=100)) / 1e6 == pytest.approx(cifar, abs=6e-4)


def test_lite_form_keeps_its_ends():
    lite = EfficientNetLite(width=1.1, depth=1.2)
    assert lite.stem.conv.out_channels == 32
    assert lite.head_channels == 1280
    assert [len(stage) for stage in lite.stages] == [1, 3, 3, 4, 4, 5, 1]
    assert not any(".se." in name for name, _ in lite.named_parameters())
    assert EfficientNetLite(phi=0).out_channels == (24, 40, 112, 320)


@pytest.mark.parametrize("cls", [EfficientNet, EfficientNetLite])
def test_taps_have_the_channels_and_strides_that_are_stated(cls):
    model = cls(phi=-4).eval()
    for channels, stride, tap in zip(model.out_channels, model.out_strides, model(torch.rand(1, 3, 64, 96))):
        assert tap.shape == (1, channels, 64 // stride, 96 // stride)
    assert model.out_strides == (4, 8, 16, 32)
    assert [t.shape[1] for t in cls(phi=-4, out_indices=(0, 3))(torch.rand(1, 3, 32, 32))] == [16, 56]


def test_every_parameter_gets_a_gradient(coco_keypoints):
    model = MODELS.build(estimator_cfg(coco_keypoints, -6)).train()
    maps = model(torch.rand(2, 3, 64, 64))
    sum((field**2).sum() for field in maps if field is not None).backward()
    without = [
        name for name, p in model.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()
    ]
    assert without == []
    assert sum(float(p.grad.abs().sum()) > 0 for p in model.parameters()) > 0.95 * len(
        list(model.parameters())
    )


@pytest.mark.parametrize("frozen", [-1, 0, 3, 7])
def test_frozen_stages_neither_learn_nor_move_their_norms(frozen):
    model = EfficientNet(phi=-6, frozen_stages=frozen).train()
    parts = [model.stem, *model.stages]
    for i, part in enumerate(parts):
        is_frozen = i <= frozen
        assert all(p.requires_grad != is_frozen for p in part.parameters())
        norms = [m for m in part.modules() if isinstance(m, torch.nn.BatchNorm2d)]
        assert all(norm.training != is_frozen for norm in norms)


def test_norm_eval_keeps_statistics_and_lets_weights_learn():
    model = EfficientNet(phi=-6, norm_eval=True).train()
    before = model.stem.bn.running_mean.clone()
    model(torch.rand(2, 3, 64, 64))[-1].sum().backward()
    assert torch.equal(before, model.stem.bn.running_mean)
    assert model.stem.bn.weight.grad is not None


def test_gradient_checkpointing_changes_neither_maps_nor_gradients(coco_keypoints):
    results = []
    for with_cp in (False, True):
        torch.manual_seed(0)
        cfg = estimator_cfg(coco_keypoints, -6)
        cfg["backbone"].update(with_cp=with_cp, drop_connect=0.0)
        cfg["neck"]["with_cp"] = with_cp
        model = MODELS.build(cfg).train()
        torch.manual_seed(1)
        maps = model(torch.rand(2, 3, 64, 64))
        (maps.heat2.sum() + maps.tag4.sum()).backward()
        results.append((maps.heat2.detach(), model.backbone.stem.conv.weight.grad))
    torch.testing.assert_close(results[0][0], results[1][0])
    torch.testing.assert_close(results[0][1], results[1][1])


def test_drop_connect_skips_whole_samples_in_training_only():
    block = MBConv(8, 8, 2, 3, 1, drop_connect=0.5).train()
    x = torch.rand(64, 8, 4, 4)
    skipped = (block(x) == x).flatten(1).all(dim=1)
    assert 10 < int(skipped.sum()) < 54
    assert not (block.eval()(x) == x).flatten(1).all(dim=1).any()


@pytest.mark.parametrize(("tag_strides", "tag_dim"), [((4,), 1), ((4, 2), 1), ((4, 2), 3)])
def test_tags_at_one_or_both_levels_of_any_length(five_keypoints, tag_strides, tag_dim):
    codec = {"type": "AssociativeEmbedding", "input_size": 64, "keypoints": five_keypoints,
             "tag_strides": tag_strides, "tag_dim": tag_dim}  # fmt: skip
    model = MODELS.build(estimator_cfg(five_keypoints, head={"type": "AEHead", "codec": codec})).eval()
    maps = model(torch.rand(2, 3, 64, 96))
    assert maps.heat4.shape == (2, 5, 16, 24)
    assert maps.tag4.shape == (2, 5 * tag_dim, 16, 24)
    assert maps.heat2.shape == (2, 5, 32, 48)
    assert (maps.tag2 is None) == (2 not in tag_strides)
    if maps.tag2 is not None:
        assert maps.tag2.shape == (2, 5 * tag_dim, 32, 48)


def test_tag_rows_start_where_asked(coco_keypoints):
    cfg = estimator_cfg(coco_keypoints, -4)
    cfg["head"]["tag_init_std"] = 0.05
    weight = MODELS.build(cfg).head.output4.weight
    assert float(weight[17:].detach().std()) == pytest.approx(0.05, rel=0.2)
    assert float(weight[:17].detach().std()) == pytest.approx(0.001, rel=0.2)


@pytest.mark.parametrize(
    ("head", "strides", "sigmas"),
    [("AEHead", (4, 2), (1.0, 1.5)), ("SingleLevelAEHead", (4,), (2,)), ("SingleLevelAEHead", (2,), (2,))],
)
def test_heatmaps_are_smoothed_in_test_only(five_keypoints, head, strides, sigmas):
    codec = {
        "type": "AssociativeEmbedding",
        "input_size": 64,
        "keypoints": five_keypoints,
        "strides": strides,
        "tag_strides": strides[:1],
    }
    config = {"type": head, "in_channels": 6, "codec": codec, "init_std": None}
    torch.manual_seed(0)
    plain = MODELS.build(config)
    smooth = MODELS.build({**config, "smooth_sigmas": sigmas})
    assert smooth.state_dict().keys() == plain.state_dict().keys()
    smooth.load_state_dict(plain.state_dict())
    features = torch.randn(2, 6, 16, 24)
    for found, wanted in zip(smooth.train()(features), plain.train()(features)):
        assert found is wanted is None or torch.equal(found, wanted)
    smooth.load_state_dict(plain.state_dict())
    found, wanted = smooth.eval()(features), plain.eval()(features)
    assert torch.equal(*(getattr(maps, f"tag{strides[0]}") for maps in (found, wanted)))
    for stride, sigma in zip(strides, sigmas):
        radius = math.ceil(3 * sigma)
        for image, maps in zip(
            *(getattr(maps, f"heat{stride}").detach().numpy() for maps in (found, wanted))
        ):
            for smoothed, heat in zip(image, maps):
                size = (2 * radius + 1,) * 2
                expected = cv2.GaussianBlur(heat.astype(float), size, sigma, borderType=cv2.BORDER_CONSTANT)
                np.testing.assert_allclose(smoothed, expected, atol=1e-6)


@pytest.mark.parametrize("sigmas", [(1.0,), (1.0, 0), (1.0, -2), "ab", 1.0, (1.0, "a")])
def test_bad_smoothing_is_refused(five_keypoints, sigmas):
    codec = {"type": "AssociativeEmbedding", "input_size": 64, "keypoints": five_keypoints}
    with pytest.raises(ValueError, match="smooth_sigmas must be"):
        MODELS.build({"type": "AEHead", "in_channels": 6, "codec": codec, "smooth_sigmas": sigmas})


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: EfficientNet(), "expected phi, or positive"),
        (lambda: EfficientNet(phi=0, width=1.0), "not both"),
        (lambda: EfficientNet(phi=0, out_indices=(9,)), "out_indices"),
        (lambda: EfficientNet(phi=0, frozen_stages=8), "frozen_stages"),
        (lambda: EfficientNet(phi=0, drop_connect=1.0), "drop_connect"),
        (lambda: HighResolutionNeck([8] * 3, phi=0), "four maps"),
        (lambda: HighResolutionNeck([8] * 4, phi=0, in_strides=(2, 4, 8, 16)), "out_indices"),
        (lambda: HighResolutionNeck([8] * 4, phi=0, width_divisor=0), "width_divisor"),
        (lambda: HighResolutionNeck([8] * 4, channels=[8] * 3, num_modules=[1] * 3), "4 channels"),
    ],
)
def test_bad_sizes_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_head_and_codec_must_agree(five_keypoints):
    codec = {"type": "AssociativeEmbedding", "input_size": 64, "keypoints": five_keypoints, "strides": (4,)}
    with pytest.raises(ValueError, match=r"codec\.strides"):
        MODELS.build({"type": "AEHead", "in_channels": 8, "codec": codec})
    with pytest.raises(ValueError, match="multiples of 32"):
        MODELS.build(estimator_cfg(five_keypoints)).eval()(torch.rand(1, 3, 60, 64))


def test_classifier_modes():
    model = ImageClassifier({"type": "EfficientNet", "phi": -6}, num_classes=4)
    image = torch.rand(2, 3, 64, 64)
    assert model(image).shape == (2, 4)
    assert model(image, torch.tensor([0, 3]), mode="loss")["loss_class"].requires_grad
    assert model.eval()(image, mode="predict").shape == (2,)
    with pytest.raises(ValueError, match="mode"):
        model(image, mode="other")


@pytest.mark.parametrize("kernel", [3, 5])
def test_depthwise_convolutions_train_in_float32_under_autocast_on_the_cpu(kernel):
    """Their backward pass in bfloat16 takes several times as long there; what follows is bfloat16 as ever."""
    conv = SplitPadConv2d(8, 8, kernel, groups=8)
    x = torch.randn(2, 8, 9, 9)
    with torch.autocast("cpu", torch.bfloat16):
        found = conv(x.bfloat16())
        with torch.no_grad():
            tested = conv(x.bfloat16())
    assert found.dtype == tested.dtype == torch.bfloat16
    assert torch.equal(found, conv(x.bfloat16().float()).bfloat16())
    found.float().sum().backward()
    assert conv.weight.grad.dtype == torch.float32


def test_a_block_that_is_skipped_by_some_samples_keeps_its_mean():
    torch.manual_seed(0)
    block = MBConv(8, 8, 1, 3, 1, squeeze_excite=False, drop_connect=0.5).train()
    x = torch.randn(1, 8, 5, 5).expand(400, 8, 5, 5)
    with torch.no_grad():
        out = block(x) - x
    kept = out.flatten(1).abs().sum(1) > 0
    assert 0.4 < kept.float().mean() < 0.6
    assert torch.allclose(out[kept], 2 * block.project(block.depthwise(x))[kept], atol=1e-4)
