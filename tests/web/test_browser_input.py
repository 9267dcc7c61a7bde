"""What the page makes of a photo and of a sidecar, run in Node."""

from __future__ import annotations

import copy
import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from decoder_cases import sidecar_of
from js_decoder import Jobs, needs_node

from ehrpose.codecs import AssociativeEmbedding
from ehrpose.deploy.network_input import input_plan, prepare_image
from ehrpose.deploy.sidecar import Sidecar
from ehrpose.model_zoo import find_model
from ehrpose.structures import Maps

pytestmark = needs_node
# OpenCV 4 rounds places of pixels to 1/32.
LEVELS = 1 if int(cv2.__version__.split(".")[0]) >= 5 else 4
SIZES = [
    (640, 480),
    (480, 640),
    (333, 500),
    (100, 80),
    (37, 211),
    (1000, 640),
    (1280, 720),
    (2000, 1501),
    (2600, 90),
    (1, 1),
]
INPUTS = {
    "sides": {"shape": [1, 3, 320, 448], "sides": {"short": 320, "divisor": 32, "max_aspect": 8.0}},
    "height": {
        "shape": [1, 3, 64, 96],
        "sides": {"short": 64, "divisor": 64, "max_aspect": 2.5, "side": "height"},
    },
    "shapes": {"shape": [1, 3, 64, 96], "shapes": [[64, 96], [96, 64], [64, 64]], "border": [10, 200, 30]},
    "fixed": {"shape": [1, 64, 96, 3], "layout": "NHWC", "color": "RGB"},
}


def described(kind, five_keypoints):
    content = sidecar_of(AssociativeEmbedding(32, five_keypoints))
    usual = {"dtype": "uint8", "layout": "NCHW", "color": "BGR"}
    content["input"] = {**usual, **INPUTS[kind]}
    content["format"] = 1 if kind == "fixed" else 2
    return content


@pytest.mark.parametrize("kind", INPUTS)
def test_inputs_are_those_of_python(tmp_path, five_keypoints, kind):
    content, rng, jobs = described(kind, five_keypoints), np.random.default_rng(3), Jobs(tmp_path)
    sidecar = Sidecar(**{key: value for key, value in content.items() if key != "format"})
    photos = []
    for width, height in SIZES:
        coarse = rng.integers(0, 256, (max(height // 8, 1), max(width // 8, 1), 3), dtype=np.uint8)
        photo = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        photos.append(np.clip(photo + rng.normal(0, 6, photo.shape), 0, 255).astype(np.uint8))
        jobs.add_photo(content, photos[-1])
    for index, (plan, photo) in enumerate(zip(jobs.run(), photos)):
        expected, warp = prepare_image(photo, sidecar)
        size_wh, _ = input_plan(photo.shape[1::-1], sidecar)
        assert plan["wh"] == list(size_wh), photo.shape
        assert plan["dims"] == [1, *expected.shape]
        found = plan["warp"]
        np.testing.assert_allclose(
            [found["scale"], found["x"], found["y"]], warp[[0, 0, 1], [0, 2, 2]], atol=1e-9
        )
        apart = np.abs(jobs.input_of(index, expected.shape).astype(int) - expected)
        assert apart.max() <= LEVELS, (photo.shape, apart.max())
        assert np.mean(apart > 0) <= (0.02 if LEVELS == 1 else 0.3), (photo.shape, np.mean(apart > 0))


def changed(content, path, value):
    content = copy.deepcopy(content)
    at = content
    for key in path[:-1]:
        at = at[key]
    if value is KeyError:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return content


WRONG = [
    (("codec", "type"), "PartAffinity", "codec.type"),
    (("codec", "mode"), "paper", "codec.mode"),
    (("codec", "new_option"), 1, "new_option"),
    (("codec", "nms_oks"), 1.5, "codec.nms_oks"),
    (("codec", "score_power"), "2", "codec.score_power"),
    (("codec", "strides"), [8], "codec.strides"),
    (("codec", "tag_strides"), [2], "codec.tag_strides"),
    (("codec", "cell_offset"), 0.25, "codec.cell_offset"),
    (("codec", "keypoints", "sigmas"), [0.1], "sigmas"),
    (("codec", "keypoints", "order"), ["nose"], "order"),
    (("codec", "keypoints", "swap"), [["nose", "nose"]], "swap"),
    (("codec", "keypoints", "skeleton"), [["nose", "elbow"]], "skeleton"),
    (("codec", "keypoints", "names"), [], "names"),
    (("codec", "keypoints"), None, "keypoints"),
    (("codec",), KeyError, "codec"),
    (("format",), 3, "format"),
    (("decode",), "all", "decode"),
    (("backend",), "tensorrt", "backend"),
    (("outputs",), {"heat4": [1, 5, 8, 8]}, "outputs"),
    (("outputs",), [], "outputs"),
    (("sha256",), {}, "sha256"),
    (("input", "dtype"), "float16", "input.dtype"),
    (("input", "shape"), [2, 3, 64, 64], "input.shape"),
    (("input", "shape"), [1, 3, 64, 65], "input.shape"),
    (("input", "sides", "divisor"), 16, "sides.divisor"),
    (("input", "shapes"), [[64, 64]], "input"),
    (("input", "sides", "short"), 1e9, "sides.short"),
]


def test_refused_sidecars_are_named(tmp_path, five_keypoints):
    content, jobs = sidecar_of(AssociativeEmbedding(32, five_keypoints)), Jobs(tmp_path)
    for path, value, _ in WRONG:
        jobs.jobs.append({"sidecar": changed(content, path, value)})
    for answer, (path, value, named) in zip(jobs.run(), WRONG):
        assert answer["kind"] == "Error", (path, value, answer)
        assert named in answer["error"], (path, value, answer)


def test_cut_and_foreign_sidecars_are_refused(tmp_path):
    text = find_model("ehrnet-small").network.with_suffix(".onnx.json").read_text(encoding="utf-8")
    jobs = Jobs(tmp_path)
    texts = [text[:end] for end in range(0, len(text.rstrip()), 41)]
    texts += [
        "null",
        "[]",
        "3",
        '"text"',
        "{}",
        "<!doctype html>",
        "version https://git-lfs.github.com/spec/v1",
        " " * (1 << 21),
    ]
    jobs.jobs = [{"sidecar": each} for each in texts]
    for answer in jobs.run():
        assert answer["kind"] == "Error"
        assert answer["error"].startswith("sidecar")


def maps_of(codec, change):
    rng = np.random.default_rng(1)
    shapes = {"heat4": (5, 8, 12), "tag4": (5, 8, 12), "heat2": (5, 16, 24)}
    fields = {name: rng.random(shape, np.float32) for name, shape in shapes.items()}
    change(fields)
    return SimpleNamespace(_asdict=lambda: fields)


def set_value(name, value):
    return lambda fields: fields[name].__setitem__((1, 2, 3), value)


HOSTILE = {
    "NaN": (set_value("heat4", np.nan), "heat4"),
    "infinity": (set_value("tag4", -np.inf), "tag4"),
    "too large": (set_value("heat2", 2e15), "heat2"),
    "one is missing": (lambda fields: fields.pop("tag4"), "tag4"),
    "another size": (lambda fields: fields.update(heat2=np.zeros((5, 16, 22), np.float32)), "heat2"),
    "other channels": (lambda fields: fields.update(tag4=np.zeros((7, 8, 12), np.float32)), "tag4"),
    "no channels": (lambda fields: fields.update(tag4=np.zeros((0, 8, 12), np.float32)), "tag4"),
    "two dimensions": (lambda fields: fields.update(heat4=np.zeros((8, 12), np.float32)), "heat4"),
    "another type": (lambda fields: fields.update(heat4=np.zeros((5, 8, 12))), "heat4"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_broken_maps_are_refused_by_name(tmp_path, five_keypoints, kind):
    codec, jobs = AssociativeEmbedding(32, five_keypoints), Jobs(tmp_path)
    change, name = HOSTILE[kind]
    jobs.add_maps(sidecar_of(codec), maps_of(codec, change), (48, 32))
    jobs.add_maps(sidecar_of(codec), maps_of(codec, lambda fields: None), (48, 32))
    jobs.add_maps(sidecar_of(codec), maps_of(codec, lambda fields: None), (48, 30))
    broken, whole, odd = jobs.run()
    assert broken["kind"] == "Error"
    assert broken["error"].startswith((name, f"outputs: expected {name}"))
    assert isinstance(whole, list)
    assert "multiples of 4" in odd["error"]


def test_empty_maps_have_nobody(tmp_path, five_keypoints):
    codec, jobs = AssociativeEmbedding(32, five_keypoints), Jobs(tmp_path)
    zeros = [np.zeros((5, side, side), np.float32) for side in (8, 8, 16)]
    jobs.add_maps(json.dumps(sidecar_of(codec)), Maps(*zeros), (32, 32))
    assert jobs.run() == [[]]
