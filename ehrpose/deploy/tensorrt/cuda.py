"""The part of the CUDA runtime needed to run an engine, through ctypes (no pycuda, no torch, Python 3.8).

Source of names and numbers: cuda_runtime_api.h and driver_types.h; only functions that CUDA 11.4 (JetPack 5), 12
and 13 share. A ``Cuda`` owns all resources that it creates: ``close`` frees them, newest first.
"""

from __future__ import annotations

import ctypes
import glob
import importlib.util
import os
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_uint, c_ulonglong, c_void_p
from typing import Any, Callable, Dict, List, Optional, Tuple

import numpy as np

from ehrpose.deploy.sidecar import DeployError

LIBRARIES = ("libcudart.so", "libcudart.so.11.0", "libcudart.so.12", "libcudart.so.13")
# cudaMemcpyKind, cudaDeviceAttr, cudaStreamFlags and cudaStreamCaptureMode.
TO_DEVICE, TO_HOST = 1, 2
_MAJOR, _MINOR = 75, 76
_NON_BLOCKING = 1
_THREAD_LOCAL = 1
# cudaDeviceProp begins with a name of 256 characters; its total size differs between releases but is far below this.
_NAME_LENGTH, _PROPERTIES_LENGTH = 256, 1 << 14

_SIGNATURES: Dict[str, Tuple[Any, ...]] = {
    "cudaRuntimeGetVersion": (POINTER(c_int),),
    "cudaGetDeviceCount": (POINTER(c_int),),
    "cudaGetDevice": (POINTER(c_int),),
    "cudaDeviceGetAttribute": (POINTER(c_int), c_int, c_int),
    "cudaGetDeviceProperties": (c_void_p, c_int),
    "cudaMalloc": (POINTER(c_void_p), c_size_t),
    "cudaFree": (c_void_p,),
    "cudaMallocHost": (POINTER(c_void_p), c_size_t),
    "cudaFreeHost": (c_void_p,),
    "cudaMemcpyAsync": (c_void_p, c_void_p, c_size_t, c_int, c_void_p),
    "cudaStreamCreateWithFlags": (POINTER(c_void_p), c_uint),
    "cudaStreamSynchronize": (c_void_p,),
    "cudaStreamDestroy": (c_void_p,),
    "cudaStreamBeginCapture": (c_void_p, c_int),
    "cudaStreamEndCapture": (c_void_p, POINTER(c_void_p)),
    "cudaGraphInstantiateWithFlags": (POINTER(c_void_p), c_void_p, c_ulonglong),
    "cudaGraphLaunch": (c_void_p, c_void_p),
    "cudaGraphDestroy": (c_void_p,),
    "cudaGraphExecDestroy": (c_void_p,),
}
_ADVICE = {
    2: "out of memory: close other programs, or use a smaller model, input or batch",
    3: "the driver does not start: check dmesg, restart the device",
    35: "the NVIDIA driver is missing or older than this CUDA: install or update the driver, or run on the Jetson",
    46: "the GPU is busy or in exclusive mode: stop the program that uses it",
    100: "no NVIDIA GPU found: nvidia-smi (tegrastats on a Jetson) must list one; in a container pass it through",
    209: "the engine was not built for this GPU: build it again on this device",
    700: "the network accessed invalid memory: build the engine again on this device",
    803: "driver and CUDA do not match: restart after a driver update, or install the matching CUDA",
}


class Cuda:
    """The CUDA runtime of this process, on its current device, and the resources allocated through it.

    Args:
        library: A loaded libcudart; None: search for one.

    Raises:
        DeployError: No libcudart, no driver, or no GPU.
    """

    def __init__(self, library: Any = None):
        self._library = load_library() if library is None else library
        self._owned: Dict[Tuple[str, int], Callable[[], None]] = {}
        for name in ("cudaGetErrorName", "cudaGetErrorString"):
            function = getattr(self._library, name)
            function.argtypes, function.restype = (c_int,), c_char_p
        for name, argtypes in _SIGNATURES.items():
            function = getattr(self._library, name, None)
            if function is None:
                raise DeployError(f"libcudart has no {name}: CUDA 11.4 (JetPack 5) or newer is needed")
            function.argtypes, function.restype = argtypes, c_int
        count = c_int()
        self._call("cudaGetDeviceCount", byref(count))
        device = c_int()
        self._call("cudaGetDevice", byref(device))
        self._device = device.value

    def runtime_version(self) -> str:
        """Return the version of libcudart, e.g. ``"11.4"``."""
        version = c_int()
        self._call("cudaRuntimeGetVersion", byref(version))
        return f"{version.value // 1000}.{version.value % 1000 // 10}"

    def compute_capability(self) -> str:
        """Return the SM version of the device, e.g. ``"7.2"`` for a Jetson Xavier."""
        parts = []
        for attribute in (_MAJOR, _MINOR):
            value = c_int()
            self._call("cudaDeviceGetAttribute", byref(value), attribute, self._device)
            parts.append(str(value.value))
        return ".".join(parts)

    def device_name(self) -> str:
        """Return the name of the device, e.g. ``"Xavier"``."""
        properties = ctypes.create_string_buffer(_PROPERTIES_LENGTH)
        self._call("cudaGetDeviceProperties", properties, self._device)
        return properties.raw[:_NAME_LENGTH].split(b"\0", 1)[0].decode("utf-8", "replace")

    def device_memory(self, num_bytes: int) -> int:
        """Allocate GPU memory; return its address."""
        return self._create("cudaMalloc", "cudaFree", c_size_t(num_bytes))

    def pinned_array(self, shape: Tuple[int, ...], dtype: Any) -> np.ndarray:
        """Allocate page-locked host memory, the only kind that is copied asynchronously.

        Returns:
            An array over that memory; do not use it after ``close``.
        """
        dtype = np.dtype(dtype)
        num_bytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        address = self._create("cudaMallocHost", "cudaFreeHost", c_size_t(num_bytes))
        memory = (ctypes.c_uint8 * num_bytes).from_address(address)
        return np.frombuffer(memory, dtype).reshape(shape)

    def stream(self) -> int:
        """Create a stream that does not synchronise with the default one; return its handle."""
        return self._create("cudaStreamCreateWithFlags", "cudaStreamDestroy", c_uint(_NON_BLOCKING))

    def copy_async(self, target: int, source: int, num_bytes: int, kind: int, stream: int) -> None:
        """Copy memory in a stream; ``kind`` is TO_DEVICE or TO_HOST."""
        self._call("cudaMemcpyAsync", target, source, num_bytes, kind, stream)

    def synchronize(self, stream: int) -> None:
        """Wait until a stream has finished all its work."""
        self._call("cudaStreamSynchronize", stream)

    def capture(self, stream: int, work: Callable[[], None]) -> int:
        """Record what ``work`` enqueues in a stream, without running it; return a graph for ``launch``."""
        graph = c_void_p()
        self._call("cudaStreamBeginCapture", stream, _THREAD_LOCAL)
        try:
            work()
        except BaseException:
            # A stream left in capture mode accepts no other work, so end the capture, whatever the result.
            if self._library.cudaStreamEndCapture(stream, byref(graph)) == 0 and graph.value:
                self._library.cudaGraphDestroy(graph)
            raise
        self._call("cudaStreamEndCapture", stream, byref(graph))
        try:
            return self._create(
                "cudaGraphInstantiateWithFlags", "cudaGraphExecDestroy", graph, c_ulonglong(0)
            )
        finally:
            self._library.cudaGraphDestroy(graph)

    def launch(self, graph: int, stream: int) -> None:
        """Run a captured graph in a stream."""
        self._call("cudaGraphLaunch", graph, stream)

    def close(self) -> None:
        """Free everything, newest first; a second call has no effect."""
        while self._owned:
            self._owned.popitem()[1]()

    def _create(self, create: str, destroy: str, *arguments: Any) -> int:
        """Call a function that creates a handle; remember how to free it."""
        handle = c_void_p()
        self._call(create, byref(handle), *arguments)
        value = int(handle.value or 0)
        function = getattr(self._library, destroy)
        # The result is ignored: after a failed kernel every call reports that kernel's error again.
        self._owned[(destroy, value)] = lambda: function(value)
        return value

    def _call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._library, name)(*arguments)
        if code != 0:
            label = self._library.cudaGetErrorName(code) or b"unknown error"
            text = self._library.cudaGetErrorString(code) or b""
            advice = _ADVICE.get(code, "restart the program; if the error persists, check dmesg")
            raise DeployError(
                f"{name} failed with CUDA error {code} {label.decode()} ({text.decode()}): {advice}"
            )


def load_library() -> Any:
    """Load libcudart.

    Raises:
        DeployError: None was found.
    """
    for name in (*LIBRARIES, *_other_places()):
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise DeployError(
        f"CUDA runtime not found (tried {', '.join(LIBRARIES)}): on a Jetson it comes with JetPack (sudo apt "
        "install nvidia-jetpack); elsewhere pip install nvidia-cuda-runtime-cu12, or add its folder to LD_LIBRARY_PATH"
    )


def _other_places() -> List[str]:
    """Return libraries that the loader does not search for: those of the toolkit and of NVIDIA's pip packages."""
    folders = [os.path.join(os.environ.get("CUDA_HOME", "/usr/local/cuda"), lib) for lib in ("lib64", "lib")]
    packages: Optional[Any] = importlib.util.find_spec("nvidia")
    for folder in (packages.submodule_search_locations or []) if packages is not None else []:
        folders += [os.path.join(folder, "*", "lib")]
    return sorted(path for folder in folders for path in glob.glob(os.path.join(folder, "libcudart.so*")))
