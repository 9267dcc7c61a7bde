"""The runner, against a recording tensorrt and libcudart."""

from __future__ import annotations

import json
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from fake_cudart import FakeCudart
from fake_tensorrt import OUTPUTS, PLAN, SHAPE, make_tensorrt, write_onnx
from trt_api import RELEASES

from ehrpose.deploy.sidecar import DeployError, file_hash, read_sidecar, sidecar_path
from ehrpose.deploy.tensorrt import cuda
from ehrpose.registry import BACKENDS

DYNAMIC = {"tensors": [[n, m, [-1, *s[1:]], d] for n, m, s, d in PLAN["tensors"]], "max": 2}


class Device:
    """A machine with TensorRT: ``write`` an engine for it, ``load`` it."""

    def __init__(self, folder, monkeypatch):
        self.folder, self.monkeypatch = folder, monkeypatch
        self.use()

    def use(self, release="8.5.2.2", trt_fail=(), **options):
        self.cudart = FakeCudart(**options)
        self.trt = make_tensorrt(release, self.cudart, trt_fail)
        self.cudart.users = self.trt.alive
        self.name = "tensorrt_rtx" if release.startswith("rtx") else "tensorrt"
        self.monkeypatch.setitem(sys.modules, self.name, self.trt)
        self.monkeypatch.setattr(cuda, "load_library", lambda: self.cudart)

    def write(self, plan=PLAN, record=None, **changes):
        onnx = write_onnx(self.folder, shape=[min(plan["tensors"][0][2][0], 1), *SHAPE[1:]])
        engine = onnx.with_suffix(".engine")
        engine.write_text(json.dumps(plan))
        default = {"version": self.trt.__version__, "sm": self.cudart.sm, "onnx": onnx.name,
                   "onnx_sha256": file_hash(onnx)}  # fmt: skip
        sidecar = replace(
            read_sidecar(onnx), backend=self.name, precision="fp16",
            sha256={engine.name: file_hash(engine)}, engine={**default, **(record or {})},
        )  # fmt: skip
        replace(sidecar, **changes).write(engine)
        return engine

    def load(self, plan=PLAN, **options):
        return BACKENDS.build({"type": self.name, "path": str(self.write(plan)), **options})

    def calls(self, name):
        return [arguments for called, arguments in self.trt.record if called == name]

    def is_clean(self):
        return (self.cudart.alive, self.cudart.wrong, self.trt.alive) == ({}, [], [])


@pytest.fixture
def device(tmp_path, monkeypatch):
    return Device(tmp_path, monkeypatch)


def images(*values):
    return np.stack([np.full(SHAPE[1:], value, np.float32) for value in values])


def check(results, *values):
    """Output n is the image's value plus n."""
    assert list(results) == list(OUTPUTS)
    for place, (name, shape) in enumerate(OUTPUTS.items(), 1):
        assert results[name].shape == (len(values), *shape[1:])
        assert results[name].dtype == (np.int32 if name == "tag4" else np.float32)
        wanted = np.array(values, np.float32).reshape(-1, *[1] * (len(shape) - 1)) + place
        np.testing.assert_array_equal(results[name], np.broadcast_to(wanted, results[name].shape))


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("cuda_graph", [False, True])
def test_runs_on_every_release(device, release, cuda_graph):
    device.use(release)
    with device.load(cuda_graph=cuda_graph) as backend:
        first = backend.run(images(3))
        check(backend.run(images(5)), 5)
        check(first, 3)  # results are copies
        assert backend.cuda_graph is cuda_graph
    assert device.is_clean()
    assert len(device.calls("IExecutionContext.execute_async_v3()")) == 2
    assert device.cudart.calls.count("cudaGraphLaunch") == 2 * cuda_graph
    backend.close()
    with pytest.raises(DeployError, match="was closed"):
        backend.run(images(1))
    assert device.is_clean()


def test_one_run_copies_computes_and_copies_back_in_one_stream(device):
    backend = device.load()
    device.cudart.calls.clear()
    start = len(device.trt.record)
    backend.run(images(1))
    assert device.cudart.calls == ["cudaMemcpyAsync"] * 3 + ["cudaStreamSynchronize"]
    names = [name for name, _ in device.trt.record[start:] if name.endswith("()")]
    assert names == ["IExecutionContext.execute_async_v3()"]
    addresses = dict(device.calls("IExecutionContext.set_tensor_address()"))
    assert list(addresses) == ["input", *OUTPUTS]
    assert all(device.cudart.alive[address] == "cudaFree" for address in addresses.values())


def test_a_backend_that_is_dropped_frees_everything(device):
    backend = device.load()
    backend.run(images(1))
    assert not device.is_clean()
    del backend
    assert device.is_clean()


def test_any_batch_runs_in_parts_of_the_largest(device):
    with device.load(DYNAMIC) as backend:
        check(backend.run(images(1, 2, 3, 4, 5)), 1, 2, 3, 4, 5)
        shapes = [shape[0] for _, shape in device.calls("IExecutionContext.set_input_shape()")]
        assert shapes == [2, 1]
        check(backend.run(images(7)), 7)
        check(backend.run(images(8, 9)), 8, 9)
        check(backend.run(images(0)[:0]))
        assert len(device.calls("IExecutionContext.set_tensor_address()")) == 3
    with device.load(DYNAMIC, cuda_graph=True) as backend:
        check(backend.run(images(6)), 6)
        check(backend.run(images(1, 2, 3)), 1, 2, 3)
        assert device.cudart.calls.count("cudaStreamBeginCapture") == 1
    assert device.is_clean()


def test_threads_take_turns(device):
    backend = device.load()
    run = device.cudart.do

    def slowly(work):
        time.sleep(0.0005)
        run(work)

    device.cudart.do = slowly
    ready = threading.Barrier(8)
    with ThreadPoolExecutor(8, initializer=ready.wait) as pool:
        found = list(pool.map(lambda value: backend.run(images(value)), range(100)))
    for value, result in enumerate(found):
        check(result, value)


def test_only_the_gpu_is_accepted(device):
    path = device.write()
    for given in (None, "cuda", "cuda:0"):
        with BACKENDS.build({"type": "tensorrt", "path": str(path), "device": given}) as backend:
            assert backend.device == "cuda:0"
    for given in ("cpu", "cuda:1", "nonsense"):
        message = f"tensorrt runs end2end.engine on the first GPU that CUDA shows: expected .* got '{given}'"
        with pytest.raises(DeployError, match=message):
            BACKENDS.build({"type": "tensorrt", "path": str(path), "device": given})
    assert device.is_clean()


def test_a_renamed_engine_is_that_engine(device):
    path = device.write()
    renamed = path.with_name("pose.engine")
    path.rename(renamed)
    sidecar_path(path).rename(sidecar_path(renamed))
    (device.folder / "end2end.onnx").write_bytes(b"of another engine")
    BACKENDS.build({"type": "tensorrt", "path": str(renamed)}).close()
    (device.folder / "pose.onnx").write_bytes(b"of another engine")
    with pytest.raises(DeployError, match=r"was not built from the pose\.onnx next to it"):
        BACKENDS.build({"type": "tensorrt", "path": str(renamed)})


@pytest.mark.parametrize(
    ("record", "changes", "message"),
    [
        ({"version": "8.6.1.6", "sm": "8.6"}, {},
         r"was built for TensorRT 8\.6\.1\.6 on SM 8\.6, this device has TensorRT 8\.5\.2\.2 on SM 7\.2; .* rebuild it "
         r"here with python -m ehrpose\.deploy\.build_engine end2end\.onnx --precision fp16 --out end2end\.engine"),
        ({"version": "8.5.2.1"}, {}, r"TensorRT 8\.5\.2\.1 on SM 7\.2, this"),
        ({"version": "8.5"}, {}, "engines are not portable"),
        ({"sm": "8.7", "dla_core": 1, "gpu_fallback": True, "max_batch": 1}, {},
         "fp16 --dla-core 1 --gpu-fallback --out"),
        ({"workspace_mib": "lots"}, {}, r"json: engine\.workspace_mib: expected a whole number .*, got \"lots\""),
        ({"sm": "8.7", "gpu_fallback": True}, {}, "on SM 8.7, this device"),  # as no build has it
        ({"onnx_sha256": "0" * 64}, {}, "was not built from the end2end.onnx next to it: rebuild"),
        ({}, {"engine": None}, "does not say what the engine was built for"),
        ({}, {"backend": "tensorrt_rtx"}, "built for TensorRT-RTX 8.5.2.2"),
        ({}, {"sha256": {"end2end.engine": "0" * 64}}, "is not the file that"),
    ],
)  # fmt: skip
def test_engines_from_another_device_are_refused_before_loading(device, record, changes, message):
    path = device.write(record=record, **changes)
    with pytest.raises(DeployError, match=message):
        BACKENDS.build({"type": "tensorrt", "path": str(path)})
    assert device.calls("Runtime.deserialize_cuda_engine()") == []
    assert device.is_clean()


def test_engines_from_the_same_device_are_accepted(device):
    path = device.write(record={"version": "8.5.2"})  # the package omits the last part
    BACKENDS.build({"type": "tensorrt", "path": str(path)}).close()
    (device.folder / "end2end.onnx").unlink()  # a device needs the engine only
    BACKENDS.build({"type": "tensorrt", "path": str(path)}).close()
    assert len(device.calls("Runtime.deserialize_cuda_engine()")) == 2


def test_an_engine_of_an_accelerator_runs_on_its_core(device):
    path = device.write(record={"dla_core": 1})
    BACKENDS.build({"type": "tensorrt", "path": str(path)}).close()
    assert device.calls("Runtime.DLA_core =") == [1]
    device.use()
    device.load().close()
    assert device.calls("Runtime.DLA_core =") == []


def test_rtx_engines_run_on_other_gpus_of_their_kind(device):
    device.use("rtx 1.7.1.116", sm="8.9")
    path = device.write(record={"sm": None})
    BACKENDS.build({"type": "tensorrt_rtx", "path": str(path)}).close()
    assert device.is_clean()


@pytest.mark.parametrize(
    ("fail", "message"),
    [
        ("no_builder", None),  # the runner needs none
        ("no_engine", r"cannot load .* \(Version tag does not match\): it is damaged or from another device"),
        ("no_context", "probably out of memory"),
        ("no_address", "rejected the memory of input"),
        ("no_shape", r"rejected a batch of \[2, 3, 32, 64\]"),
    ],
)
def test_failures_of_tensorrt_while_loading_free_everything(device, fail, message):
    device.use(trt_fail=[fail])
    if message is None:
        device.load(DYNAMIC).close()
    else:
        with pytest.raises(DeployError, match=message):
            device.load(DYNAMIC)
    assert device.is_clean()


@pytest.mark.parametrize(
    "fail",
    [("cudaGetDeviceCount", 1), ("cudaDeviceGetAttribute", 2), ("cudaStreamCreateWithFlags", 1),
     *(("cudaMalloc", n) for n in (1, 2, 3)), *(("cudaMallocHost", n) for n in (1, 2, 3))],
    ids=str,
)  # fmt: skip
def test_failures_of_cuda_while_loading_free_everything(device, fail):
    device.use(fail={fail[0]: (fail[1], 2)})
    with pytest.raises(DeployError, match=f"{fail[0]} failed with CUDA error 2 cudaErrorMemoryAllocation"):
        device.load()
    assert device.is_clean()


@pytest.mark.parametrize(
    "name", ["cudaMemcpyAsync", "cudaStreamSynchronize", "execute", "cudaStreamEndCapture"]
)
def test_failures_while_running_are_errors_and_close_still_frees(device, name):
    if name == "execute":
        device.use(trt_fail=["no_execution"])
    else:
        device.use(fail={name: (1, 700)})
    backend = device.load(cuda_graph=True)
    with pytest.raises(DeployError, match=f"TensorRT failed on|{name} failed with CUDA error 700"):
        backend.run(images(1))
    backend.close()
    assert device.is_clean()


def changed(place, position, value):
    tensors = [list(tensor) for tensor in PLAN["tensors"]]
    tensors[place][position] = value
    return {"tensors": tensors, "max": 1}


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (changed(1, 0, "heat8"), r"outputs \['heat4', 'tag4'\] as in its JSON, got \['input'\] and \['heat8'"),
        (changed(1, 1, "INPUT"), r"got \['input', 'heat4'\] and"),
        (changed(0, 1, "OUTPUT"), r"got \[\] and"),
        (changed(0, 2, [1, 3, 64, 64]), r"images of \[\(64, 32\)\] px as in its JSON, got \[\(64, 64\)\]"),
        (changed(2, 2, [2, 17, 30]), r"tag4 has shape \(2, 17, 30\), expected 1 images"),
        (changed(2, 3, "FP8"), "tag4 has type DataType.FP8, expected one of"),
    ],
)  # fmt: skip
def test_engines_that_do_not_match_their_json(device, plan, message):
    with pytest.raises(DeployError, match=message):
        device.load(plan)
    assert device.is_clean()


def test_wrong_images_are_refused(device):
    backend = device.load()
    for wrong in (images(1).astype(np.uint8), images(1, 2), images(1)[..., :8]):
        with pytest.raises(ValueError, match="expected float32 images of shape"):
            backend.run(wrong)


@pytest.mark.parametrize(
    ("name", "message"),
    [("tensorrt", "on a Jetson it comes with JetPack"), ("tensorrt_rtx", "pip install tensorrt-rtx")],
)
def test_missing_package(device, monkeypatch, name, message):
    path = device.write()
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(DeployError, match=f"is not installed .*{message}"):
        BACKENDS.build({"type": name, "path": str(path)})
    with pytest.raises(DeployError, match=r"runs \.engine files"):
        BACKENDS.build({"type": name, "path": str(path.with_suffix(".onnx"))})
