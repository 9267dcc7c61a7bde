"""A recording libcudart: memory is the host's, streams run immediately, graphs replay what was captured."""

from __future__ import annotations

import ctypes

# ruff: noqa: N802 (methods are named after CUDA's functions)

ERRORS = {2: b"cudaErrorMemoryAllocation", 35: b"cudaErrorInsufficientDriver", 100: b"cudaErrorNoDevice",
          700: b"cudaErrorIllegalAddress"}  # fmt: skip


class _Function:
    """Stands for a ctypes function: callable, with argtypes and restype."""

    def __init__(self, library, name):
        self.library, self.name = library, name

    def __call__(self, *arguments):
        return self.library.called(self.name, arguments)


def _number(value):
    return int(getattr(value, "value", value) or 0)


class FakeCudart:
    """Attributes: ``calls`` names in order, ``alive`` handle to what frees it, ``wrong`` what was freed twice
    or too early, ``fail`` name to (n-th call, code)."""

    def __init__(self, sm="7.2", version=11040, fail=None, missing=()):
        self.sm, self.version, self.fail, self.missing = sm, version, dict(fail or {}), missing
        self.calls, self.alive, self.wrong = [], {}, []
        self.users = []  # of memory and streams: TensorRT's objects, which must go first
        self._memory, self._next, self._capturing, self._graphs = {}, 1000, None, {}
        self._functions, self._counts = {}, {}

    def __getattr__(self, name):
        if not name.startswith("cuda") or name in self.missing:
            raise AttributeError(name)
        return self._functions.setdefault(name, _Function(self, name))

    def called(self, name, arguments):
        if name == "cudaGetErrorName":
            return ERRORS.get(arguments[0])
        if name == "cudaGetErrorString":
            return b"some words"
        assert len(arguments) == len(self._functions[name].argtypes), name
        self.calls.append(name)
        self._counts[name] = self._counts.get(name, 0) + 1
        nth, code = self.fail.get(name, (0, 0))
        if nth == self._counts[name]:
            return code
        getattr(self, f"_{name}")(*arguments)
        return 0

    def do(self, work):
        """Run a stream's work, or record it while the stream is being captured."""
        if self._capturing is None:
            work()
        else:
            self._capturing.append(work)

    def _create(self, target, destroy):
        self._next += 1
        target._obj.value = self._next
        self.alive[self._next] = destroy

    def _destroy(self, handle, destroy):
        handle = _number(handle)
        if self.alive.pop(handle, None) != destroy:
            self.wrong.append(("not alive", destroy, handle))
        if self.users and destroy in ("cudaFree", "cudaFreeHost", "cudaStreamDestroy"):
            self.wrong.append(("in use", destroy, list(self.users)))
        self._memory.pop(handle, None)

    def _allocate(self, target, size, destroy):
        memory = ctypes.create_string_buffer(_number(size))
        address = ctypes.addressof(memory)
        self._memory[address], self.alive[address] = memory, destroy
        target._obj.value = address

    def _cudaRuntimeGetVersion(self, target):
        target._obj.value = self.version

    def _cudaGetDeviceCount(self, target):
        target._obj.value = 1

    def _cudaGetDevice(self, target):
        target._obj.value = 0

    def _cudaDeviceGetAttribute(self, target, attribute, device):
        target._obj.value = int(self.sm.split(".")[{75: 0, 76: 1}[attribute]])

    def _cudaGetDeviceProperties(self, buffer, device):
        buffer[:7] = b"Xavier\0"

    def _cudaMalloc(self, target, size):
        self._allocate(target, size, "cudaFree")

    def _cudaMallocHost(self, target, size):
        self._allocate(target, size, "cudaFreeHost")

    def _cudaFree(self, handle):
        self._destroy(handle, "cudaFree")

    def _cudaFreeHost(self, handle):
        self._destroy(handle, "cudaFreeHost")

    def _cudaMemcpyAsync(self, target, source, size, kind, stream):
        assert kind in (1, 2)
        assert self.alive[_number(stream)] == "cudaStreamDestroy"
        device, host = (target, source) if kind == 1 else (source, target)
        assert self.alive[device] == "cudaFree"
        assert self.alive[host] == "cudaFreeHost"
        assert size <= min(len(self._memory[device]), len(self._memory[host]))
        self.do(lambda: ctypes.memmove(target, source, size))

    def _cudaStreamCreateWithFlags(self, target, flags):
        assert _number(flags) == 1  # non-blocking
        self._create(target, "cudaStreamDestroy")

    def _cudaStreamSynchronize(self, stream):
        assert self._capturing is None

    def _cudaStreamDestroy(self, stream):
        self._destroy(stream, "cudaStreamDestroy")

    def _cudaStreamBeginCapture(self, stream, mode):
        self._capturing = []

    def _cudaStreamEndCapture(self, stream, target):
        work, self._capturing = self._capturing, None
        self._create(target, "cudaGraphDestroy")
        self._graphs[target._obj.value] = work

    def _cudaGraphInstantiateWithFlags(self, target, graph, flags):
        self._create(target, "cudaGraphExecDestroy")
        self._graphs[target._obj.value] = self._graphs[_number(graph)]

    def _cudaGraphLaunch(self, graph, stream):
        for work in self._graphs[graph]:
            work()

    def _cudaGraphDestroy(self, graph):
        self._destroy(graph, "cudaGraphDestroy")

    def _cudaGraphExecDestroy(self, graph):
        self._destroy(graph, "cudaGraphExecDestroy")
