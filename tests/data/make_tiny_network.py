"""Write the network of tests/runtime: python tests/data/make_tiny_network.py (needs onnx; a seed makes it the same).

It has the inputs and outputs of an exported network and a few convolutions of random weights, so that the runtime can be
tested where there is neither torch nor onnx.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ehrpose.deploy.sidecar import Sidecar, file_hash

SIDE, K = 64, 5
NAMES = ["nose", "left_wrist", "right_wrist", "left_ankle", "right_ankle"]
KEYPOINTS = {
    "dataset_name": "five",
    "names": NAMES,
    "swap": [["left_wrist", "right_wrist"], ["left_ankle", "right_ankle"]],
    "skeleton": [["nose", name] for name in NAMES[1:]],
    "sigmas": [0.026, 0.062, 0.062, 0.089, 0.089],
}


def make_network() -> onnx.ModelProto:
    """Return bytes in, maps out: stride-4 heatmaps and tags, stride-2 heatmaps."""
    rng = np.random.default_rng(0)
    weights = {
        "stem": rng.normal(0, 0.004, (4, 3, 4, 4)),
        "heat": rng.normal(0, 0.5, (K, 4, 3, 3)),
        "tag": rng.normal(0, 1.0, (K, 4, 3, 3)),
        "up": rng.normal(0, 0.5, (4, K, 2, 2)),
    }
    same = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Cast", ["input"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Conv", ["pixels", "stem"], ["x"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Tanh", ["x"], ["features"]),
        helper.make_node("Conv", ["features", "heat"], ["heat4"], **same),
        helper.make_node("Conv", ["features", "tag"], ["tag4"], **same),
        helper.make_node("ConvTranspose", ["features", "up"], ["heat2"], kernel_shape=[2, 2], strides=[2, 2]),
    ]
    shapes = {"heat4": (K, SIDE // 4), "tag4": (K, SIDE // 4), "heat2": (K, SIDE // 2)}
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, k, side, side])
        for name, (k, side) in shapes.items()
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("input", TensorProto.UINT8, [1, 3, SIDE, SIDE])],
        outputs,
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    return model


def main() -> None:
    """Write the network and its JSON beside this file."""
    path = Path(__file__).parent / "tiny_network.onnx"
    path.write_bytes(make_network().SerializeToString())
    sidecar = Sidecar(
        name="tiny",
        backend="onnxruntime",
        precision="fp32",
        input={"name": "input", "shape": [1, 3, SIDE, SIDE], "dtype": "uint8", "layout": "NCHW", "color": "BGR",
               "range": [0, 255], "dynamic_batch": False},
        outputs={"heat4": [1, K, 16, 16], "tag4": [1, K, 16, 16], "heat2": [1, K, 32, 32]},
        codec={"type": "AssociativeEmbedding", "input_size": SIDE, "keypoints": KEYPOINTS, "mode": "fast"},
        sha256={path.name: file_hash(path)},
    )  # fmt: skip
    sidecar.write(path)


if __name__ == "__main__":
    main()
