#!/bin/bash
# OpenVINO 2026.4.1, CPU with bfloat16. In bfloat16 the type of an output is float32 either way, but what is in it depends
# on the other outputs. A convolution whose result is only used by a max pooling hands it over in bfloat16, so the pooled
# output has bfloat16 values: flat tops and ties. If the convolution's own result becomes a second output, it is written in
# float32, and the pooled output is another one too, without ties: asking for more outputs changes those that were there.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/pip" --disable-pip-version-check -q install numpy==2.2.6 openvino==2026.4.1
"$folder/env/bin/python" - <<'PY'
import numpy as np
import openvino
import openvino.opset13 as ops

core = openvino.Core()
if "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
    print("skipped: this CPU does not compute in bfloat16")
    raise SystemExit
rng = np.random.default_rng(0)
photo = rng.standard_normal((1, 3, 64, 64)).astype(np.float32)
kernel = (0.2 * rng.standard_normal((8, 3, 3, 3))).astype(np.float32)


def pooled(with_map):
    x = ops.parameter([1, 3, 64, 64], np.float32)
    heat = ops.convolution(x, kernel, [1, 1], [1, 1], [1, 1], [1, 1])
    highest = ops.max_pool(heat, [1, 1], [1, 1], [1, 1], [1, 1], [3, 3], "floor").output(0)
    network = openvino.Model([highest, heat.output(0)] if with_map else [highest], [x])
    compiled = core.compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "bf16"})
    return compiled([photo])[0]


alone, beside = pooled(False), pooled(True)
for name, values in (("pooled map alone", alone), ("with the map as a second output", beside)):
    share = float((values.view(np.uint32) & 0xFFFF == 0).mean())
    print(f"openvino {openvino.__version__.split('-')[0]}, {name}: {len(np.unique(values))} different values, "
          f"{100 * share:.0f} % of them bfloat16 numbers")
print(f"largest difference of the same output: {np.abs(alone - beside).max():.4f}")
assert len(np.unique(beside)) > 4 * len(np.unique(alone)) and np.abs(alone - beside).max() > 1e-3, "it has changed"
PY
