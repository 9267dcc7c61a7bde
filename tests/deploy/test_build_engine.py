"""The builder, against a recording tensorrt and libcudart."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from build_machine import JETSON, RTX, TRT_10, TRT_11, WEAK, photos
from fake_cudart import FakeCudart
from fake_tensorrt import CONVOLUTION, HALF_CONVOLUTION, PLAN, QUANTIZE, SHAPE, write_onnx
from trt_api import RELEASES

from ehrpose.deploy.sidecar import DeployError, read_sidecar
from ehrpose.deploy.tensorrt import cuda
from ehrpose.registry import BACKENDS

PEAKS = [
    CONVOLUTION,
    ["ELEMENTWISE", "sum", ["heat4"], {"heat2": "FLOAT"}],
    ["POOLING", "MaxPool", ["heat2"], {"highest": "FLOAT"}],
    ["ELEMENTWISE", "Equal", ["highest", "heat2"], {"is_peak": "BOOL"}],
    ["SHUFFLE", "zeros", ["constant"], {"zeros_out": "FLOAT"}],
    ["SELECT", "Where", ["is_peak", "heat2", "zeros_out"], {"kept": "FLOAT"}],
    ["SHUFFLE", "Reshape", ["kept"], {"flat": "FLOAT"}],
    ["SHUFFLE", "number", ["k"], {"k_out": "INT32"}],
    ["TOPK", "TopK", ["flat", "k_out"], {"scores": "FLOAT", "pixels": "INT32"}],
    ["SHUFFLE", "after", ["scores"], {"out": "FLOAT"}],
]


@pytest.mark.parametrize("release", RELEASES)
def test_builds_on_every_release_what_its_runner_takes(machine, release):
    machine.use(release)
    engine = machine.build()
    assert json.loads(engine.read_bytes()) == PLAN
    assert machine.files() == sorted(
        ["end2end.engine", "end2end.engine.json", "end2end.onnx", "end2end.onnx.json"]
        + ["timing.cache"] * (release != RTX)
    )
    assert machine.calls("Builder.create_network()") == [(1 if release in WEAK else 0,)]
    assert machine.calls("IBuilderConfig.set_memory_pool_limit()") == [("MemoryPoolType.WORKSPACE", 1 << 30)]
    sidecar = read_sidecar(engine)
    assert (sidecar.backend, sidecar.precision) == (machine.backend, "fp32")
    wanted = {"version": machine.trt.__version__, "sm": None if release == RTX else "7.2", "gpu": "Xavier",
              "cuda_runtime": "11.4", "workspace_mib": 1024, "flags": [], "onnx": "end2end.onnx", "max_batch": 1,
              "timing_cache": None if release == RTX else "timing.cache"}  # fmt: skip
    assert {name: sidecar.engine[name] for name in wanted} == wanted
    assert machine.cudart.alive == {}
    with BACKENDS.build({"type": machine.backend, "path": str(engine)}) as backend:
        found = backend.run(np.full(SHAPE, 4, np.float32))
    assert (found["heat4"].max(), found["tag4"].max()) == (5, 6)


@pytest.mark.parametrize(
    ("release", "layers", "precision", "wanted"),
    [
        *((release, [CONVOLUTION], "fp16", ["FP16"]) for release in WEAK),
        *((release, [HALF_CONVOLUTION], "fp16", ["FP16"]) for release in WEAK),
        *((release, [QUANTIZE, CONVOLUTION], "int8", ["FP16", "INT8"]) for release in WEAK),
        *((release, [HALF_CONVOLUTION], None, []) for release in (TRT_11, RTX)),
        *((release, [QUANTIZE, CONVOLUTION], "int8", []) for release in (TRT_11, RTX)),
        *((release, [CONVOLUTION], None, []) for release in RELEASES),
    ],
)
def test_precision_comes_from_flags_or_from_the_file(machine, release, layers, precision, wanted):
    machine.use(release)
    engine = machine.build(write_onnx(machine.folder, layers), precision=precision)
    assert machine.flags() == wanted == read_sidecar(engine).engine["flags"]
    kinds = {"HALF": "fp16", "INT8": "int8"}
    typed = next((kinds[d] for layer in layers for d in layer[3].values() if d in kinds), "fp32")
    assert read_sidecar(engine).precision == (precision or typed)


@pytest.mark.parametrize(
    ("release", "layers", "options", "message"),
    [
        (TRT_11, [CONVOLUTION], {"precision": "fp16"},
         r"TensorRT 11\.4\.0\.106 takes fp16 from the ONNX file only.*tools/deploy\.py, `precision=.fp16.` and `typed"),
        (RTX, [CONVOLUTION], {"precision": "fp16"}, "TensorRT-RTX 1.7.1.116 takes fp16 from the ONNX file only"),
        (JETSON, [CONVOLUTION], {"precision": "int8"}, "has no Q/DQ.*or give calibration images with `calib_data`"),
        (TRT_11, [CONVOLUTION], {"precision": "int8", "calib_data": "x"}, r"`precision='int8'`$"),
        (JETSON, [HALF_CONVOLUTION], {"precision": "fp32"}, "is already fp16, so `precision=.fp32.` is not"),
        (JETSON, [QUANTIZE], {"precision": "fp16"}, "the ONNX file is already int8"),
        (JETSON, [CONVOLUTION], {"optimization_level": 3}, "needs TensorRT 8.6 or newer, this is 8.5.2.2"),
        (JETSON, [CONVOLUTION], {"dla_core": 2, "precision": "fp16"}, r"has 2 DLA cores, got `dla_core=2`"),
        (TRT_10, [CONVOLUTION], {"dla_core": 0, "precision": "fp16"}, r"has 0 DLA cores"),
        (JETSON, [CONVOLUTION], {"dla_core": 0}, "not in fp32: add `precision='fp16'`"),
        (JETSON, [CONVOLUTION], {"max_batch": 4}, "fixed batch size of 1, got `max_batch=4`: export it with"),
    ],
)  # fmt: skip
def test_what_cannot_be_built_is_named(machine, release, layers, options, message):
    machine.use(release)
    with pytest.raises(DeployError, match=message):
        machine.build(write_onnx(machine.folder, layers), **options)
    assert machine.files() == ["end2end.onnx", "end2end.onnx.json"]
    assert (machine.cudart.alive, machine.calls("Builder.build_serialized_network()")) == ({}, [])


@pytest.mark.parametrize("release", RELEASES)
def test_layers_that_find_peaks_stay_float32(machine, release):
    machine.use(release)
    typed = [HALF_CONVOLUTION, *PEAKS[1:]] if release not in WEAK else PEAKS
    engine = machine.build(write_onnx(machine.folder, typed, decode="peaks"), precision="fp16")
    if release not in WEAK:
        assert (machine.calls("pinned"), machine.flags()) == ([], [])
        return
    names = ["MaxPool", "Equal", "zeros", "Where", "Reshape", "TopK"]
    assert machine.calls("pinned") == [(name, "DataType.FLOAT") for name in names]
    kept = [(name, 0, "DataType.FLOAT") for name in names if name != "Equal"]
    assert machine.calls("ILayer.set_output_type()") == kept
    assert machine.flags() == ["FP16", "OBEY_PRECISION_CONSTRAINTS"]
    assert read_sidecar(engine).engine["pinned_layers"] == 6


def test_missing_peaks(machine, capsys):
    with pytest.raises(DeployError, match="with `decode='peaks'`, but has no TopK"):
        machine.build(write_onnx(machine.folder, decode="peaks"), precision="fp16")
    machine.build(write_onnx(machine.folder, [QUANTIZE, *PEAKS], decode="peaks"))
    layers = [f"{name}:fp32" for name in ("MaxPool", "Equal", "zeros", "Where", "Reshape", "TopK")]
    given = [layer for layer in layers if layer[:5] not in ("Equal", "TopK:")]
    assert (
        f"--int8 --fp16 --precisionConstraints=obey --layerPrecisions={','.join(layers)} "
        f"--layerOutputTypes={','.join(given)}\n"
    ) in capsys.readouterr().out
    machine.use(TRT_11)
    machine.build(write_onnx(machine.folder, [HALF_CONVOLUTION, *PEAKS[1:]], decode="peaks"))
    shown = capsys.readouterr().out
    assert "trtexec" in shown
    assert "--fp16" not in shown.split("trtexec")[1]


def test_every_error_of_the_parser_is_listed(machine):
    errors = [[3, "no importer for Selu"], [-1, "broken"]]
    with pytest.raises(
        DeployError, match=r"cannot read .*: 1\. node 3: no importer for Selu 2\. node -1: broken; exp"
    ):
        machine.build(write_onnx(machine.folder, errors=errors))
    assert machine.files() == ["end2end.onnx", "end2end.onnx.json"]


def test_a_failed_build_leaves_what_was_there(machine):
    onnx = write_onnx(machine.folder)
    onnx.with_suffix(".engine").write_bytes(b"old")
    machine.use(fail=["no_plan"])
    with pytest.raises(DeployError, match=r"Could not find any implementation for node Conv_0\.. If memory ran out: .*"
                       r"--workspace-mib \(now 512\)"):  # fmt: skip
        machine.build(onnx, workspace_mib=512)
    assert machine.files() == ["end2end.engine", "end2end.onnx", "end2end.onnx.json"]
    assert onnx.with_suffix(".engine").read_bytes() == b"old"
    machine.use(fail=["no_builder"])
    with pytest.raises(
        DeployError, match=r"builder cannot start .*CUDA initialization failure with error: 35"
    ):
        machine.build(onnx)
    assert machine.cudart.alive == {}


def test_no_driver(machine):
    machine.cudart.fail["cudaGetDeviceCount"] = (1, 35)
    with pytest.raises(DeployError, match="CUDA error 35"):
        machine.build()
    machine.use(RTX)
    machine.cudart.fail["cudaGetDeviceCount"] = (1, 35)
    record = read_sidecar(machine.build()).engine
    assert (record["sm"], record["gpu"], record["cuda_runtime"]) == (None, None, None)


@pytest.mark.parametrize("name", ["timing.cache", "end2end.engine.json", "end2end.engine"])
def test_renaming_that_fails_leaves_nothing_half_written(machine, monkeypatch, name):
    rename = os.replace

    def refuse(source, target):
        if str(target).endswith(name):
            raise PermissionError(13, "denied", str(target))
        rename(source, target)

    onnx = write_onnx(machine.folder)
    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(PermissionError):
        machine.build(onnx)
    assert not [file for file in machine.files() if "partial" in file or file.startswith("end2end.engine")]
    assert machine.cudart.alive == {}


def test_unwritable_places_are_found_before_building(machine):
    (machine.folder / "file").write_text("")
    with pytest.raises(DeployError, match=r"cannot write to .*file: .*--out"):
        machine.build(out=machine.folder / "file" / "a.engine")
    with pytest.raises(DeployError, match=r"must end in \.engine, got"):
        machine.build(out=machine.folder / "a.plan")
    with pytest.raises(FileNotFoundError, match="exported network not found"):
        machine.build(onnx=machine.folder / "other.onnx")
    assert machine.calls("Builder.build_serialized_network()") == []


def test_timing_cache_grows_from_build_to_build(machine, capsys):
    cache = machine.folder / "timing.cache"
    machine.build()
    assert cache.read_bytes() == b" and more"
    machine.build()
    assert cache.read_bytes() == b" and more and more"
    machine.use(fail=["bad_cache"])
    machine.build()
    assert cache.read_bytes() == b" and more"
    assert "is from another device or TensorRT version and will be rebuilt" in capsys.readouterr().out
    machine.build(timing_cache=str(machine.folder / "mine"))
    assert (machine.folder / "mine").read_bytes() == b" and more"
    assert not [name for name in machine.files() if "partial" in name]


def test_deep_learning_accelerator(machine):
    engine = machine.build(precision="fp16", dla_core=1, gpu_fallback=True)
    assert machine.calls("IBuilderConfig.default_device_type =") == ["DeviceType.DLA"]
    assert machine.calls("IBuilderConfig.DLA_core =") == [1]
    assert machine.flags() == ["FP16", "GPU_FALLBACK"]
    record = read_sidecar(engine).engine
    assert (record["dla_core"], record["gpu_fallback"]) == (1, True)


def test_dynamic_batch(machine, capsys):
    onnx = write_onnx(machine.folder, shape=[-1, *SHAPE[1:]])
    with pytest.raises(DeployError, match="set the maximum with `max_batch`"):
        machine.build(onnx)
    engine = machine.build(onnx, max_batch=4)
    elsewhere = FakeCudart(sm="8.7")
    machine.monkeypatch.setattr(cuda, "load_library", lambda: elsewhere)
    with pytest.raises(DeployError, match=r"SM 8.7; .* --precision fp32 --max-batch 4 --out end2end.engine"):
        BACKENDS.build({"type": "tensorrt", "path": str(engine)})
    machine.monkeypatch.setattr(cuda, "load_library", lambda: machine.cudart)
    image = tuple(SHAPE[1:])
    assert machine.calls("IOptimizationProfile.set_shape()") == [
        ("input", (1, *image), (4, *image), (4, *image))
    ]
    assert len(machine.calls("IBuilderConfig.add_optimization_profile()")) == 1
    assert read_sidecar(engine).engine["max_batch"] == 4
    assert (
        "--minShapes=input:1x3x32x64 --optShapes=input:4x3x32x64 --maxShapes=input:4x3x32x64"
        in capsys.readouterr().out
    )
    with pytest.raises(DeployError, match="`calib_data` needs a fixed batch"):
        machine.build(onnx, max_batch=4, precision="int8", calib_data=str(photos(machine)))


def test_optimization_level(machine):
    machine.use(TRT_10)
    machine.build(optimization_level=5)
    assert machine.calls("IBuilderConfig.builder_optimization_level =") == [5]
