"""Engines whose files are made from a .pt2 program, without their packages; make test-engines runs the real ones."""

import json
import sys
import types

import numpy as np
import onnxruntime
import pytest

from ehrpose.config import load_config
from ehrpose.deploy.backends.executorch import ExecuTorchBackend
from ehrpose.deploy.backends.litert import LiteRtBackend, signature_name
from ehrpose.deploy.export.converters import Source, convert, run_program
from ehrpose.deploy.export.converters.executorch import side_limits
from ehrpose.deploy.export.converters.litert import _calibration_images
from ehrpose.deploy.export.input_form import input_form
from ehrpose.deploy.pipeline import ExportOptions, export
from ehrpose.deploy.runtime import PoseRuntime
from ehrpose.deploy.sidecar import DeployError, Sidecar, file_hash, read_sidecar
from ehrpose.models.loading import init_model

CONFIG = "configs/ehrnet/demo_synthetic-128.py"
SHAPES = [[128, 192], [192, 128]]


@pytest.fixture(scope="module")
def onnx_path(tmp_path_factory):
    return export(CONFIG, None, tmp_path_factory.mktemp("onnx"), ExportOptions()).path


@pytest.fixture
def sidecar_for(onnx_path, tmp_path):
    """Write a file of an engine, whose content is never read, with its sidecar."""

    def write(backend, suffix, **changed):
        path = tmp_path / f"network{suffix}"
        path.write_bytes(b"content")
        fields = vars(read_sidecar(onnx_path))
        kept = {k: v for k, v in fields["input"].items() if k != "sides"}
        given = {**kept, "shape": [1, 3, 128, 192], "shapes": SHAPES, **changed}
        sidecar = Sidecar(**{**fields, "backend": backend, "input": given})
        sidecar.sha256 = {path.name: file_hash(path)}
        sidecar.write(path)
        return path, sidecar

    return write


class Interpreter:
    """Stands in for LiteRT's: each signature returns the mean of its input, and remembers the batches."""

    outputs = ("heat4", "tag4", "heat2")
    seen = ()

    def __init__(self, model_path, num_threads=None):
        self.num_threads = num_threads

    def get_signature_list(self):
        names = [signature_name((w, h)) for h, w in SHAPES]
        return {name: {"inputs": ["input"], "outputs": sorted(self.outputs)} for name in names}

    def get_signature_runner(self, name):
        def run(input):
            self.seen.append((name, input.shape))
            return {output: np.full((len(input), 1), input.mean(), np.float32) for output in self.outputs}

        return run


@pytest.fixture
def litert(monkeypatch):
    module = types.ModuleType("ai_edge_litert.interpreter")
    module.Interpreter = Interpreter
    monkeypatch.setattr(Interpreter, "seen", [])
    monkeypatch.setitem(sys.modules, "ai_edge_litert", types.ModuleType("ai_edge_litert"))
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", module)
    return Interpreter


def test_litert_runs_the_signature_of_the_shape(litert, sidecar_for):
    backend = LiteRtBackend(sidecar_for("litert", ".tflite")[0])
    found = backend.run(np.full((1, 3, 192, 128), 7, np.uint8))
    assert litert.seen == [("h192w128", (1, 3, 192, 128))]
    assert list(found) == list(backend.sidecar.outputs)
    assert found["heat4"].item() == 7
    with pytest.raises(ValueError, match="expected uint8 images of shape"):
        backend.run(np.zeros((1, 3, 128, 128), np.uint8))
    backend.close()
    backend.close()
    with pytest.raises(DeployError, match="was closed"):
        backend.run(np.zeros((1, 3, 192, 128), np.uint8))


def test_litert_runs_any_batch_image_by_image(litert, sidecar_for):
    backend = LiteRtBackend(sidecar_for("litert", ".tflite", dynamic_batch=True)[0])
    images = np.arange(3, dtype=np.uint8)[:, None, None, None] * np.ones((1, 3, 128, 192), np.uint8)
    assert backend.run(images)["tag4"].ravel().tolist() == [0, 1, 2]
    assert litert.seen == [("h128w192", (1, 3, 128, 192))] * 3


def test_a_file_with_other_outputs_is_refused(litert, monkeypatch, sidecar_for):
    monkeypatch.setattr(litert, "outputs", ("heat4", "heat2"))
    with pytest.raises(DeployError, match=r"expected a signature h.* with the outputs .* export again"):
        LiteRtBackend(sidecar_for("litert", ".tflite")[0])


@pytest.mark.parametrize(
    ("backend", "suffix", "module", "line"),
    [
        (LiteRtBackend, ".tflite", "ai_edge_litert", "pip install ai-edge-litert"),
        (ExecuTorchBackend, ".pte", "executorch", "pip install torch executorch"),
    ],
)
def test_a_missing_package_is_named_with_its_pip_line(
    backend, suffix, module, line, monkeypatch, sidecar_for
):
    for name in (module, f"{module}.interpreter", f"{module}.runtime", f"{module}.extension"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(DeployError, match=f"{line}$"):
        backend(sidecar_for(backend.name, suffix)[0])


@pytest.mark.parametrize(
    ("name", "line"),
    [("litert", "pip install litert-torch ai-edge-litert"), ("executorch", "pip install torch executorch")],
)
def test_a_missing_converter_is_named_with_its_pip_line(name, line, monkeypatch, onnx_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DeployError, match=f"{line}$"):
        convert(name, Source(onnx_path, read_sidecar(onnx_path), "network", "fp32"))


def test_litert_has_two_shapes_and_executorch_an_upper_limit():
    model = init_model(load_config(CONFIG), None)
    form = input_form(model, ExportOptions("litert"))
    assert form.varying == {"shapes": SHAPES}
    assert form.losses == ()
    form = input_form(model, ExportOptions("executorch"))
    assert form.varying["sides"]["max_aspect"] == 2.5
    assert any("lays out memory for the longest photo" in loss for loss in form.losses)
    fixed = input_form(model, ExportOptions("litert", input_wh=(128, 128)))
    assert fixed.varying == {}
    assert any("letterboxed into 128 x 128" in loss for loss in fixed.losses)


def test_side_limits_are_those_of_the_longest_photo(sidecar_for):
    _, several = sidecar_for("executorch", ".pte")
    assert side_limits(several) == {"step": 64, "offset": 0, "most": [192, 192]}
    _, fixed = sidecar_for("executorch", ".pte", shapes=None)
    assert side_limits(fixed) == {}
    _, any_size = sidecar_for("executorch", ".pte")
    any_size.input["sides"] = {"short": 320, "divisor": 32, "max_aspect": 2.5}
    limits = side_limits(any_size)
    assert limits == {"step": 32, "offset": 0, "most": [800, 800]}


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_a_shape_without_photos_is_calibrated_on_stretched_ones(layout, sidecar_for):
    path, sidecar = sidecar_for("litert", ".tflite", layout=layout)
    wide = np.random.default_rng(0).integers(0, 256, (3, 128, 192)).astype(np.uint8)
    image, shape = wide, [1, 3, 192, 128]
    if layout == "NHWC":
        image, shape = np.ascontiguousarray(wide.transpose(1, 2, 0)), [1, 192, 128, 3]
    source = Source(path, sidecar, "network", "int8", [image, image])
    assert _calibration_images(source, shape).shape == (2, *shape[1:])
    same = _calibration_images(source, [1, *image.shape])
    np.testing.assert_array_equal(same, [image, image])


def test_a_converter_that_fails_says_why(tmp_path):
    arguments = {"shapes": {}, "dtype": "uint8", "outputs": [], "precision": "fp32"}
    with pytest.raises(DeployError, match=r"the converter for LiteRT failed \(1\): .*Error"):
        run_program("LiteRT", "ehrpose.deploy.export.converters.litert", arguments, tmp_path)


def test_an_onnxruntime_that_is_too_old_is_refused(onnx_path, monkeypatch):
    monkeypatch.setattr(onnxruntime, "__version__", "1.4.0")
    with pytest.raises(DeployError, match=r"expected ONNX Runtime 1.6 or newer, got 1.4.0: pip install -U"):
        PoseRuntime(onnx_path)


@pytest.mark.parametrize(
    "message",
    [
        "Unsupported model IR version: 9",
        "Current official support is till opset 15",
        "Unknown model file format version.",
    ],
)
def test_a_file_for_a_newer_onnxruntime_says_so(message, onnx_path, monkeypatch):
    def session(*args, **kwargs):
        raise RuntimeError(message)

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    made = json.loads((onnx_path.parent / f"{onnx_path.name}.json").read_text())["versions"]["onnxruntime"]
    with pytest.raises(
        DeployError, match=f"is too old for .*, which was exported with {made}: pip install -U"
    ):
        PoseRuntime(onnx_path)
