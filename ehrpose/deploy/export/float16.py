"""ONNX files that compute in float16, for TensorRT from 11 on."""

from __future__ import annotations

from typing import Any

from ehrpose.deploy.sidecar import DeployError


def float16_onnx(content: bytes) -> bytes:
    """Return an ONNX network with float16 arithmetic and float32 inputs and outputs, for TensorRT from 11 on.

    The search for candidates stays in float32.

    Raises:
        DeployError: onnxruntime is missing.
    """
    try:
        import onnx
        from onnxruntime.quantization.onnx_model import ONNXModel
        from onnxruntime.transformers.float16 import convert_float_to_float16
    except ImportError as error:
        raise DeployError(
            f"fp16 needs onnx and onnxruntime: pip install onnx onnxruntime ({error})"
        ) from error
    model = onnx.load_from_string(content)
    peaks = [node.name for node in model.graph.node if node.name.startswith("/peaks/")]
    model = convert_float_to_float16(
        model, keep_io_types=True, op_block_list=["MaxPool"], node_block_list=peaks
    )
    _remove_round_trips(model.graph)
    ONNXModel(model).topological_sort()
    return bytes(model.SerializeToString())


def _remove_round_trips(graph: Any) -> None:
    """Connect float32 nodes directly where the conversion put float16 between them.

    A pixel is a candidate if it equals the maximum around it. ONNX Runtime leaves out some of these roundings, then no
    pixel does.
    """
    from onnx import TensorProto

    makers = {name: node for node in graph.node for name in node.output}
    kinds = {id(node): node.attribute[0].i for node in graph.node if node.op_type == "Cast"}
    for node in graph.node:
        for place, name in enumerate(node.input):
            second = makers.get(name)
            first = None if second is None else makers.get(second.input[0] if second.input else "")
            found = [kinds.get(id(cast)) for cast in (first, second)]
            if first is not None and found == [TensorProto.FLOAT16, TensorProto.FLOAT]:
                # Only the conversion casts to float16, and only what was float32.
                node.input[place] = first.input[0]
    number = -1
    while number != len(graph.node):  # one cast may have fed another
        number = len(graph.node)
        used = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
        for node in [n for n in graph.node if n.op_type == "Cast" and n.output[0] not in used]:
            graph.node.remove(node)
