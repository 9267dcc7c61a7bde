"""Parsing an ONNX file into a TensorRT network, and queries about it for the builder (no torch, Python 3.8).

The graph is inspected through TensorRT itself, so that a Jetson needs no onnx package.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any, Deque, List, Tuple

from ehrpose.deploy.sidecar import DeployError
from ehrpose.deploy.tensorrt.engine_info import PRODUCTS

# Maximum number of TensorRT's logged errors in one of our messages.
_MAX_MESSAGES = 5


def import_tensorrt(backend: str) -> Any:
    """Import ``tensorrt`` or ``tensorrt_rtx``.

    Raises:
        DeployError: It is not installed, or a library is missing.
    """
    try:
        return __import__(backend)
    except (ImportError, OSError) as error:
        where = (
            "pip install tensorrt-rtx"
            if backend == "tensorrt_rtx"
            else "on a Jetson it comes with JetPack (sudo apt install nvidia-jetpack; a virtual environment needs "
            "--system-site-packages); elsewhere pip install tensorrt"
        )
        raise DeployError(f"{PRODUCTS[backend]} is not installed ({error}): {where}") from error


def make_logger(trt: Any) -> Any:
    """Return a logger that keeps errors and warnings, for our own error messages."""

    class KeepingLogger(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: Deque[str] = deque(maxlen=_MAX_MESSAGES)
            self.warnings: Deque[str] = deque(maxlen=1)

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                self.errors.append(message)
            elif severity == trt.ILogger.WARNING:
                self.warnings.append(message)

        def said(self) -> str:
            """Return the last errors, or else the last warning, in one line, and clear the log."""
            # To TensorRT 8.5 a missing driver is only a warning.
            messages = self.errors or self.warnings or ["no reason was logged"]
            text = "; ".join(" ".join(message.split()) for message in messages)
            self.errors.clear()
            self.warnings.clear()
            return text

    return KeepingLogger()


def create(factory: Any, logger: Any, what: str) -> Any:
    """Call ``trt.Builder`` or ``trt.Runtime``, which return None or raise TypeError on failure.

    Raises:
        DeployError: TensorRT cannot start.
    """
    try:
        made = factory(logger)
    except (TypeError, RuntimeError) as error:
        raise DeployError(
            f"TensorRT's {what} cannot start ({error}; {logger.said()}): the driver or the GPU is missing"
        ) from error
    if made is None:
        raise DeployError(
            f"TensorRT's {what} cannot start ({logger.said()}): the driver or the GPU is missing"
        )
    return made


def parse_onnx(trt: Any, builder: Any, logger: Any, path: Path) -> Tuple[Any, Any]:
    """Return the network in an ONNX file, and its parser, which must outlive it.

    Raises:
        DeployError: TensorRT cannot read it; the message lists each of the parser's errors.
    """
    # Required up to 9, no effect in 10, removed in 11.
    explicit = getattr(trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH", None)
    network = builder.create_network(0 if explicit is None else 1 << int(explicit))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(path.read_bytes(), str(path)):
        errors = []
        for index in range(parser.num_errors):
            problem = parser.get_error(index)
            errors.append(f"{index + 1}. node {problem.node()}: {problem.desc()}")
        reasons = " ".join(errors) or logger.said()
        raise DeployError(
            f"TensorRT {trt.__version__} cannot read {path}: {reasons}; export it again with tools/deploy.py "
            "`backend='tensorrt'`, which checks the operators"
        )
    return network, parser


def layers_of(network: Any) -> List[Any]:
    """Return the layers of a network, in order."""
    return [network.get_layer(index) for index in range(network.num_layers)]


def typed_precision(trt: Any, network: Any) -> str:
    """Return the precision that the ONNX file itself sets: int8 with Q/DQ, fp16 with half convolutions, or fp32."""
    kinds = {layer.type for layer in layers_of(network)}
    if trt.LayerType.QUANTIZE in kinds:
        return "int8"
    convolutions = (trt.LayerType.CONVOLUTION, trt.LayerType.DECONVOLUTION)
    for layer in layers_of(network):
        if layer.type in convolutions and layer.get_output(0).dtype == trt.float16:
            return "fp16"
    return "fp32"


def peak_layers(trt: Any, network: Any) -> List[Any]:
    """Return the layers that find peaks in a heatmap: from each top-k back to the network's last sum or convolution.

    In the exported graph a pixel is a peak if it equals the maximum around it. This fails if one side was rounded to
    fp16 and the other was not, so all of these layers must have the same type.
    """
    layers = layers_of(network)
    makers = {layer.get_output(i).name: n for n, layer in enumerate(layers) for i in range(layer.num_outputs)}
    waiting = [n for n, layer in enumerate(layers) if layer.type == trt.LayerType.TOPK]
    chosen = set(waiting)
    while waiting:
        layer = layers[waiting.pop()]
        inputs = [layer.get_input(index) for index in range(layer.num_inputs)]
        before = {makers[tensor.name] for tensor in inputs if tensor is not None and tensor.name in makers}
        new = [n for n in before - chosen if _is_of_peaks(trt, layers[n])]
        chosen.update(new)
        waiting += new
    return [layers[n] for n in sorted(chosen)]


def _is_of_peaks(trt: Any, layer: Any) -> bool:
    kinds, dtype = trt.LayerType, layer.get_output(0).dtype
    if layer.type == kinds.ELEMENTWISE:  # the comparison, not a sum of the network
        return bool(dtype == trt.bool)
    # In 8.5 a cast is an IDENTITY.
    cast = getattr(kinds, "CAST", kinds.IDENTITY)
    moves = (kinds.SELECT, kinds.SHUFFLE, kinds.POOLING, kinds.IDENTITY, cast)
    return layer.type in moves and dtype in (trt.float32, trt.float16)  # not the number of candidates
