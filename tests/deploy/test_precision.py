"""Lower precision: files have the precision that they claim, run, and stay near the float32 network."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from dataclasses import replace
from functools import partial
from itertools import chain
from types import SimpleNamespace

import cv2
import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto
from test_export import randomized

from ehrpose.deploy import pipeline
from ehrpose.deploy.export import quantization
from ehrpose.deploy.export.options import ExportOptions
from ehrpose.deploy.export.parity import compare_maps
from ehrpose.deploy.export.trt85_ops import unsupported
from ehrpose.deploy.pipeline import build_or_explain, export
from ehrpose.deploy.runtime import PoseRuntime
from ehrpose.deploy.sidecar import DeployError, read_sidecar, sidecar_path
from ehrpose.inferencers.predictors import open_predictor


@pytest.fixture(scope="module")
def weights(config, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "weights.pth"
    torch.save({"state_dict": randomized(config).state_dict()}, path)
    return str(path)


@pytest.fixture(scope="module")
def again(export_once, config, weights):
    """Export with options, or return what was exported with them before."""
    return partial(export_once, config, weights)


@pytest.fixture(scope="module")
def photos(config, tmp_path_factory):
    """A folder of three scenes, and a file that is not a photo."""
    from ehrpose.models.loading import init_model

    folder = tmp_path_factory.mktemp("photos")
    meta = init_model(config).codec.meta
    for number, side in enumerate((96, 128, 160)):
        cv2.imwrite(str(folder / f"{number}.png"), pipeline.drawn_scene(meta, (side, side)))
    (folder / "broken.jpg").write_bytes(b"no photo")
    return folder


@pytest.fixture
def two_parts(monkeypatch):
    """Return a function that lets the network have only two parts: to measure the effect of each takes long."""
    parts = quantization._parts

    def run():
        def merged(graph):
            first, *others = parts(graph).items()
            return dict([first, ("backbone/stages", list(chain(*(names for _, names in others))))])

        monkeypatch.setattr(quantization, "_parts", merged)
        monkeypatch.setattr(quantization, "MAX_PART_ERROR", np.inf)

    return run


INT8 = {"precision": "int8", "input_dtype": "float32", "input_wh": (128, 128)}


@pytest.mark.parametrize("backend", ["onnxruntime", "tensorrt", "openvino"])
def test_int8_stays_near_float32(again, photos, two_parts, backend):
    if backend == "openvino":
        pytest.importorskip("openvino")
        pytest.importorskip("nncf")
    if backend == "tensorrt":  # each part's effect is measured as for ONNX Runtime
        two_parts()
    exact = again(input_wh=(128, 128)).path
    done = again(**INT8, backend=backend, calib_data=str(photos))
    sidecar = read_sidecar(done.path)
    assert sidecar.precision == "int8"
    assert "calibrated on 3 images, 1 could not be read" in done.report
    assert sorted(p.name for p in done.path.parent.iterdir()) == sorted(
        [*sidecar.sha256, done.path.name + ".json"]
    )
    image = pipeline.drawn_scene(PoseRuntime(exact).codec.meta, (128, 128))
    with (
        PoseRuntime(exact) as first,
        PoseRuntime(done.path, "onnxruntime" if backend == "tensorrt" else None) as second,
    ):
        wanted, found = (r.run(r.prepare(image)[0][None]) for r in (first, second))
        error = compare_maps(found, wanted)
        assert 0 < error < 0.3
    if backend != "openvino":
        graph = onnx.load(str(done.path))
        kinds = {node.op_type for node in graph.graph.node}
        assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
        parts = done.report.splitlines()[3:]
        assert any(line.split()[0].startswith("backbone/stages") for line in parts)
    if backend == "tensorrt":
        assert not list(unsupported(graph))
        types = {t.name: t.data_type for t in graph.graph.initializer}
        assert TensorProto.INT32 not in {
            types.get(n.input[0]) for n in graph.graph.node if n.op_type[0] == "D"
        }


def _weights_of(path):
    if path.suffix == ".xml":
        import openvino

        nodes = openvino.Core().read_model(str(path)).get_ops()
        constants = [node.get_data() for node in nodes if node.get_type_name() == "Constant"]
        return [array for array in constants if array.dtype == np.int8 and array.ndim == 4]
    arrays = [onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(str(path)).graph.initializer]
    return [array for array in arrays if array.dtype == np.int8 and array.ndim == 4]


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_half_range_leaves_weights_of_seven_bits(
    config, weights, again, photos, tmp_path, two_parts, backend
):
    if backend == "openvino":
        pytest.importorskip("openvino")
        pytest.importorskip("nncf")
    options = {**INT8, "backend": backend, "calib_data": str(photos)}
    full = again(**options)
    two_parts()
    half = export(config, weights, tmp_path, ExportOptions(**options, half_range=True))
    largest = []
    for done in (full, half):
        path = next((p for p in done.path.parent.iterdir() if p.suffix == ".xml"), done.path)
        arrays = _weights_of(path)
        assert arrays
        largest.append(max(int(np.abs(array.astype(int)).max()) for array in arrays))
    assert largest[0] > 120
    assert largest[1] <= 64


@pytest.mark.parametrize("options", [{}, {"backend": "tensorrt", "precision": "int8", "calib_data": "x"}])
def test_half_range_is_for_int8_on_cpus(options):
    with pytest.raises(ValueError, match="`half_range` is for int8 with onnxruntime and openvino"):
        ExportOptions(**options, half_range=True)


def test_parts_that_quantise_badly_stay_in_float(config, weights, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(quantization, "MAX_PART_ERROR", 0.0)
    options = ExportOptions(precision="int8", calib_data=str(photos))
    done = export(config, weights, tmp_path, options)
    graph = onnx.load(str(done.path))
    assert "QuantizeLinear" not in {node.op_type for node in graph.graph.node}
    assert done.report.count("kept in float") > 10


def test_float16_is_written_into_the_file_for_new_tensorrt(config, weights, tmp_path):
    options = ExportOptions(backend="tensorrt", precision="fp16", typed=True)
    done = export(config, weights, tmp_path, options)
    assert read_sidecar(done.path).precision == "fp16"
    graph = onnx.load(str(done.path)).graph
    assert TensorProto.FLOAT16 in {tensor.data_type for tensor in graph.initializer}
    assert {value.type.tensor_type.elem_type for value in [*graph.input, *graph.output]} == {
        TensorProto.FLOAT
    }
    old = export(config, weights, tmp_path, ExportOptions(backend="tensorrt", precision="fp16"))
    assert read_sidecar(old.path).precision == "fp32"  # up to TensorRT 10, fp16 is chosen at build time


def test_bfloat16_is_chosen_when_openvino_loads(again):
    pytest.importorskip("openvino")
    done = again(backend="openvino", precision="bf16")
    assert "maps off by" in done.report
    with PoseRuntime(done.path) as runtime:
        assert runtime.sidecar.precision == "bf16"
        used = runtime.backend.used_precision
        assert f"computed in {used} on this machine" in done.report
        assert read_sidecar(done.path).computed_in == used
        runtime.warm_up()


def test_float16_weights_for_openvino_halve_the_file(again):
    pytest.importorskip("openvino")
    done = again(backend="openvino", precision="fp16")
    full = again(backend="openvino")
    assert done.path.name == "end2end.xml"
    assert done.path.with_suffix(".bin").stat().st_size < 0.6 * full.path.stat().st_size
    assert "maps off by" in done.report
    with PoseRuntime(done.path) as runtime:
        assert runtime.sidecar.precision == "fp16"
        runtime.warm_up()


@pytest.mark.parametrize(
    ("precision", "asked", "answers", "used", "text"),
    [
        ("fp32", "f32", ["f32"], "fp32", "fp32"),
        ("fp16", "f16", ["bf16"], "bf16", "fp16, computed in bf16"),
        ("bf16", "bf16", ["f32"], "fp32", "bf16, computed in fp32"),
        ("int8", "bf16", ["u8", "f32", "i8", "u8"], "int8+fp32", "int8+fp32"),
        ("int8", "bf16", ["u8", "bf16", "i8"], "int8+bf16", "int8+bf16"),
    ],
)
def test_what_openvino_really_computes_in_is_told(
    config, exported, tmp_path, monkeypatch, capsys, precision, asked, answers, used, text
):
    openvino = pytest.importorskip("openvino")
    path = tmp_path / "end2end.onnx"
    shutil.copy(exported(), path)
    replace(read_sidecar(exported()), precision=precision).write(path)
    real, settings = openvino.Core.compile_model, []

    def answering(core, model, device, given):
        settings.append(given["INFERENCE_PRECISION_HINT"])
        compiled = real(core, model, device, {**given, "INFERENCE_PRECISION_HINT": "f32"})
        return Answering(compiled)

    class Answering:
        def __init__(self, compiled):
            self._compiled = compiled

        def __getattr__(self, name):
            return getattr(self._compiled, name)

        def get_runtime_model(self):
            nodes = [{"layerType": "Convolution", "runtimePrecision": kind} for kind in answers]
            nodes += [{"layerType": "Eltwise", "runtimePrecision": "i32"}] * 9
            return SimpleNamespace(
                get_ops=lambda: [SimpleNamespace(get_rt_info=lambda info=info: info) for info in nodes]
            )

    monkeypatch.setattr(openvino.Core, "compile_model", answering)
    predictor = open_predictor(path, backend="openvino")
    assert settings == [asked]  # never left to OpenVINO, which prefers bfloat16
    assert predictor.runtime.backend.used_precision == used
    assert predictor.runtime.precision == text
    assert predictor.name == f"demo_synthetic-128 openvino {text}"
    said = capsys.readouterr().err
    line = f"{path}: openvino computes in {used} on this machine, the file is {precision}\n"
    assert said == ("" if used.split("+")[0] == precision else line)


def test_openvino_tells_the_truth_about_float32(again):
    openvino = pytest.importorskip("openvino")
    done = again(backend="openvino")
    assert "float32: maps off by" in done.report
    assert "computed in fp32 on this machine" in done.report
    assert read_sidecar(done.path).computed_in == "fp32"
    with PoseRuntime(done.path) as runtime:
        assert runtime.backend.used_precision == runtime.precision == "fp32"
    default = openvino.Core().get_property("CPU", "INFERENCE_PRECISION_HINT")
    with PoseRuntime(done.path, precision="bf16") as runtime:
        wanted = "fp32" if "float32" in str(default) else "bf16"
        assert runtime.backend.used_precision == wanted


def test_onnxruntime_and_torch_tell_what_they_compute_in(exported, tmp_path):
    path = tmp_path / "end2end.onnx"
    shutil.copy(exported(), path)
    replace(read_sidecar(exported()), precision="bf16").write(path)  # as exported for OpenVINO
    with PoseRuntime(path, "onnxruntime") as runtime:
        assert runtime.precision == "bf16, computed in fp32"


def test_a_sidecar_without_a_measurement_is_one_that_older_versions_read(exported):
    assert "computed_in" not in json.loads(sidecar_path(exported()).read_text())


def test_what_cannot_be_measured_is_reported(config, weights, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    done = export(config, weights, tmp_path, ExportOptions(backend="openvino", precision="bf16"))
    assert "not measured: openvino is not installed" in done.report
    with pytest.raises(DeployError, match="pip install openvino"):
        export(config, weights, tmp_path, ExportOptions(backend="openvino", precision="fp16"))


def test_without_tensorrt_the_commands_are_printed(config, weights, tmp_path, capsys):
    if importlib.util.find_spec("tensorrt") is not None:
        pytest.skip("TensorRT is installed")
    for input_wh in (None, (128, 96)):
        options = ExportOptions(backend="tensorrt", precision="fp16", decode="peaks", input_wh=input_wh)
        done = export(config, weights, tmp_path, options)
        assert build_or_explain(done.path, options) == 2
        printed = capsys.readouterr().out
        assert "python -m ehrpose.deploy.build_engine end2end.onnx --precision fp16" in printed
        # TensorRT's own tool builds one input size only.
        assert (
            ("trtexec --onnx=end2end.onnx" in printed)
            == ("/peaks/MaxPool" in printed)
            == (input_wh is not None)
        )


def test_calibration_without_photos_is_refused(config, weights, tmp_path):
    empty, broken = tmp_path / "empty", tmp_path / "broken"
    for folder in (empty, broken):
        folder.mkdir()
    (broken / "a.jpg").write_bytes(b"no photo")
    with pytest.raises(FileNotFoundError, match="no photos"):
        export(config, weights, tmp_path / "out", ExportOptions(precision="int8", calib_data=str(empty)))
    with pytest.raises(DeployError, match=r"none of the calibration images in .* can be read"):
        export(config, weights, tmp_path / "out", ExportOptions(precision="int8", calib_data=str(broken)))
    assert list((tmp_path / "out").iterdir()) == []
