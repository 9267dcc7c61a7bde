#!/bin/bash
# pnnx 20261020. It writes ncnn's weights in float16 unless told otherwise: the file is half as large, the conversion says
# nothing of it, and no option of ncnn at run time brings the lost digits back. `fp16=0` keeps float32.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/pip" --disable-pip-version-check -q install numpy==2.2.6 onnx==1.20.0
# Without what they ask for: pnnx's wrapper imports torch, its program does not.
"$folder/env/bin/pip" --disable-pip-version-check -q install --no-deps pnnx==20261020 ncnn==1.0.20261020
cd "$folder"
cat > run.py <<'PY'
import subprocess
import sys
from pathlib import Path

import ncnn
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

rng = np.random.default_rng(0)
kernel, image = rng.standard_normal((16, 3, 3, 3)).astype(np.float32), rng.standard_normal((3, 32, 32)).astype(np.float32)
shapes = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", [1, 3, 32, 32]), ("y", [1, 16, 30, 30]))]
node = helper.make_node("Conv", ["x", "w"], ["y"], kernel_shape=[3, 3])
graph = helper.make_graph([node], "g", shapes[:1], shapes[1:], [numpy_helper.from_array(kernel, "w")])
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), "net.onnx")
windows = np.lib.stride_tricks.sliding_window_view(image.astype(np.float64), (3, 3), axis=(1, 2))
exact = np.einsum("chwij,ocij->ohw", windows, kernel.astype(np.float64))
program = next(Path(sys.prefix).glob("lib/python*/site-packages/pnnx/pnnx"))
found = {}
for name, options in (("default", []), ("fp16=0", ["fp16=0"])):
    subprocess.run([program, "net.onnx", "inputshape=[1,3,32,32]f32", *options], check=True, capture_output=True)
    net = ncnn.Net()
    for option in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"):
        setattr(net.opt, option, False)
    net.load_param("net.ncnn.param"), net.load_model("net.ncnn.bin")
    extractor = net.create_extractor()
    extractor.input("in0", ncnn.Mat(image))
    error = float(np.abs(np.array(extractor.extract("out0")[1]) - exact).max())
    found[name] = error, Path("net.ncnn.bin").stat().st_size
    print(f"pnnx 20261020, {name}: {found[name][1]} bytes of weights, largest error {error:.1e}")
assert found["default"][0] > 20 * found["fp16=0"][0] and found["default"][1] < found["fp16=0"][1], "it has changed"
PY
"$folder/env/bin/python" run.py
