"""What make test-versions runs in each environment (Python 3.8, no torch): photos and inputs to people, as JSON.

Usage: PYTHONPATH=. python .ci/versions_worker.py OUT.json NETWORK PHOTO_LIST INPUTS.npz
"""

import json
import platform
import sys
from pathlib import Path
from typing import Any, Dict

import cv2
import numpy
import onnxruntime

from ehrpose.deploy.runtime import PoseRuntime
from ehrpose.image_io import read_image


def main() -> None:
    """Write the people of each photo, and the versions."""
    out, network, photo_list, inputs = sys.argv[1:]
    assert "torch" not in sys.modules
    found = []
    with PoseRuntime(network, num_threads=1) as runtime:
        for path in Path(photo_list).read_text(encoding="utf-8").splitlines():
            photo = read_image(path)
            found.append(_as_json(runtime(photo), float(runtime.prepare(photo)[1][0, 0])))
        with numpy.load(inputs) as arrays:
            for name in arrays.files:
                pixels = arrays[name]
                maps = runtime.run(pixels[None]).image(0)
                found.append(_as_json(runtime.decode(maps, (pixels.shape[2], pixels.shape[1])), 1.0))
    versions = [platform.python_version(), cv2.__version__, numpy.__version__, onnxruntime.__version__]
    Path(out).write_text(json.dumps({"versions": versions, "photos": found}), encoding="utf-8")


def _as_json(people: Any, scale: float) -> Dict[str, Any]:
    """Return people, and input px per px of theirs."""
    return {
        "scale": scale,
        "keypoints": people.keypoints.tolist(),
        "keypoint_scores": people.keypoint_scores.tolist(),
        "scores": people.scores.tolist(),
    }


if __name__ == "__main__":
    main()
