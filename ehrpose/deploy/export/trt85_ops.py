"""ONNX operators that TensorRT 8.5, the last release for the Jetson Xavier, supports, and a check against the list.

Source: the operator list of the ONNX parser of TensorRT 8.5 (onnx/onnx-tensorrt, release 8.5-GA). The check runs
anywhere; it covers what the parser rejects, not speed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

MAX_OPSET = 17
FLOAT, INT8, INT32, INT64, BOOL, UINT8 = "FLOAT", "INT8", "INT32", "INT64", "BOOL", "UINT8"

Check = Callable[[Any, "Graph"], "str | None"]


class Graph:
    """The constants of a graph by name, for the checks."""

    def __init__(self, graph: Any):
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant":
                for attribute in node.attribute:
                    if attribute.name == "value":
                        self.constants[node.output[0]] = attribute.t

    def is_constant(self, name: str) -> bool:
        """Return whether an input is a constant (or omitted)."""
        return not name or name in self.constants

    def values(self, name: str) -> Any:
        """Return the values of a constant."""
        from onnx import numpy_helper

        return numpy_helper.to_array(self.constants[name])


def _attributes(node: Any) -> dict[str, Any]:
    from onnx import helper

    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def _text(value: Any, default: str) -> str:
    return value.decode() if isinstance(value, bytes) else default if value is None else str(value)


def _constant_inputs(*places: int) -> Check:
    def check(node: Any, graph: Graph) -> str | None:
        for place in places:
            if place < len(node.input) and not graph.is_constant(node.input[place]):
                return f"its input {place} must be a constant"
        return None

    return check


def _two_dimensional(node: Any, graph: Graph) -> str | None:
    kernel = _attributes(node).get("kernel_shape", [0, 0])
    return None if len(kernel) in (2, 3) else f"expected a kernel of 2 or 3 dimensions, got {len(kernel)}"


def _pooling(node: Any, graph: Graph) -> str | None:
    if len(node.output) > 1 and node.output[1]:
        return "its second output, the indices, is not supported"
    return _two_dimensional(node, graph)


def _resize(node: Any, graph: Graph) -> str | None:
    attributes = _attributes(node)
    mode = _text(attributes.get("mode"), "nearest")
    coordinates = _text(attributes.get("coordinate_transformation_mode"), "half_pixel")
    if mode not in ("nearest", "linear"):
        return f"mode {mode!r} is not supported"
    if coordinates not in (
        "half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn", "asymmetric", "align_corners",
    ):  # fmt: skip
        return f"coordinate_transformation_mode {coordinates!r} is not supported"
    return None


def _top_k(node: Any, graph: Graph) -> str | None:
    if not graph.is_constant(node.input[1]):
        return "K must be a constant"
    k = int(graph.values(node.input[1]).reshape(-1)[0])
    return None if k <= 3840 else f"K is {k}, at most 3840 are supported"


def _pad(node: Any, graph: Graph) -> str | None:
    mode = _text(_attributes(node).get("mode"), "constant")
    if mode != "constant":
        return f"mode {mode!r} is not supported"
    return _constant_inputs(1, 2)(node, graph)


def _dequantize(node: Any, graph: Graph) -> str | None:
    source = graph.constants.get(node.input[0])
    if source is not None and source.data_type == 6:  # INT32: a quantised bias
        return "its input is INT32 (a quantised bias), only INT8 is supported: do not quantise biases"
    return _zero_point(node, graph)


def _zero_point(node: Any, graph: Graph) -> str | None:
    if len(node.input) < 3 or not node.input[2]:
        return "its zero point is missing: the type would be UINT8"
    if not graph.is_constant(node.input[2]):
        return "its zero point must be a constant"
    zero = graph.constants[node.input[2]]
    if zero.data_type != 3:
        return "its type is not INT8: quantise symmetrically"
    if graph.values(node.input[2]).any():
        return "its zero point is not 0: quantise symmetrically"
    return None


def _cast(node: Any, graph: Graph) -> str | None:
    from onnx import TensorProto

    to = TensorProto.DataType.Name(_attributes(node)["to"])
    return (
        None
        if to in ("FLOAT", "FLOAT16", "INT32", "INT64", "BOOL", "INT8")
        else f"cast to {to} is not supported"
    )


_ANY: Check = lambda node, graph: None  # noqa: E731
OPERATORS: dict[str, Check] = {
    **dict.fromkeys(
        ("Abs", "Add", "And", "AveragePool", "BatchNormalization", "Clip", "Concat", "Constant", "ConstantOfShape",
         "Div", "Elu", "Equal", "Exp", "Expand", "Flatten", "Floor", "Gather", "GatherElements", "GatherND", "Gemm",
         "GlobalAveragePool", "GlobalMaxPool", "Greater", "HardSigmoid", "Identity", "LeakyRelu", "Less", "Log",
         "MatMul", "Max", "Min", "Mul", "Neg", "Not", "Or", "PRelu", "Pow", "Reciprocal", "ReduceMax", "ReduceMean",
         "ReduceMin", "ReduceSum", "Relu", "Reshape", "Shape", "Sigmoid", "Softmax", "Split", "Sqrt", "Sub", "Sum",
         "Tanh", "Transpose", "Where"), _ANY,
    ),
    "ArgMax": _ANY, "ArgMin": _ANY, "Cast": _cast, "Conv": _two_dimensional, "ConvTranspose": _two_dimensional,
    "DequantizeLinear": _dequantize, "MaxPool": _pooling, "Pad": _pad, "QuantizeLinear": _zero_point,
    "Resize": _resize, "Slice": _constant_inputs(3), "Squeeze": _constant_inputs(1), "TopK": _top_k,
    "Unsqueeze": _constant_inputs(1),
}  # fmt: skip
INPUT_TYPES = ("FLOAT", "FLOAT16", "INT32", "INT64", "BOOL", "INT8")


def unsupported(model: Any) -> Iterator[str]:
    """Yield a message for each part of an ONNX model that TensorRT 8.5 does not support, naming operator and node."""
    from onnx import TensorProto

    opset = max((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")), default=0)
    if opset > MAX_OPSET:
        yield f"opset {opset}: at most {MAX_OPSET} is supported; export with a lower `opset`"
    for value in model.graph.input:
        kind = TensorProto.DataType.Name(value.type.tensor_type.elem_type)
        if kind not in INPUT_TYPES:
            yield f"input {value.name}: type {kind} is not supported; export with `input_dtype='float32'`"
    graph = Graph(model.graph)
    for node in model.graph.node:
        where = f"{node.op_type} {node.name or node.output[0]}"
        if node.domain not in ("", "ai.onnx"):
            yield f"{where}: operators of the domain {node.domain} are not supported"
        elif node.op_type not in OPERATORS:
            yield f"{where}: the operator is not supported"
        else:
            reason = OPERATORS[node.op_type](node, graph)
            if reason is not None:
                yield f"{where}: {reason}"
