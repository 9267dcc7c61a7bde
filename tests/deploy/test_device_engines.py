"""Engines of phones and boards: what happens where they, or their converters, are not installed."""

import importlib.util
import io
import platform
import zipfile

import numpy as np
import pytest

from ehrpose.backend_table import BACKEND_TABLE
from ehrpose.deploy.backends.coreml import unpacked_package
from ehrpose.deploy.export.converters import Source, convert, rknn, run_converter
from ehrpose.deploy.export.options import ExportOptions
from ehrpose.deploy.export.precision import Samples, lower_precision
from ehrpose.deploy.pipeline import export
from ehrpose.deploy.runtime import PoseRuntime
from ehrpose.deploy.sidecar import DeployError, MissingEngineError, Sidecar, file_hash, read_sidecar

CONFIG = "configs/ehrnet/demo_synthetic-128.py"


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    options = ExportOptions(input_wh=(128, 128), input_dtype="float32")
    return export(CONFIG, None, tmp_path_factory.mktemp("float32"), options).path


@pytest.fixture
def source(network):
    return Source(network, read_sidecar(network), "end2end", "fp32", (), "rk3588")


def renamed(network, path, backend):
    """Write a file of some other engine, and its JSON, with the same input and outputs."""
    path.write_bytes(b"nothing")
    sidecar = Sidecar(**{**vars(read_sidecar(network)), "backend": backend})
    sidecar.sha256 = {path.name: file_hash(path)}
    sidecar.write(path)
    return path


def needs_absent(module):
    return pytest.mark.skipif(importlib.util.find_spec(module) is not None, reason=f"{module} is installed")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=needs_absent(BACKEND_TABLE[name].module)) for name in ("mnn", "rknn")]
)
def test_an_engine_that_is_not_installed_is_named_with_its_pip_line(name, network, tmp_path):
    path = renamed(network, tmp_path / f"end2end{BACKEND_TABLE[name].suffixes[0]}", name)
    with pytest.raises(MissingEngineError, match=f"{name} is not installed .*{BACKEND_TABLE[name].pip_line}"):
        PoseRuntime(path)


@needs_absent("MNN")
def test_a_converter_that_is_not_installed_is_named_with_its_pip_line(source):
    with pytest.raises(DeployError, match=r"the converter for MNN is not installed .*pip install MNN"):
        convert("mnn", source)


@needs_absent("coremltools")
def test_the_converter_of_core_ml_is_named_with_its_pip_line(source):
    with pytest.raises(
        DeployError, match=r"converter for Core ML is not installed .*pip install coremltools"
    ):
        convert("coreml", source)


@needs_absent("rknn")
def test_the_converter_of_rknn_wants_an_environment_of_its_own(source, monkeypatch):
    monkeypatch.delenv(rknn.PYTHON, raising=False)
    with pytest.raises(DeployError, match=f"pip install rknn-toolkit2.*{rknn.PYTHON}="):
        convert("rknn", source)
    monkeypatch.setenv(rknn.PYTHON, "/no/such/python")
    with pytest.raises(DeployError, match=f"cannot be started.*{rknn.PYTHON}="):
        convert("rknn", source)


@pytest.mark.skipif(platform.system() == "Darwin", reason="Core ML runs here")
def test_core_ml_says_where_it_runs(network, tmp_path):
    path = renamed(network, tmp_path / "end2end.mlpackage.zip", "coreml")
    with pytest.raises(MissingEngineError, match=r"Core ML runs on macOS, this is .*end2end.mlpackage.zip"):
        PoseRuntime(path)


@pytest.mark.skipif(platform.system() == "Darwin", reason="Core ML runs here")
def test_a_form_that_cannot_run_here_is_reported_as_not_measured(network, monkeypatch):
    monkeypatch.setattr(
        "ehrpose.deploy.export.precision.convert", lambda name, source: {"end2end.mlpackage.zip": b"PK"}
    )
    sidecar = read_sidecar(network)
    images = Samples([np.zeros((3, 128, 128), np.float32)], given=False)
    form = lower_precision(network, b"", sidecar, ExportOptions("coreml", "fp16"), images)
    assert form.computed_in is None
    assert "not measured: Core ML runs on macOS" in form.report
    assert form.report.endswith("the errors are those of the network before its conversion")


def test_packages_are_unpacked_and_others_refused(tmp_path):
    path = tmp_path / "a.mlpackage.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.mlpackage/Manifest.json", "{}")
    assert (unpacked_package(path, tmp_path / "one") / "Manifest.json").read_text() == "{}"
    path.write_bytes(b"no archive")
    with pytest.raises(DeployError, match=r"damaged.*export again"):
        unpacked_package(path, tmp_path / "two")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("weights.bin", "")
    path.write_bytes(buffer.getvalue())
    with pytest.raises(DeployError, match=r"expected one \.mlpackage in it, got 0"):
        unpacked_package(path, tmp_path / "three")


def test_only_engines_with_chips_take_a_target():
    assert ExportOptions("rknn", "fp16").chip == "rk3588"
    assert ExportOptions("rknn", "fp16", target="rk3566").chip == "rk3566"
    with pytest.raises(ValueError, match=r"`target`: expected rk3588 or .* for rknn, got rk1"):
        ExportOptions("rknn", "fp16", target="rk1")
    with pytest.raises(ValueError, match="`target`: expected none for mnn, got rk3588"):
        ExportOptions("mnn", target="rk3588")
    with pytest.raises(ValueError, match="`precision`: expected fp16 or int8 for rknn, got fp32"):
        ExportOptions("rknn")
    with pytest.raises(ValueError, match="`decode`: expected none for coreml, got peaks"):
        ExportOptions("coreml", decode="peaks")


def test_converters_cannot_install_packages(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "0")
    assert (
        run_converter("X", ["python3", "-c", "import os; print(os.environ['PIP_NO_INDEX'])"], tmp_path)
        == "1\n\n"
    )


def test_networks_with_several_sizes_are_calibrated_in_the_shape_of_most_photos(source):
    sidecar = Sidecar(
        **{**vars(source.sidecar), "input": {**source.sidecar.input, "shapes": [[64, 96], [96, 64]]}}
    )
    images = [np.zeros(shape, np.float32) for shape in ((3, 96, 64), (3, 64, 96), (3, 96, 64))]
    given = Source(source.path, sidecar, "x", "int8", images, "rk3588")
    shapes, alike = rknn._by_shape(given)
    assert shapes == [[1, 3, 96, 64], [1, 3, 64, 96]]
    assert [image.shape for image in alike] == [(3, 96, 64)] * 2
