"""One small form of each network of configs/rivals: the same code, with fewer channels and blocks."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

SMALL = {
    "higherhrnet-w32_coco-512": {
        "model.backbone.width": 4, "model.backbone.num_blocks": 1, "model.backbone.num_modules": (1, 1, 2),
    },
    "hrnet-w32-udp_coco-512": {"model.backbone.width": 4, "model.backbone.num_modules": (1, 1, 1)},
    "litepose-xs_coco-256": {"model.backbone.num_blocks": (1, 2, 1, 1)},
    "res50_coco-512": {"model.backbone.base_channels": 4, "model.neck.channels": (8, 8, 8)},
    "mobilenetv2_coco-512": {"model.neck.channels": (8, 8, 8)},
    "hourglass_coco-512": {"model.backbone.channels": (8, 12, 16, 20, 24), "model.backbone.num_stacks": 2},
    "lwopenpose_coco-368": {"model.backbone.channels": 16, "model.backbone.width": 0.125},
    "lwopenpose-3stages_coco-368": {"model.backbone.channels": 16, "model.backbone.width": 0.125},
    "hourglass-mmpose_coco-512": {"model.backbone.channels": (8, 8, 12, 12, 16), "model.backbone.num_stacks": 3},
}  # fmt: skip


def small_options(name):
    """Options that make a config small, also its input."""
    options = {**SMALL[name], "codec.input_size": 64, "codec.min_score": 0.02}
    if name == "hourglass_coco-512":
        options["test_dataloader.dataset.pipeline.1.size_wh"] = 64
    return options


def enliven(model):
    """Draw weights with which maps have peaks, so that there are people to find."""
    torch.manual_seed(0)
    for layer in model.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.kaiming_normal_(layer.weight)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 1.5)
            layer.weight.data.uniform_(0.5, 1.0)
            layer.bias.data.normal_(0, 0.1)
    model.eval()
    image = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 3, 64, 64)).astype(np.float32))
    if hasattr(model.head, "refinement_stages"):
        enliven_stages(model, image)
        return model
    outputs = {
        "heat4": [getattr(model.head, "output4", None)],
        "heat2": [getattr(model.head, "output2", None)],
    }
    if hasattr(model.head, "output_raw"):
        for level, name in enumerate(outputs):
            outputs[name] = [model.head.output_raw[level][-1], model.head.output_refined[level][-1]]
    with torch.no_grad():
        for name, layers in outputs.items():
            field = getattr(model(image), name)
            for layer in layers if field is not None else ():
                layer.weight *= 0.4 / field.std()
                if layer.bias is not None:
                    layer.bias *= 0.4 / field.std()
    return model


@torch.no_grad()
def enliven_stages(model, image):
    """Give the maps of each stage of fields mean 0, and values of about the size of a trained network's."""
    features = model.neck(model.backbone(image))
    for number, stage in enumerate((model.head.initial_stage, *model.head.refinement_stages)):
        for name, size in (("heat", 0.4), ("field", 0.8)):
            last = getattr(stage.outputs, name)[-1]
            last.bias.zero_()
            last.weight *= size / getattr(model.head.training_maps(features)[number], name).std()
            last.bias -= getattr(model.head.training_maps(features)[number], name).mean((0, 2, 3))
