"""The page's decoder in Node, and what to compare it with."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

BROWSER = Path(__file__).resolve().parents[2] / "ehrpose" / "web" / "browser"
needs_node = pytest.mark.skipif(not shutil.which("node"), reason="no node: apt install nodejs")
PIXELS, SCORES = 0.01, 1e-5


class Jobs:
    """Jobs for ``decode_jobs.mjs``."""

    def __init__(self, folder):
        self.folder, self.jobs = Path(folder), []

    def add_maps(self, sidecar, maps, input_wh, photo_wh=None):
        """Add the decode of the maps or candidates of one image."""
        outputs = {}
        for name, field in maps._asdict().items():
            if field is None:
                continue
            array = np.ascontiguousarray(field)
            file = self.folder / f"{len(self.jobs)}_{name}"
            array.tofile(file)
            outputs[name] = [str(file), str(array.dtype), [1, *array.shape]]
        job = {"sidecar": sidecar, "outputs": outputs, "inputWh": list(map(int, input_wh))}
        self.jobs.append(job if photo_wh is None else {**job, "photoWh": list(map(int, photo_wh))})

    def add_photo(self, sidecar, image):
        """Add the preparation of a BGR photo; ``input_of`` reads the result."""
        height, width = image.shape[:2]
        rgba = np.dstack([image[:, :, ::-1], np.full((height, width), 255, np.uint8)])
        file = self.folder / f"{len(self.jobs)}.rgba"
        rgba.tofile(file)
        self.jobs.append({"sidecar": sidecar, "photo": [str(file), width, height]})

    def input_of(self, index, shape):
        """Return the uint8 input that was prepared by job number ``index``."""
        return np.fromfile(f"{self.jobs[index]['photo'][0]}.input", np.uint8).reshape(shape)

    def run(self):
        """Return the answer to each job."""
        path = self.folder / "jobs.json"
        path.write_text(json.dumps(self.jobs), encoding="utf-8")
        program = Path(__file__).with_name("decode_jobs.mjs")
        command = ["node", str(program), str(BROWSER / "decoder.mjs"), str(path)]
        result = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        assert result.returncode == 0, result.stderr[-3000:]
        answers = [json.loads(line) for line in result.stdout.splitlines()]
        assert len(answers) == len(self.jobs)
        return answers


def differences(answer, people):
    """Return what differs between the people of JavaScript and those of Python; empty if nothing does."""
    if isinstance(answer, dict):
        return [f"expected {len(people)} people, got {answer}"]
    if len(answer) != len(people):
        return [f"expected {len(people)} people, got {len(answer)}"]
    wrong = []
    for n, person in enumerate(answer):
        points = person["keypoints"]
        place = np.array([[point["x"], point["y"]] for point in points], np.float64)
        scores = np.array([point["score"] for point in points], np.float64)
        filled = np.array([point["filled"] for point in points])
        largest = max(float(np.abs(people.keypoint_scores).max()), 1e-30)
        limit = max(abs(float(people.scores[n])), 1e-30)
        if not np.abs(place - people.keypoints[n]).max() <= PIXELS:
            wrong.append(f"person {n}: {np.abs(place - people.keypoints[n]).max()} px apart")
        if not np.abs(scores - people.keypoint_scores[n]).max() <= SCORES * largest:
            wrong.append(f"person {n}: other keypoint scores")
        if (scores > 0).tolist() != (people.keypoint_scores[n] > 0).tolist():
            wrong.append(f"person {n}: other keypoints")
        if filled.tolist() != people.filled[n].tolist():
            wrong.append(f"person {n}: other keypoints are filled")
        if not abs(person["score"] - float(people.scores[n])) <= SCORES * limit:
            wrong.append(f"person {n}: score {person['score']}, expected {people.scores[n]}")
        if not np.allclose(person["tag"], people.tags[n], rtol=1e-5, atol=1e-30):
            wrong.append(f"person {n}: other tag")
    return wrong
