#!/bin/bash
# ONNX Runtime 1.32.0, CPU. A file with float16 convolutions (as its own float16 converter writes them) computes a map,
# takes the maximum of each 3 x 3 window in float32, rounds it to float16 as the converter does, and looks for pixels that
# equal it: the usual search for local maxima. By ONNX's definition (and onnx's reference evaluator) every maximum is
# found. ONNX Runtime has no float16 convolution on this CPU, puts casts around a float32 one, and removes some casts that
# the file has, but not all: one side of the comparison is rounded, the other is not, and no pixel is a maximum. Turning
# all optimisations off does not help.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/pip" --disable-pip-version-check -q install numpy==2.2.6 onnx==1.19.1 onnxruntime==1.32.0
"$folder/env/bin/python" - <<'PY'
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

rng = np.random.default_rng(0)
kernel = numpy_helper.from_array((0.2 * rng.standard_normal((4, 3, 3, 3))).astype(np.float16), "kernel")
photo = rng.standard_normal((1, 3, 64, 64)).astype(np.float32)


def cast(source, target, kind):
    return helper.make_node("Cast", [source], [target], to=kind)


nodes = [
    cast("photo", "half", TensorProto.FLOAT16),
    helper.make_node("Conv", ["half", "kernel"], ["map"], pads=[1, 1, 1, 1]),
    cast("map", "wide", TensorProto.FLOAT),
    helper.make_node("MaxPool", ["wide"], ["highest"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    cast("highest", "rounded", TensorProto.FLOAT16),
    cast("rounded", "highest_again", TensorProto.FLOAT),
    cast("map", "map_again", TensorProto.FLOAT),
    helper.make_node("Equal", ["highest_again", "map_again"], ["is_peak"]),
]
graph = helper.make_graph(
    nodes,
    "peaks",
    [helper.make_tensor_value_info("photo", TensorProto.FLOAT, [1, 3, 64, 64])],
    [helper.make_tensor_value_info("is_peak", TensorProto.BOOL, [1, 4, 64, 64])],
    [kernel],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
onnx.checker.check_model(model, full_check=True)
wanted = int(ReferenceEvaluator(model).run(None, {"photo": photo})[0].sum())
print(f"onnx {onnx.__version__}, reference evaluator: {wanted} of {4 * 64 * 64} pixels are local maxima")
found = {}
for level in ("ORT_DISABLE_ALL", "ORT_ENABLE_ALL"):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    found[level] = int(session.run(None, {"photo": photo})[0].sum())
    print(f"onnxruntime {onnxruntime.__version__}, {level}: {found[level]}")
assert wanted > 1000 and max(found.values()) < 10, "the behaviour has changed"
PY
