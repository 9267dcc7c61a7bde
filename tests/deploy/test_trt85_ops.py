"""Operators that TensorRT 8.5 does not support are named before a network is taken to the device."""

from __future__ import annotations

import pytest
from onnx import TensorProto, helper

from ehrpose.deploy.export import parity
from ehrpose.deploy.export.trt85_ops import unsupported
from ehrpose.deploy.sidecar import DeployError


def node_model(nodes, opset=13, inputs=("x",), constants=(), kind=TensorProto.FLOAT):
    values = [helper.make_tensor_value_info(name, kind, [1, 3, 8, 8]) for name in inputs]
    outputs = [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)]
    graph = helper.make_graph(nodes, "g", values, outputs, list(constants))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


CONSTANT = helper.make_tensor("k", TensorProto.INT64, [1], [5000])
ZERO = helper.make_tensor("zero", TensorProto.UINT8, [], [0])
BIAS = helper.make_tensor("bias", TensorProto.INT32, [2], [1, 2])
BAD_GRAPHS = {
    "opset 18: at most 17": node_model([helper.make_node("Relu", ["x"], ["y"])], 18),
    "Selu y: the operator is not supported": node_model([helper.make_node("Selu", ["x"], ["y"])]),
    "mode 'cubic' is not supported": node_model(
        [helper.make_node("Resize", ["x", "", "s"], ["y"], mode="cubic")], inputs=("x", "s")
    ),
    "mode 'reflect' is not supported": node_model(
        [helper.make_node("Pad", ["x", "k"], ["y"], mode="reflect")], constants=[CONSTANT]
    ),
    "K must be a constant": node_model(
        [helper.make_node("TopK", ["x", "n"], ["y", "i"])], inputs=("x", "n")
    ),
    "K is 5000, at most 3840": node_model(
        [helper.make_node("TopK", ["x", "k"], ["y", "i"])], constants=[CONSTANT]
    ),
    "the indices, is not supported": node_model(
        [helper.make_node("MaxPool", ["x"], ["y", "i"], kernel_shape=[3, 3])]
    ),
    "input x: type UINT8 is not supported": node_model(
        [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)], kind=TensorProto.UINT8
    ),
    "its type is not INT8": node_model(
        [helper.make_node("QuantizeLinear", ["x", "s", "zero"], ["y"])], inputs=("x", "s"), constants=[ZERO]
    ),
    "its input is INT32": node_model(
        [helper.make_node("DequantizeLinear", ["bias", "s"], ["y"])], inputs=("x", "s"), constants=[BIAS]
    ),
    "cast to DOUBLE": node_model([helper.make_node("Cast", ["x"], ["y"], to=TensorProto.DOUBLE)]),
}  # fmt: skip


@pytest.mark.parametrize("message", BAD_GRAPHS)
def test_what_tensorrt_85_does_not_support_is_named(message):
    problems = list(unsupported(BAD_GRAPHS[message]))
    assert len(problems) == 1
    assert message in problems[0]
    with pytest.raises(DeployError, match="does not support this network"):
        parity.check_tensorrt_85(BAD_GRAPHS[message])
