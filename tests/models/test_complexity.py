from __future__ import annotations

import pytest
import torch
from torch import nn

from ehrpose.config import load_config, resolve
from ehrpose.models.complexity import count_complexity, format_complexity
from ehrpose.models.layers import MBConv
from ehrpose.registry import MODELS

# name, true params, true GMACs, backbone params, backbone GMACs, the paper's params and G
PAPER_MODELS = [
    ("h0_coco-512", 19_725_359, 23.958, 3_595_388, 1.901, 23_319_819, 25.619),
    ("h-1_coco-480", 13_004_446, 13.130, 3_050_752, 1.501, 16_054_270, 14.208),
    ("h-2_coco-448", 8_263_495, 7.030, 2_125_854, 1.045, 10_388_653, 7.725),
    ("h-3_coco-416", 5_360_390, 3.759, 1_602_678, 0.724, 6_962_372, 4.209),
    ("h-4_coco-384", 2_764_706, 1.807, 993_186, 0.382, 3_757_196, 2.105),
]


@pytest.mark.parametrize("row", PAPER_MODELS, ids=lambda row: row[0])
def test_paper_models_cost_what_they_should(row):
    name, params, gmacs, backbone_params, backbone_gmacs, paper_params, paper_g = row
    cfg = resolve(load_config(f"configs/ehrnet/{name}.py"))
    with torch.device("meta"):
        model = MODELS.build(cfg.model)
    size = (cfg.codec.input_size, cfg.codec.input_size)
    true = count_complexity(model, size)
    paper = count_complexity(model, size, paper_counting=True)
    # Half a unit in the last digit of the reference figures; tighter than 0.1 % for all but the smallest.
    assert true.params == params
    assert true.macs / 1e9 == pytest.approx(gmacs, abs=5.1e-4)
    assert true.parts["backbone"][0] == backbone_params
    assert true.parts["backbone"][1] / 1e9 == pytest.approx(backbone_gmacs, abs=5.1e-4)
    assert paper.params == paper_params
    assert paper.macs / 1e9 == pytest.approx(paper_g, abs=5.1e-4)


# phi, millions of parameters for ImageNet and for CIFAR-100, GMACs at the paper's input.
COMPACT = [
    (0, 5.289, 4.136, 0.386, 224),
    (-1, 4.548, 3.503, 0.254, 195),
    (-2, 3.464, 2.512, 0.148, 170),
    (-3, 2.796, 1.931, 0.088, 145),
    (-4, 2.056, 1.271, 0.046, 128),
]


@pytest.mark.parametrize(("phi", "imagenet", "cifar", "gmacs", "size"), COMPACT)
def test_compact_efficientnets_cost_what_they_should(phi, imagenet, cifar, gmacs, size):
    for classes, params in ((100, cifar), (1000, imagenet)):
        with torch.device("meta"):
            model = MODELS.build(
                {
                    "type": "ImageClassifier",
                    "backbone": {"type": "EfficientNet", "phi": phi},
                    "num_classes": classes,
                }
            )
        assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(params, abs=5.1e-4)
    assert count_complexity(model, (size, size)).macs / 1e9 == pytest.approx(gmacs, abs=5.1e-4)


@pytest.mark.parametrize(
    ("layer", "size", "macs", "paper_macs"),
    [
        pytest.param(nn.Conv2d(3, 8, 3, padding=1), 6, 36 * 8 * 3 * 9, None, id="convolution, bias is free"),
        pytest.param(nn.Conv2d(3, 6, 3, 2, 1, groups=3), 8, 16 * 6 * 9, None, id="stride and groups"),
        pytest.param(nn.ConvTranspose2d(3, 5, 4, 2, 1), 8, 64 * 240, 256 * 240, id="transposed"),
        pytest.param(nn.Linear(8, 5), 8, 3 * 8 * 8 * 5, None, id="linear, once per row"),
        pytest.param(nn.BatchNorm2d(3), 8, 0, None, id="normalisation is not counted"),
    ],
)  # fmt: skip
def test_single_layers(layer, size, macs, paper_macs):
    model = nn.Sequential(layer)
    assert count_complexity(model, (size, size)).macs == macs
    assert count_complexity(model, (size, size), paper_counting=True).macs == (paper_macs or macs)


def test_transposed_convolution_costs_its_true_products():
    # Counted directly: every input value meets every weight of its channel once.
    layer = nn.ConvTranspose2d(3, 1, 4, stride=2, padding=0, bias=False)
    nn.init.ones_(layer.weight)
    products = int(layer(torch.ones(1, 3, 5, 5)).sum())
    assert count_complexity(nn.Sequential(layer), (5, 5)).macs == products


def test_paper_counts_mbconv_blocks_twice():
    model = nn.Sequential(nn.Conv2d(3, 8, 1), MBConv(8, 8, 6, 3, 1))
    params = sum(p.numel() for p in model.parameters())
    block = sum(p.numel() for p in model[1].parameters())
    assert count_complexity(model, (8, 8), paper_counting=True).params == params + block


def test_shared_layer_has_its_parameters_once_and_its_work_twice():
    conv = nn.Conv2d(3, 3, 1, bias=False)
    complexity = count_complexity(nn.Sequential(conv, conv), (4, 4))
    assert complexity.params == 9
    assert complexity.macs == 2 * 9 * 16


def test_batch_multiplies_work_only():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ConvTranspose2d(4, 2, 2, 2))
    one, three = count_complexity(model, (9, 7)), count_complexity(model, (9, 7), batch_size=3)
    assert three.macs == 3 * one.macs
    assert three.params == one.params


def test_model_is_left_as_it_was():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout())
    model[1].eval()
    count_complexity(model, (4, 4))
    assert [m.training for m in model.modules()] == [True, True, False, True]
    assert not any(m._forward_hooks for m in model.modules())
    assert model[1].num_batches_tracked == 0


def test_table_has_parts_total_and_layers():
    model = nn.Sequential()
    model.add_module("backbone", nn.Conv2d(3, 1000, 1))
    model.add_module("pool", nn.AvgPool2d(2))
    complexity = count_complexity(model, (10, 10))
    table = format_complexity(complexity)
    assert "pool" not in table
    assert table.splitlines()[-1].split() == ["total", "4,000", "0.004", "M", "300,000", "0.000", "G"]
    assert "1 x 1000 x 10 x 10" in format_complexity(complexity, with_layers=True)


@pytest.mark.parametrize(
    ("model", "size", "batch_size", "message"),
    [
        pytest.param(nn.Conv2d(3, 3, 1), (64,), 1, "height and width", id="one number"),
        pytest.param(nn.Conv2d(3, 3, 1), (0, 64), 1, "height and width", id="empty image"),
        pytest.param(nn.Conv2d(3, 3, 1), (64, 64), 0, "at least 1, got 0", id="empty batch"),
        pytest.param(nn.ReLU(), (64, 64), 1, "ReLU has no parameters", id="nothing to count"),
    ],
)
def test_bad_arguments_are_named(model, size, batch_size, message):
    with pytest.raises(ValueError, match=message):
        count_complexity(model, size, batch_size)
