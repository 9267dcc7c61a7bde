"""Builds an RKNN file, and computes it on Rockchip's simulator; run by ``rknn.py``, by another Python than ehrpose's.

rknn-toolkit2 wants an older torch, NumPy and onnx than ehrpose does, so it has an environment of its own, and this file
imports nothing of ehrpose. Usage: python rknn_program.py JOB.json; paths in the job are relative to the working folder.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Dict, List

import numpy as np


def main() -> None:
    """Do what the job says; a message and exit code 1 if a step fails."""
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    try:
        from rknn.api import RKNN
    except ImportError as error:
        sys.exit(f"rknn-toolkit2 is not installed: {error}")
    engine = RKNN(verbose=False)
    build(engine, job)
    if job["inputs"]:
        simulate(engine, job["inputs"])
    else:
        _check(engine.export_rknn(job["target_file"]), "export_rknn")


def build(engine: Any, job: Dict[str, Any]) -> None:
    """Build the network; ``calibration`` is the list of the files to quantise with, empty for float16."""
    shapes: List[List[int]] = job["shapes"]
    several = {"dynamic_input": [[shape] for shape in shapes]} if len(shapes) > 1 else {}
    _check(engine.config(target_platform=job["chip"], **several), "config")
    _check(engine.load_onnx(job["network"]), "load_onnx")
    listed = None
    if job["calibration"]:
        listed = "calibration.txt"
        Path(listed).write_text("\n".join(job["calibration"]) + "\n", encoding="utf-8")
    _check(engine.build(do_quantization=listed is not None, dataset=listed), "build")


def simulate(engine: Any, inputs: List[str]) -> None:
    """Write the outputs for each input, a file of NumPy, beside it; only a network built just now can be simulated."""
    _check(engine.init_runtime(), "init_runtime")
    for name in inputs:
        outputs = engine.inference(inputs=[np.load(name)], data_format=["nchw"])
        if outputs is None:
            sys.exit(f"the simulator failed on {name}")
        np.savez(f"{name}.outputs.npz", *outputs)


def _check(code: Any, step: str) -> None:
    if code not in (0, None):
        sys.exit(f"{step} failed ({code})")


if __name__ == "__main__":
    main()
