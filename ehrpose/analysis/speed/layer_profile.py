"""Time of each node of an exported network, as ONNX Runtime and OpenVINO measure it (no torch)."""

from __future__ import annotations

import json
import re
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ehrpose.deploy.backends.openvino import PRECISIONS
from ehrpose.deploy.sidecar import DeployError, Sidecar, read_sidecar
from ehrpose.deploy.signal_stack import kept_signal_stack
from ehrpose.files import temporary_folder

WARM_UP = 5
_PARTS = re.compile(
    r"(normalise|backbone/stem|backbone/stages\.\d+|neck/transitions[.\w]*|neck/stages\.\d+(?:\.\d+)?/(?:branches|fuse)"
    r"|neck/stages\.\d+|neck|head/\w+|head|peaks|heat2|heat4|tag2|tag4)"
)


@dataclass(frozen=True)
class LayerTime:
    """One node of the network as the backend runs it.

    Attributes:
        name: Name in the file, as far as the backend keeps it.
        operator: Type of node.
        milliseconds: Mean over all runs.
        macs: Multiply-adds; 0 if unknown.
    """

    name: str
    operator: str
    milliseconds: float
    macs: int = 0

    @property
    def part(self) -> str:
        """The part of the network that the node belongs to."""
        found = _PARTS.search(self.name)
        return found.group(1) if found else "other"


@dataclass(frozen=True)
class LayerProfile:
    """Times of all nodes and of a whole run.

    Attributes:
        layers: The nodes, in file order.
        wall_ms: Median time of a run without profiling. The sum over nodes is larger if nodes run in parallel or
            profiling adds overhead, smaller if time is spent between nodes.
        backend: Name of the backend.
    """

    layers: list[LayerTime]
    wall_ms: float
    backend: str


def profile_layers(
    path: str | Path, backend: str | None = None, num_threads: int | None = None, runs: int = 30
) -> LayerProfile:
    """Run an exported network and return the time of each node.

    Args:
        path: ``.onnx`` or ``.xml`` file with its sidecar.
        backend: ``"onnxruntime"`` or ``"openvino"``; None: the one that it was exported for.
        num_threads: Threads; None: the backend's default.
        runs: Timed runs, after the warm-up.

    Raises:
        FileNotFoundError: The network or its sidecar is missing.
        DeployError: The backend is not installed, cannot profile, or cannot load the network.
    """
    sidecar = read_sidecar(path)
    name = backend or sidecar.backend
    profilers: dict[str, Callable[..., tuple[list[LayerTime], float]]] = {
        "onnxruntime": _profile_onnxruntime,
        "openvino": _profile_openvino,
    }
    if name not in profilers:
        raise DeployError(
            f"expected the backend {' or '.join(profilers)}, got {name}; for TensorRT use trtexec --dumpProfile"
        )
    shape = sidecar.input["shape"]
    images = np.random.default_rng(0).integers(0, 256, shape).astype(sidecar.input["dtype"])
    layers, wall = profilers[name](Path(path), sidecar, num_threads, images, runs)
    macs = convolution_macs(Path(path)) if Path(path).suffix == ".onnx" else {}
    known = [LayerTime(la.name, la.operator, la.milliseconds, _macs_of(la, macs)) for la in layers]
    return LayerProfile(known, wall, name)


def convolution_macs(path: Path) -> dict[str, int]:
    """Return the multiply-adds of each convolution of an ONNX file, by the names of the node and of its output.

    Raises:
        DeployError: onnx is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise DeployError(
            f"counting multiply-adds needs onnx, which is not installed ({error}): pip install onnx"
        ) from error
    model = onnx.load(str(path))
    # Sides that follow the photo have names in the file; counted at the sidecar's example.
    (given,) = model.graph.input
    for dimension, size in zip(given.type.tensor_type.shape.dim, read_sidecar(path, False).input["shape"]):
        dimension.dim_value = size
    graph = onnx.shape_inference.infer_shapes(model).graph
    values = [*graph.value_info, *graph.output, *graph.input]
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}
    weights = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    readers: dict[str, list[Any]] = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            readers[name].append(node)
    found: dict[str, int] = {}
    for node in graph.node:
        if node.op_type not in ("Conv", "ConvTranspose") or node.input[1] not in weights:
            continue
        kernel = weights[node.input[1]]
        # (out, in / groups, kh, kw): each output value sums over the rest; transposed: each input value spreads.
        counted = shapes.get(node.output[0] if node.op_type == "Conv" else node.input[0], [0])
        macs = int(np.prod(counted) * np.prod(kernel[1:]))
        while True:  # a fused node may have the name of any of its parts
            found[node.name] = found[node.output[0]] = macs
            following = readers[node.output[0]]
            if len(following) != 1 or following[0].op_type not in ("Relu", "Clip", "Add"):
                break
            (node,) = following
    return found


def report(profile: LayerProfile, top: int = 20) -> str:
    """Return tables of the slowest nodes, the parts of the network and the operators."""
    total = sum(layer.milliseconds for layer in profile.layers)
    lines = [f"{profile.backend}: {profile.wall_ms:.2f} ms per run; nodes add up to {total:.2f} ms", ""]
    lines += ["| node | operator | ms | share | GMAC/s |", "|---|---|---|---|---|"]
    slowest = sorted(profile.layers, key=lambda layer: -layer.milliseconds)[:top]
    lines += [f"| {la.name} | {la.operator} | {_cells(la.milliseconds, total, la.macs)} |" for la in slowest]
    for title, key in (("part", "part"), ("operator", "operator")):
        sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        for layer in profile.layers:
            sums[getattr(layer, key)][0] += layer.milliseconds
            sums[getattr(layer, key)][1] += layer.macs
        lines += ["", f"| {title} | ms | share | GMAC/s |", "|---|---|---|---|"]
        ordered = sorted(sums.items(), key=lambda item: -item[1][0])
        lines += [f"| {name} | {_cells(ms, total, macs)} |" for name, (ms, macs) in ordered]
    return "\n".join(lines)


def _cells(milliseconds: float, total: float, macs: float) -> str:
    rate = f"{macs / milliseconds / 1e6:.1f}" if macs and milliseconds else ""
    return f"{milliseconds:.3f} | {milliseconds / max(total, 1e-9):.1%} | {rate}"


def _macs_of(layer: LayerTime, macs: dict[str, int]) -> int:
    """Return the multiply-adds of a node whose name the backend may have changed."""
    if layer.operator not in (
        "Conv",
        "FusedConv",
        "ConvTranspose",
        "Convolution",
        "GroupConvolution",
        "Deconvolution",
    ):
        return 0
    name = layer.name
    for _ in range(3):
        if name in macs:
            return macs[name]
        name = re.sub(r"(/WithoutBiases|_nchwc|_output_0|/\w+_port_\d+)$", "", name)
    return macs.get(name, 0)


def _profile_onnxruntime(
    path: Path, sidecar: Sidecar, num_threads: int | None, images: np.ndarray, runs: int
) -> tuple[list[LayerTime], float]:
    try:
        import onnxruntime
    except ImportError as error:
        raise DeployError(f"onnxruntime is not installed ({error}): pip install onnxruntime") from error

    def open_session(prefix: str | None) -> Any:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if num_threads is not None:
            options.intra_op_num_threads = num_threads
        if prefix is not None:
            options.enable_profiling, options.profile_file_prefix = True, prefix
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    with temporary_folder() as folder:
        try:
            session = open_session(None)
            feed = {session.get_inputs()[0].name: images}
            wall = _median_ms(lambda: session.run(None, feed), runs)
            session = open_session(str(folder / "profile"))
            for _ in range(WARM_UP + runs):
                session.run(None, feed)
            events = json.loads(Path(session.end_profiling()).read_text())
        except (RuntimeError, OSError) as error:
            raise DeployError(f"ONNX Runtime cannot profile {path}: {str(error).splitlines()[0]}") from error
        except Exception as error:  # ONNX Runtime has exception types of its own
            raise DeployError(f"ONNX Runtime cannot profile {path}: {error}") from error
    times: dict[tuple[str, str], list[float]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            name = event["name"][: -len("_kernel_time")]
            times.setdefault((name, event["args"].get("op_name", "")), []).append(event["dur"] / 1e3)
    return [LayerTime(n, op, statistics.mean(ms[WARM_UP:] or ms)) for (n, op), ms in times.items()], wall


def _profile_openvino(
    path: Path, sidecar: Sidecar, num_threads: int | None, images: np.ndarray, runs: int
) -> tuple[list[LayerTime], float]:
    try:
        import openvino
    except ImportError as error:
        raise DeployError(f"openvino is not installed ({error}): pip install openvino") from error
    precision = PRECISIONS[sidecar.precision]
    settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision}
    if num_threads is not None:
        settings["INFERENCE_NUM_THREADS"] = num_threads
    sums: dict[tuple[str, str], float] = {}
    try:
        with kept_signal_stack():
            core = openvino.Core()
            model = core.read_model(str(path))
            plain = core.compile_model(model, "CPU", settings).create_infer_request()
            wall = _median_ms(lambda: plain.infer([images], share_inputs=True), runs)
            counting = core.compile_model(
                model, "CPU", {**settings, "PERF_COUNT": True}
            ).create_infer_request()
            for number in range(WARM_UP + runs):
                counting.infer([images], share_inputs=True)
                for node in counting.get_profiling_info() if number >= WARM_UP else ():
                    if "EXECUTED" in str(node.status):
                        key = (node.node_name, node.node_type)
                        sums[key] = sums.get(key, 0.0) + 1e3 * node.real_time.total_seconds()
    except RuntimeError as error:
        raise DeployError(f"OpenVINO cannot profile {path}: {str(error).splitlines()[-1]}") from error
    return [LayerTime(name, kind, total / runs) for (name, kind), total in sums.items()], wall


def _median_ms(run: Callable[[], Any], runs: int) -> float:
    times = []
    for _ in range(WARM_UP + runs):
        start = time.perf_counter()
        run()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times[WARM_UP:])
