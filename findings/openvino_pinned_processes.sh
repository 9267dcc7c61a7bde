#!/bin/bash
# OpenVINO 2026.4.1, CPU, Linux. Two processes that compute with one thread each (INFERENCE_NUM_THREADS=1) while there are
# several cores: both bind their thread to the same first core and take turns on it, so together they are no faster than
# one. ENABLE_CPU_PINNING, which nobody has set, reads True; with False each thread may run anywhere.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/pip" --disable-pip-version-check -q install openvino==2026.4.1 numpy==2.4.6
cd "$folder"
cat > infer.py <<'PY'
import glob
import os
import sys
import threading
import time

import numpy as np
import openvino as ov
from openvino import opset13 as ops

rng = np.random.default_rng(0)
x = out = ops.parameter([1, 64, 64, 64], np.float32)
for _ in range(8):
    kernel = rng.normal(0, 0.05, (64, 64, 3, 3)).astype(np.float32)
    out = ops.relu(ops.convolution(out, ops.constant(kernel), [1, 1], [1, 1], [1, 1], [1, 1]))
settings = {"INFERENCE_NUM_THREADS": 1, **({"ENABLE_CPU_PINNING": False} if sys.argv[1] == "free" else {})}
compiled = ov.Core().compile_model(ov.Model([out], [x]), "CPU", settings)
request, photo = compiled.create_infer_request(), np.zeros((1, 64, 64, 64), np.float32)
request.infer([photo])
caller, bound = threading.get_native_id(), []


def watch():
    while not bound or time.monotonic() < end:
        bound.append(tuple(sorted(os.sched_getaffinity(caller))))
        time.sleep(0.002)


end = time.monotonic() + 4
watcher = threading.Thread(target=watch)
watcher.start()
while time.monotonic() < end:
    request.infer([photo])
watcher.join()
print(compiled.get_property("ENABLE_CPU_PINNING"), *sorted({" ".join(map(str, cores)) for cores in bound}), sep=",")
PY
echo "OpenVINO $(env/bin/python -c 'import openvino; print(openvino.__version__)'), $(nproc) cores"
if [ "$(nproc)" -lt 2 ]; then echo "expected at least two cores: nothing was checked"; exit 1; fi
for kind in default free; do
  env/bin/python infer.py $kind > one.txt &
  env/bin/python infer.py $kind > two.txt
  wait
  echo "$kind: pinning and the cores that the computing thread may use: $(cat one.txt); in the other process: $(cat two.txt)"
  cp one.txt "$kind.one"
  cp two.txt "$kind.two"
done
env/bin/python - <<'PY'
found = {}
for name in ("default.one", "default.two", "free.one", "free.two"):
    pinning, *cores = open(name).read().strip().split(",")
    found[name] = pinning, {each for each in cores if " " not in each}
for name in ("default.one", "default.two"):
    assert found[name] == ("True", {"0"}), "the behaviour has changed"
for name in ("free.one", "free.two"):
    assert found[name] == ("False", set()), "the behaviour has changed"
PY
