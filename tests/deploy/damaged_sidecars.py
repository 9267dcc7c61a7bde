"""Sidecars of every kind, and seeded ways to damage them."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path

DATA = Path(__file__).resolve().parents[1] / "data"
FIXED = (DATA / "tiny_network.onnx.json").read_text(encoding="utf-8")
SIDES = {"short": 64, "divisor": 32, "max_aspect": 8.0}
ENGINE = {
    "version": "8.5.2.2",
    "cuda_runtime": "11.4",
    "sm": "7.2",
    "gpu": "Xavier",
    "precision": "fp16",
    "workspace_mib": 1024,
    "timing_cache": "timing.cache",
    "dla_core": None,
    "gpu_fallback": False,
    "max_batch": 1,
    "optimization_level": None,
    "onnx": "end2end.onnx",
    "onnx_sha256": "ab" * 32,
    "flags": ["FP16"],
    "pinned_layers": 0,
    "build_s": 812.4,
}
OPTIONS = {
    "strides": [4, 2],
    "tag_strides": [4],
    "sigma": 2.0,
    "min_score": 0.1,
    "nms_oks": None,
    "max_people": 30,
}
VALUES = [
    None, True, False, 0, -1, 1, 7, 0.5, -0.0, 1.0, 10**12, 10**30, -(10**30), 1e300, 1e308, float("nan"), float("inf"),
    float("-inf"), "", "a", "a.b", "os.system", "../a", "/", "a\nb", "\ud800", "\u2028", "x" * 3000, [], [0], [[]], {},
    {"a": 1}, {"type": "os.system"}, {"_scope_": "os"}, [1, 2, 3, 4], [None] * 5, list(range(300)),
]  # fmt: skip
KEYS = [
    "type",
    "_scope_",
    "names",
    "sides",
    "shapes",
    "a",
    "",
    "a\nb",
    "format",
    "max_aspect",
    "oder",
    "k" * 300,
]


def sidecars():
    """Return the content of a JSON of each kind: fixed, following the photo, several shapes, peaks, engine, offsets."""
    fixed = json.loads(FIXED)

    def changed(given=None, **changes):
        content = {**copy.deepcopy(fixed), **changes}
        content["input"].update(given or {})
        return content

    names = fixed["codec"]["keypoints"]["names"]
    offsets = {
        "type": "PersonLab", "input_size": 97, "keypoints": fixed["codec"]["keypoints"], "stride": 16, "radius": 32.0,
        "edges": [[names[0], name] for name in names[1:]], "nms_oks": None, "hough": False,
    }  # fmt: skip
    peaks = ("peak_scores", "peak_pixels", "peak_cross", "peak_heat", "peak_tags")
    return {
        "fixed": fixed,
        "sides": changed({"sides": SIDES}, format=2, codec={**fixed["codec"], **OPTIONS}, computed_in="int8+fp32"),
        "shapes": changed({"shapes": [[64, 96], [96, 64]]}, format=2, backend="openvino", phi=-4),
        "peaks": changed(
            {"shape": [1, 64, 64, 3], "layout": "NHWC", "dtype": "float32"},
            decode="peaks", outputs={name: [1, 5, 30, 4] for name in peaks},
        ),
        "engine": changed(backend="tensorrt", precision="fp16", engine=ENGINE, versions={"ehrpose": "0.2.0"}),
        "offsets": changed(
            {"shape": [1, 3, 97, 145], "sides": {**SIDES, "short": 97, "divisor": 16, "offset": 1}},
            format=2, codec=offsets, outputs={name: [1, 5, 7, 10] for name in ("heat", "short", "forward", "backward")},
        ),
    }  # fmt: skip


def damaged(seed):
    """Return a sidecar with one to three faults: a value left out, of another kind, huge, nested, or a key more."""
    rng = random.Random(seed)
    content = copy.deepcopy(rng.choice(list(sidecars().values())))
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        place, key = rng.choice(list(_places(content)))
        way = rng.randrange(6)
        if way == 0:
            del place[key]
        elif way == 1:
            name = rng.choice(KEYS) + rng.choice(("", "2"))
            inner = place[key] if isinstance(place[key], dict) else place
            if isinstance(inner, dict):
                inner[name] = rng.choice(VALUES)
            else:
                inner.append(rng.choice(VALUES))
        elif way == 2:
            place[key] = rng.choice(([place[key]], {"type": place[key]}, [place[key], place[key]]))
        elif way == 3:
            other, there = rng.choice(list(_places(content)))
            place[key] = copy.deepcopy(other[there])
        else:
            place[key] = copy.deepcopy(rng.choice(VALUES))
    return content


def _places(value):
    """Yield every container and key or index in it."""
    if isinstance(value, (dict, list)):
        for key, item in list(value.items()) if isinstance(value, dict) else list(enumerate(value)):
            yield value, key
            yield from _places(item)
