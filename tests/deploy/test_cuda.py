from __future__ import annotations

import ctypes

import numpy as np
import pytest
from fake_cudart import FakeCudart

from ehrpose.deploy.sidecar import DeployError
from ehrpose.deploy.tensorrt import cuda
from ehrpose.deploy.tensorrt.cuda import TO_DEVICE, TO_HOST, Cuda


def test_memory_goes_to_the_device_and_back():
    library = FakeCudart()
    device = Cuda(library)
    one, other = device.pinned_array((2, 3), np.float32), device.pinned_array((2, 3), np.float32)
    address, stream = device.device_memory(one.nbytes), device.stream()
    one[...] = np.arange(6).reshape(2, 3)
    device.copy_async(address, one.ctypes.data, one.nbytes, TO_DEVICE, stream)
    device.copy_async(other.ctypes.data, address, one.nbytes, TO_HOST, stream)
    device.synchronize(stream)
    np.testing.assert_array_equal(other, one)
    assert len(library.alive) == 4
    device.close()
    device.close()
    assert (library.alive, library.wrong) == ({}, [])


def test_device_is_described():
    device = Cuda(FakeCudart(sm="8.6", version=12060))
    assert (device.compute_capability(), device.runtime_version()) == ("8.6", "12.6")
    assert device.device_name() == "Xavier"


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        (
            "cudaGetDeviceCount",
            35,
            "CUDA error 35 cudaErrorInsufficientDriver .*: the NVIDIA driver is missing",
        ),
        ("cudaGetDeviceCount", 100, "100 cudaErrorNoDevice .*: no NVIDIA GPU found"),
        ("cudaMalloc", 2, "cudaMalloc failed with CUDA error 2 .*: out of memory"),
        ("cudaStreamSynchronize", 700, "700 .* build the engine again on this device"),
        ("cudaMallocHost", 4711, r"4711 unknown error \(some words\): restart"),
    ],
)
def test_errors_say_what_to_do(name, code, message):
    def use():
        device = Cuda(FakeCudart(fail={name: (1, code)}))
        device.device_memory(8)
        device.pinned_array((8,), np.uint8)
        device.synchronize(device.stream())

    with pytest.raises(DeployError, match=message):
        use()


def test_old_or_missing_library(monkeypatch):
    with pytest.raises(DeployError, match=r"no cudaGraphInstantiateWithFlags: CUDA 11\.4"):
        Cuda(FakeCudart(missing=["cudaGraphInstantiateWithFlags"]))
    tried = []

    def missing(name):
        tried.append(name)
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    monkeypatch.setattr(cuda.glob, "glob", lambda pattern: [pattern.replace("*", "12")])
    with pytest.raises(
        DeployError, match=r"not found \(tried libcudart\.so, libcudart\.so\.11\.0.*LD_LIBRARY_PATH"
    ):
        Cuda()
    assert tried[:4] == list(cuda.LIBRARIES)
    assert "/usr/local/cuda/lib64/libcudart.so12" in tried or "CUDA_HOME" in cuda.os.environ


def test_graphs_replay_and_failed_captures_leave_nothing():
    library = FakeCudart()
    device = Cuda(library)
    stream, seen = device.stream(), []
    graph = device.capture(stream, lambda: library.do(lambda: seen.append(1)))
    assert seen == []
    device.launch(graph, stream)
    device.launch(graph, stream)
    assert seen == [1, 1]
    assert sorted(library.alive.values()) == ["cudaGraphExecDestroy", "cudaStreamDestroy"]

    def broken():
        raise KeyError("work")

    with pytest.raises(KeyError, match="work"):
        device.capture(stream, broken)
    assert library._capturing is None
    library.fail["cudaGraphInstantiateWithFlags"] = (2, 2)
    with pytest.raises(DeployError, match="cudaGraphInstantiateWithFlags failed"):
        device.capture(stream, lambda: None)
    device.close()
    assert (library.alive, library.wrong) == ({}, [])


def test_real_library_takes_the_calls():
    try:
        library = cuda.load_library()
    except DeployError as error:
        pytest.skip(str(error))
    count = ctypes.c_int()
    if library.cudaGetDeviceCount(ctypes.byref(count)) != 0:
        with pytest.raises(
            DeployError, match=r"cudaGetDeviceCount failed with CUDA error \d+ cudaError\w+ \(\w"
        ):
            Cuda(library)
        return
    device = Cuda(library)
    values = device.pinned_array((1000,), np.float32)
    values[...] = np.arange(1000)
    address, stream = device.device_memory(values.nbytes), device.stream()
    device.copy_async(address, values.ctypes.data, values.nbytes, TO_DEVICE, stream)
    device.synchronize(stream)
    values[...] = 0
    device.copy_async(values.ctypes.data, address, values.nbytes, TO_HOST, stream)
    device.synchronize(stream)
    np.testing.assert_array_equal(values, np.arange(1000))
    graph = device.capture(
        stream, lambda: device.copy_async(address, values.ctypes.data, values.nbytes, TO_DEVICE, stream)
    )
    values[...] = 7
    device.launch(graph, stream)
    values_again = device.pinned_array((1000,), np.float32)
    device.copy_async(values_again.ctypes.data, address, values.nbytes, TO_HOST, stream)
    device.synchronize(stream)
    np.testing.assert_array_equal(values_again, np.full(1000, 7))
    assert device.device_name()
    assert float(device.compute_capability()) > 3
    device.close()
