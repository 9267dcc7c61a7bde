from __future__ import annotations

import ctypes
import errno
import json
import math
import os
import shutil
import sys

import numpy as np
import onnx
import pytest
import torch
from scipy.ndimage import gaussian_filter

from ehrpose.apis import inference
from ehrpose.deploy import pipeline, signal_stack
from ehrpose.deploy.export import parity
from ehrpose.deploy.export.onnx import DeployNetwork, fold_batch_norms, torch_maps
from ehrpose.deploy.export.options import ExportOptions
from ehrpose.deploy.export.trt85_ops import unsupported
from ehrpose.deploy.network_input import input_plan
from ehrpose.deploy.pipeline import export
from ehrpose.deploy.runtime import PoseRuntime
from ehrpose.deploy.sidecar import DeployError, read_sidecar, sidecar_path
from ehrpose.files import WriteError
from ehrpose.models.loading import init_model
from ehrpose.registry import CODECS
from ehrpose.structures import PeakMaps, invert_warp

VARIANTS = {
    "plain": {},
    "float, NHWC": {"input_dtype": "float32", "layout": "NHWC"},
    "wide": {"input_wh": (192, 128)},
    "two at once": {"batch_size": 2},
    "any number at once": {"dynamic_batch": True},
    "opset 17": {"opset": 17},
    "for TensorRT": {"backend": "tensorrt"},
}


def randomized(config, seed=0):
    """A model whose batch norms are not the identity, so that folding them can go wrong."""
    torch.manual_seed(seed)
    model = init_model(config)
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.2)
            layer.running_var.uniform_(0.5, 1.5)
            layer.weight.data.uniform_(0.5, 1.5)
            layer.bias.data.normal_(0, 0.2)
    return model


def test_an_exported_network_always_has_its_sidecar(config, tmp_path, monkeypatch):
    replace = os.replace

    def place(source, target):
        if target == tmp_path / "new" / "end2end.onnx.json":
            raise OSError(errno.EIO, "Input/output error")
        replace(source, target)

    monkeypatch.setattr(os, "replace", place)
    with pytest.raises(WriteError, match=r"end2end\.onnx could not be written: Input/output error"):
        export(config, None, tmp_path / "new", ExportOptions())
    assert list((tmp_path / "new").iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="file"):
        export(config, None, tmp_path / "file", ExportOptions())


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_exported_network_returns_the_models_maps(exported, options):
    path = exported(**options)
    sidecar = read_sidecar(path)
    assert not [p for p in path.parent.iterdir() if "partial" in p.name]
    graph = onnx.load(str(path))
    assert [o.name for o in graph.graph.output] == list(sidecar.outputs) == ["heat4", "tag4", "heat2"]
    assert graph.opset_import[0].version == options.get("opset", 13)
    kinds = {node.op_type for node in graph.graph.node}
    assert "BatchNormalization" not in kinds
    if not options.get("dynamic_batch"):
        assert not kinds & {"Shape", "ConstantOfShape", "Pad"}
    with (
        PoseRuntime(path) if sidecar.backend == "onnxruntime" else PoseRuntime(path, "onnxruntime") as runtime
    ):
        number = 3 if options.get("dynamic_batch") else options.get("batch_size", 1)
        photos = [np.random.default_rng(i).integers(0, 256, (90, 140, 3), np.uint8) for i in range(number)]
        maps = runtime.run(np.stack([runtime.prepare(photo)[0] for photo in photos]))
        shapes = {name: list(getattr(maps, name).shape) for name in sidecar.outputs}
        width, height = input_plan((140, 90), sidecar).size_wh
        assert shapes == {
            name: [number, shape[1], height // int(name[-1]), width // int(name[-1])]
            for name, shape in sidecar.outputs.items()
        }
        together, alone = runtime.predict(photos), [runtime(photo) for photo in photos]
        assert len(together) == number
        for one, other in zip(together, alone):
            np.testing.assert_allclose(one.scores, other.scores, atol=1e-5)


def test_folding_batch_norms_changes_nothing(config):
    model = randomized(config)
    image = np.random.default_rng(0).integers(0, 256, (128, 160, 3), np.uint8)
    network = DeployNetwork(model)
    norms = sum(isinstance(layer, torch.nn.BatchNorm2d) for layer in model.modules())
    assert len(network.folded) == norms > 50
    assert fold_batch_norms(network) == {}
    with torch.no_grad():
        maps = network(torch.from_numpy(image.transpose(2, 0, 1).copy())[None])
    for found, wanted in zip(maps, torch_maps(model, image)):
        np.testing.assert_allclose(found.numpy(), wanted, atol=2e-4 * max(1, np.abs(wanted).max()))
    assert sum(isinstance(layer, torch.nn.BatchNorm2d) for layer in model.modules()) == norms


def test_runtime_and_torch_find_the_same_people(config, exported, tmp_path):
    model = randomized(config)
    torch.save({"state_dict": model.state_dict()}, tmp_path / "weights.pth")
    path, errors, _ = export(config, str(tmp_path / "weights.pth"), tmp_path / "out", ExportOptions())
    assert errors["map_error"] <= parity.MAX_MAP_ERROR
    photo = pipeline.drawn_scene(model.codec.meta, (128, 128))
    with PoseRuntime(path) as runtime:
        people = runtime(photo)
    wanted = inference(model, photo)[0].pred_instances
    assert len(people) == len(wanted.keypoints) > 0
    np.testing.assert_allclose(people.scores, wanted.bbox_scores, atol=1e-3)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "tensorrt"])
def test_smoothing_is_part_of_the_exported_network(config, tmp_path, backend):
    if backend == "openvino":
        pytest.importorskip("openvino")
    # Missing keypoints are searched for in noise here: which of many similar pixels wins depends on the processor.
    plain_options = {"codec.fill_missing": False}
    smooth = {"model.head.smooth_sigmas": (1.0, 1.5), **plain_options}
    torch.save({"state_dict": randomized(config).state_dict()}, tmp_path / "weights.pth")
    found = {}
    for name, cfg_options in {"plain": plain_options, "smooth": smooth}.items():
        path, errors, _ = export(
            config, str(tmp_path / "weights.pth"), tmp_path / name, ExportOptions(backend=backend),
            cfg_options=cfg_options,
        )  # fmt: skip
        assert errors["map_error"] <= parity.MAX_MAP_ERROR
        graph = onnx.load(str(path))
        assert not list(unsupported(graph)) or backend != "tensorrt"
        assert not {node.op_type for node in graph.graph.node} & {"Shape", "Pad"}
        with PoseRuntime(path, "onnxruntime" if backend == "tensorrt" else None) as runtime:
            photo = runtime.prepare(np.full((128, 128, 3), 99, np.uint8))[0]
            found[name] = runtime.run(photo[None])
    for stride, sigma in ((4, 1.0), (2, 1.5)):
        plain, smoothed = (getattr(found[name], f"heat{stride}")[0, 0] for name in ("plain", "smooth"))
        wanted = gaussian_filter(
            plain.astype(float), sigma, mode="constant", truncate=math.ceil(3 * sigma) / sigma
        )
        np.testing.assert_allclose(smoothed, wanted, atol=1e-3 * np.abs(plain).max())
    np.testing.assert_array_equal(found["plain"].tag4, found["smooth"].tag4)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "tensorrt"])
def test_candidates_decode_to_the_people_of_the_maps(config, tmp_path, backend):
    if backend == "openvino":
        pytest.importorskip("openvino")
    model = randomized(config)
    torch.save({"state_dict": model.state_dict()}, tmp_path / "weights.pth")
    options = ExportOptions(backend=backend, decode="peaks", batch_size=2, input_wh=(128, 128))
    path, errors, _ = export(config, str(tmp_path / "weights.pth"), tmp_path / "out", options)
    assert list(errors) == ["map_error", "pixel_error"]
    assert errors["pixel_error"] < 0.01
    graph = onnx.load(str(path))
    assert [o.name for o in graph.graph.output] == list(PeakMaps._fields)
    assert not list(unsupported(graph)) or backend != "tensorrt"
    photos = [
        pipeline.drawn_scene(model.codec.meta, (128, 96)),
        pipeline.drawn_scene(model.codec.meta, (96, 128)),
    ]
    with PoseRuntime(path, "onnxruntime" if backend == "tensorrt" else None) as runtime:
        found = runtime.predict(photos)
        assert sum(len(people) for people in found) > 3
        assert runtime.run(np.stack([runtime.prepare(p)[0] for p in photos])).peak_tags.shape == (
            2,
            1,
            17,
            30,
            9,
        )
        plain = CODECS.build({**runtime.sidecar.codec, "fill_missing": False})
        for photo, people in zip(photos, found):
            pixels, warp = runtime.prepare(photo)
            image = pixels.transpose(1, 2, 0).astype(np.uint8)
            wanted = plain.decode(torch_maps(model, image).image(0)).warped(invert_warp(warp))
            assert len(people) == len(wanted)
            np.testing.assert_allclose(people.scores, wanted.scores, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_wh": (100, 128)}, "multiples of 32"),
        ({"backend": "caffe"}, "expected a backend in"),
        ({"precision": "fp8"}, "`precision`: expected fp32 or int8"),
        ({"precision": "bf16"}, "for onnxruntime, got bf16"),
        ({"precision": "int8"}, "with `calib_data`"),
        ({"layout": "CHWN"}, "`layout`: expected NCHW or NHWC"),
        ({"decode": "people"}, "`decode`: expected none or peaks"),
    ],
)
def test_bad_options_are_refused(config, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        export(config, None, tmp_path, ExportOptions(**options))
    assert list(tmp_path.iterdir()) == []


def test_a_failed_check_leaves_nothing(config, tmp_path, monkeypatch):
    (tmp_path / "end2end.onnx").write_bytes(b"old")
    monkeypatch.setattr(parity, "MAX_MAP_ERROR", -1.0)
    with pytest.raises(DeployError, match=r"maps of .* differ from the model's"):
        export(config, None, tmp_path, ExportOptions())
    assert [p.name for p in tmp_path.iterdir()] == ["end2end.onnx"]
    assert (tmp_path / "end2end.onnx").read_bytes() == b"old"


def test_other_people_fail_the_check(config):
    model = init_model(config)
    codec = model.codec
    heat = np.zeros((17, 32, 32), np.float32)
    heat[3, 10, 10] = 0.9
    from ehrpose.structures import Maps

    def maps(fine):
        return Maps(np.zeros((17, 16, 16), np.float32), np.zeros((17, 16, 16), np.float32), fine)

    with pytest.raises(DeployError, match="0 people found, the model finds 1"):
        parity.compare_people(codec.decode(maps(0 * heat)), codec.decode(maps(heat)))
    moved = parity.compare_people(codec.decode(maps(np.roll(heat, 1, axis=2))), codec.decode(maps(heat)))
    assert moved == pytest.approx(2.0, abs=0.2)
    with pytest.raises(DeployError, match="heat2 contains NaN"):
        parity.compare_maps(maps(heat * np.nan), maps(heat))
    with pytest.raises(DeployError, match="heat2 has shape"):
        parity.compare_maps(maps(heat[:, :8]), maps(heat))


def test_sidecar_mistakes(exported, tmp_path):
    source = exported()
    path = tmp_path / source.name

    def again():
        shutil.copy(source, path)
        shutil.copy(sidecar_path(source), sidecar_path(path))

    with pytest.raises(FileNotFoundError, match="exported network not found"):
        PoseRuntime(path)
    again()
    sidecar_path(path).unlink()
    with pytest.raises(FileNotFoundError, match="which describes how to run the network, not found next to"):
        PoseRuntime(path)
    again()
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DeployError, match="is not the file that"):
        PoseRuntime(path)
    with pytest.raises(DeployError, match="ONNX Runtime cannot load"):
        PoseRuntime(path, check_hashes=False)
    again()
    content = json.loads(sidecar_path(path).read_text())
    for change, message in (
        ({"format": 99}, "has format 99"),
        ({"surprise": 1}, r"got the unknown key \"surprise\""),
        ({"backend": "abacus"}, r"backend: expected one of .*, got \"abacus\""),
        ({"outputs": {"heat8": [1, 1, 8, 8]}}, "outputs: expected an object, got"),
    ):
        sidecar_path(path).write_text(json.dumps({**content, **change}))
        with pytest.raises(DeployError, match=message):
            PoseRuntime(path)
    sidecar_path(path).write_text("{")
    with pytest.raises(DeployError, match="is not a description"):
        PoseRuntime(path)


def test_runtime_refuses_wrong_arrays(exported):
    runtime = PoseRuntime(exported(input_wh=(128, 128)))
    with pytest.raises(ValueError, match="uint8 BGR"):
        runtime(np.zeros((5, 5), np.uint8))
    with pytest.raises(ValueError, match="expected uint8 images of shape"):
        runtime.run(np.zeros((1, 3, 64, 64), np.uint8))
    assert len(runtime(np.zeros((1, 1, 3), np.uint8)).keypoints.shape) == 3
    runtime.warm_up()
    runtime.close()
    runtime.close()
    with pytest.raises(DeployError, match="was closed"):
        runtime(np.zeros((5, 5, 3), np.uint8))


@pytest.mark.parametrize("backend", ["openvino"])
def test_other_backends_return_the_same_maps(config, exported, backend):
    pytest.importorskip(backend, reason=f"{backend} is in the extra 'deploy'")
    path = exported()
    batch = np.random.default_rng(0).integers(0, 256, (1, 3, 128, 128), np.uint8)
    wanted = PoseRuntime(path).run(batch)
    for options in ({}, {"hint": "throughput"}):
        with PoseRuntime(path, backend, num_threads=1, **options) as runtime:
            assert parity.compare_maps(runtime.run(batch), wanted) < parity.MAX_MAP_ERROR
    with pytest.raises(ValueError, match="hint must be one of"):
        PoseRuntime(path, backend, hint="speed")


def test_openvino_leaves_the_signal_stack_as_it_was(exported):
    # Otherwise the next signal with a handler ends the process once the network is gone.
    pytest.importorskip("openvino")

    def stack():
        found = signal_stack._Stack()
        assert ctypes.CDLL(None).sigaltstack(None, ctypes.byref(found)) == 0
        return found.start, found.flags, found.size

    if not sys.platform.startswith("linux"):
        pytest.skip("signal stacks are Linux's")
    before = stack()
    runtime = PoseRuntime(exported(), "openvino")
    runtime.warm_up()
    assert stack() == before
    runtime.close()
    assert stack() == before
