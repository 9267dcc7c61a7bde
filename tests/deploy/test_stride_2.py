"""Networks with heatmaps and tags at stride 2 alone export in both forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ehrpose.config import load_config
from ehrpose.deploy import pipeline
from ehrpose.deploy.export.onnx import torch_maps
from ehrpose.deploy.export.options import ExportOptions
from ehrpose.deploy.pipeline import export
from ehrpose.deploy.runtime import PoseRuntime
from ehrpose.models.loading import init_model
from ehrpose.registry import CODECS
from ehrpose.structures import Maps, PeakMaps, invert_warp

STRIDE_2 = {
    "model.head": {
        "_delete_": True, "type": "SingleLevelAEHead", "codec": "$codec", "init_std": None, "tag_init_std": 0.05,
    },
    "codec.strides": (2,),
    "codec.tag_strides": (2,),
}  # fmt: skip


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "tensorrt"])
@pytest.mark.parametrize("decode", ["none", "peaks"])
def test_people_are_those_of_the_model(config, tmp_path, backend, decode):
    if backend == "openvino":
        pytest.importorskip("openvino")
    torch.manual_seed(0)
    model = init_model(load_config(config, STRIDE_2), None)
    with torch.no_grad():
        model.head.output2.bias[:17] = 0.1
        model.head.output2.weight.mul_(30)
    torch.save({"state_dict": model.state_dict()}, tmp_path / "weights.pth")
    options = ExportOptions(backend=backend, decode=decode, input_wh=(128, 96))
    path, errors, _ = export(
        config, str(tmp_path / "weights.pth"), tmp_path / "out", options, cfg_options=STRIDE_2
    )
    assert errors["pixel_error"] < 0.01
    photo = pipeline.drawn_scene(model.codec.meta, (128, 96))
    with PoseRuntime(path, "onnxruntime" if backend == "tensorrt" else None) as runtime:
        fields = PeakMaps._fields if decode == "peaks" else ("heat2", "tag2")
        assert tuple(runtime.sidecar.outputs) == fields
        assert runtime.sidecar.codec["strides"] == [2]
        people = runtime(photo)
        pixels, warp = runtime.prepare(photo)
        codec = CODECS.build({**runtime.sidecar.codec, "fill_missing": decode == "none"})
        maps = torch_maps(model, pixels.transpose(1, 2, 0)).image(0)
        assert isinstance(maps, Maps)
        assert maps.heat4 is maps.tag4 is None
        assert maps.heat2.shape == (17, 48, 64)
        wanted = codec.decode(maps).warped(invert_warp(warp))
    assert len(people) == len(wanted) > 0
    np.testing.assert_allclose(people.scores, wanted.scores, atol=1e-4)
