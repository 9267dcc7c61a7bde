#!/bin/bash
# PyAV 18.1.0 with its SVT-AV1 encoder, Linux, as root with the right to set priorities (a virtual machine, a privileged
# container). Opening the encoder does not only make its own threads real-time ones (SCHED_FIFO, priority 99): the Python
# thread that opens it becomes one too and stays so after the file is closed. Threads and processes started later inherit
# it, so an ordinary program keeps all others from running as soon as it computes on each core. No option of the encoder
# was set, and nothing is printed about it. Where setting priorities is not allowed, nothing changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/pip" --disable-pip-version-check -q install av==18.1.0 numpy==2.4.6
cd "$folder"
SVT_LOG=0 env/bin/python - <<'PY'
import os
import subprocess
import sys
import threading

import av
import numpy as np

try:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
except PermissionError:
    sys.exit("expected the right to set real-time priorities, as root has it: nothing was checked")
os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def now():
    return os.sched_getscheduler(0), os.sched_getparam(0).sched_priority


start = now()
with av.open("a.mp4", "w") as file:
    stream = file.add_stream("libsvtav1", rate=10)
    stream.width, stream.height, stream.pix_fmt = 128, 128, "yuv420p"
    for level in range(5):
        picture = np.full((128, 128, 3), 40 * level, np.uint8)
        file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format="yuv420p")))
    file.mux(stream.encode(None))
after, thread = now(), []
worker = threading.Thread(target=lambda: thread.append(now()))
worker.start()
worker.join()
code = "import os; print(os.sched_getscheduler(0), os.sched_getparam(0).sched_priority)"
child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
print(f"PyAV {av.__version__}, policy and priority: before {start}, after the file is closed {after}")
print(f"a thread started then {thread[0]}, a process started then {tuple(map(int, child))}")
fifo = (os.SCHED_FIFO, 99)
assert start == (os.SCHED_OTHER, 0), start
assert after == thread[0] == tuple(map(int, child)) == fifo, "the behaviour has changed"
PY
