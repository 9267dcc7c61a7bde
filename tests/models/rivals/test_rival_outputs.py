"""Other projects' networks, rebuilt here, return what their own code returned for the same weights and inputs."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import rival_data
import torch

from ehrpose.config import INFERENCE_PARTS, load_config, resolve
from ehrpose.models.weights.conversion import convert
from ehrpose.models.weights.fitting_config import fitting_config
from ehrpose.registry import MODELS

TOLERANCE = 1e-4  # of the largest value; on one thread of one build of torch the difference is 0
IMAGENET_MEAN, IMAGENET_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
SMALL = ("litepose_XS", "litepose_L", "mobilenetv2_mmpose0", "lwopenpose", "lwopenpose_3stages")
# Every family once; the others take longer, or differ in names or widths alone.
QUICK = (
    *SMALL,
    "efficienthrnet_h-4",
    "litepose_S",
    "litepose_M",
    "higherhrnet_w32_official",
    "hrnet_w32_mmpose0",
    "res50_mmpose0",
)


def marked(networks, quick):
    return [n if n in quick else pytest.param(n, marks=pytest.mark.slow) for n in networks]


def network_of(network):
    """The model of the config that fits the drawn weights, with these weights, converted to our names."""
    tensors = {name: torch.from_numpy(value) for name, value in rival_data.draw_weights(network).items()}
    converted = convert(tensors, refinements=3 if network == "lwopenpose_3stages" else None)
    config, _ = fitting_config(converted, f"{network}.pth")
    model = MODELS.build(resolve(load_config(rival_data.ROOT / config, parts=INFERENCE_PARTS)).model)
    model.load_state_dict(converted.state_dict)
    return model.eval()


@torch.no_grad()
def outputs_of(model, image):
    """All outputs under the names of the stored ones."""
    if hasattr(model.backbone, "all_stacks"):
        feature, earlier = model.backbone.all_stacks(image)
        maps = model.head(feature)
        stacks = [*earlier, torch.cat([maps.heat4, maps.tag4], 1)]
        return {f"stack{i}": stack.numpy() for i, stack in enumerate(stacks)}
    if hasattr(model.head, "training_maps"):
        stages = model.head.training_maps(model.neck(model.backbone(image)))
        outputs = {}
        for i, stage in enumerate(stages):
            outputs |= {f"stage{i}_heatmaps": stage.heat.numpy(), f"stage{i}_pafs": stage.field.numpy()}
        assert torch.equal(model(image).heat, stages[-1].heat)
        return outputs
    maps = model(image)
    first = torch.cat([maps.heat4, maps.tag4], 1)
    outputs = {"heat4": maps.heat4, "tag4": maps.tag4, "out4": first, "out0": first}
    if maps.heat2 is not None:
        outputs["out2"] = outputs["out1"] = maps.heat2
    return {name: output.numpy() for name, output in outputs.items()}


@pytest.mark.parametrize("network", marked(rival_data.NETWORKS, QUICK))
def test_the_same_outputs_for_noise(network):
    outputs = outputs_of(network_of(network), torch.from_numpy(rival_data.noise(network)))
    values = np.load(rival_data.DATA / "outputs.npz")
    expected = rival_data.facts()[network]["outputs"]
    assert expected
    for name, fact in expected.items():
        output = outputs[name]
        assert list(output.shape) == fact["shape"]
        limit = TOLERANCE * fact["absmax"]
        np.testing.assert_allclose(
            rival_data.some_values(output), values[f"{network}/{name}"], rtol=0, atol=limit
        )
        assert abs(np.abs(output).max() - fact["absmax"]) <= limit
        assert abs(output.mean(dtype=np.float64) - fact["mean"]) <= limit


@pytest.mark.parametrize("network", marked(rival_data.NETWORKS, SMALL))
def test_the_same_outputs_for_noise_and_a_photo_everywhere(network):
    folder = rival_data.FULL / "golden"
    if not folder.is_dir():
        pytest.skip("the complete outputs are not at hand")
    stored, meta = np.load(folder / f"{network}.npz"), json.loads((folder / f"{network}.json").read_text())
    mean, std = meta.get("mean", IMAGENET_MEAN), meta.get("std", IMAGENET_STD)
    photo = stored["photo_bgr"][..., :: -1 if meta.get("rgb", True) else 1]
    photo = (photo - np.float32(mean)) / np.float32(std)
    inputs = {"noise": stored["noise_input"], "photo": photo.transpose(2, 0, 1)[None]}
    np.testing.assert_array_equal(inputs["noise"], rival_data.noise(network))
    model = network_of(network)
    compared = 0
    for kind, image in inputs.items():
        outputs = outputs_of(model, torch.from_numpy(np.ascontiguousarray(image)))
        for key in stored.files:
            name = re.sub(rf"^{kind}_", "", key)
            if key != name and name in outputs:
                expected = rival_data.used(name, stored[key])
                limit = TOLERANCE * np.abs(expected).max()
                np.testing.assert_allclose(outputs[name], expected, rtol=0, atol=limit)
                compared += 1
    assert compared == len(stored.files) - len(("noise_input", "photo_bgr"))


def pad_as_tensorflow(model):
    for stage in model.backbone.stages:
        for block in stage:
            conv = block.depthwise[0]
            if conv.stride == (2, 2):
                conv.padding = (0, 0)
                block.depthwise[0] = torch.nn.Sequential(torch.nn.ZeroPad2d((2, 3, 2, 3)), conv)


def use_relu(model):
    for stage in model.backbone.stages:
        for block in stage:
            block.expand[2] = torch.nn.ReLU()


def change_epsilon(model):
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.eps = 1e-3


@pytest.mark.parametrize("change", [pad_as_tensorflow, use_relu, change_epsilon])
def test_the_comparison_notices_small_changes(change):
    model = network_of("litepose_XS")
    image = torch.from_numpy(rival_data.noise("litepose_XS"))
    before = outputs_of(model, image)["out4"]
    change(model)
    after = outputs_of(model, image)["out4"]
    assert np.abs(after - before).max() > 10 * TOLERANCE * np.abs(before).max()
