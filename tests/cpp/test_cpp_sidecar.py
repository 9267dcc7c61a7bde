"""The C++ reader of the sidecar takes what Python's takes; damaged files end in a message, never in a crash."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
from damaged_sidecars import DATA, damaged, sidecars
from decoder_cases import sidecar_of
from decoder_program import Jobs, differences, fields_of, run_program

from ehrpose.codecs import AssociativeEmbedding
from ehrpose.deploy.network_input import input_plan
from ehrpose.deploy.sidecar import DeployError, _read, build_codec
from ehrpose.structures import Maps, PeakMaps, invert_warp

# Python's reasons to refuse a file that are of no interest to a decoder, by the key that they begin with.
NOT_READ = ("name", "backend", "precision", "computed_in", "phi", "sha256", "versions", "engine")
MISSING = tuple(f"expected the key '{key}'" for key in NOT_READ)
COLOURS = ("keypoint_colors", "limb_colors")


def reason_to_refuse(path):
    """Return why Python refuses a sidecar, as ``PoseRuntime`` does; None: it takes it."""
    try:
        sidecar = _read(path)
        codec = build_codec(sidecar, path)
    except DeployError as error:
        return str(error).partition(": ")[2]
    is_peaks = sidecar.decode == "peaks"
    if is_peaks and codec.why_no_peaks():
        return codec.why_no_peaks()
    names = codec.peaks_type._fields if is_peaks else codec.output_names
    return None if sorted(names) == sorted(sidecar.outputs) else "outputs: others"


def is_of_no_interest(reason):
    """Whether a reason is about a key that the decoder does not read."""
    return reason.startswith(NOT_READ + MISSING) or any(name in reason for name in COLOURS)


def is_refused(printed, path):
    """Whether the program refused the sidecar; otherwise it goes on to ask for the tensors."""
    return printed["error"].startswith(f"{path}: ")


def test_damaged_sidecars(program, tmp_path):
    jobs, paths = Jobs(tmp_path), []
    contents = [*sidecars().values(), *map(damaged, range(700))]
    for number, content in enumerate(contents):
        paths.append(jobs.write(f"{number}.json", json.dumps(content)))
        jobs.lines.append(str(paths[-1]))
    outcomes, wrong = {"taken": 0, "refused": 0}, []
    for path, content, printed in zip(paths, contents, jobs.run(program)):
        reason, refused = reason_to_refuse(path), is_refused(printed, path)
        outcomes["refused" if refused else "taken"] += 1
        if reason is None and refused:
            codec = content["codec"]
            if codec["type"] == "AssociativeEmbedding" and codec.get("mode", "fast") == "fast":
                wrong.append(f"Python takes it: {printed['error']}")
        elif reason is not None and not refused and not is_of_no_interest(reason):
            wrong.append(f"the program takes it, Python: {reason}")
    assert wrong == []
    assert min(outcomes.values()) > 50, outcomes


def test_damaged_text(program, tmp_path):
    rng, jobs, paths = random.Random(3), Jobs(tmp_path), []
    text = (DATA / "tiny_network.onnx.json").read_bytes()
    texts = [
        b"",
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b" " * (2 << 20),
        b'"' + b"x" * 1000,
        b"-",
        b"1e999",
        b"\xff\xfe{",
        b"{}",
        b"nul",
    ]
    texts += [
        b'{"format": 1, "format": 1}',
        b'{"format": 01}',
        b'"\\ud800"',
        b'"\\u12"',
        b'"\\',
        b"[1,]",
        b"1" * 500,
    ]
    for _ in range(300):
        damage = bytearray(text)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(damage))
            way = rng.randrange(3)
            if way == 0:
                damage[at] = rng.randrange(256)
            elif way == 1:
                del damage[at : at + rng.randint(1, 40)]
            else:
                damage[at:at] = bytes(
                    rng.choices(b'{}[],:"\\0123456789.eE-+nulltruefalse ', k=rng.randint(1, 20))
                )
        texts.append(bytes(damage))
    for number, content in enumerate(texts):
        paths.append(tmp_path / f"{number}.json")
        paths[-1].write_bytes(content)
        jobs.lines.append(str(paths[-1]))
    printed = jobs.run(program)
    assert all("error" in answer for answer in printed)
    assert all(is_refused(answer, path) for answer, path in zip(printed[:17], paths))
    assert sum(is_refused(answer, path) for answer, path in zip(printed, paths)) > 200


def test_damaged_tensors(program, tmp_path, five_keypoints):
    rng, jobs = random.Random(4), Jobs(tmp_path)
    noise = np.random.default_rng(4)
    codec = AssociativeEmbedding(32, five_keypoints)
    maps = {"heat4": (5, 8, 12), "tag4": (5, 8, 12), "heat2": (5, 16, 24)}
    peaks = {
        "peak_scores": (5, 6),
        "peak_cross": (5, 6, 4),
        "peak_heat": (5, 6, 9),
        "peak_tags": (1, 5, 6, 9),
    }
    kinds = []
    for name, shapes in (("maps", maps), ("peaks", peaks)):
        fields = {key: noise.random(shape, np.float32) for key, shape in shapes.items()}
        if name == "peaks":
            fields["peak_pixels"] = noise.integers(0, 16 * 24, (5, 6)).astype(np.int32)
        kinds.append((jobs.write(f"{name}.json", sidecar_of(codec, name == "peaks")), fields))
    for number in range(400):
        sidecar, fields = rng.choice(kinds)
        files = []
        for name, field in fields.items():
            path = jobs.write(f"{number}_{name}.npy", field)
            content = bytearray(path.read_bytes())
            if rng.random() < 0.5:
                way = rng.randrange(4)
                if way == 0:
                    content[rng.randrange(min(128, len(content)))] = rng.randrange(256)
                elif way == 1:
                    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
                elif way == 2:
                    del content[rng.randrange(len(content)) :]
                else:
                    content += bytes(rng.randrange(1, 9))
            path.write_bytes(content)
            files.append(f"{name}={path}")
        size = rng.choice(
            [("--input", "48x32"), ("--input", "48x32"), (), ("--photo", "1x1"), ("--input", "999999x4")]
        )
        jobs.lines.append("\t".join([str(sidecar), *size, *files]))
    printed = jobs.run(program)
    refused = sum("error" in answer for answer in printed)
    assert 50 < refused < 380


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("mode", "paper", 'codec.mode: expected "fast", got "paper"'),
        ("type", "PersonLab", 'codec.type: expected "AssociativeEmbedding", got "PersonLab"'),
        ("max_lim", 2, 'codec: expected known keys, got "max_lim"'),
        ("nms_oks", 1.5, "codec.nms_oks: expected a number from 0 to 1"),
        ("max_candidates", 2.0, "codec.max_candidates: expected a whole number from 1 to 10000"),
        ("strides", [2], "codec.tag_strides: expected 4, or 4 and 2, with strides 4 and 2, else the stride"),
    ],
)
def test_what_it_does_not_know_is_named(program, tmp_path, five_keypoints, key, value, message):
    content = sidecar_of(AssociativeEmbedding(32, five_keypoints))
    content["codec"][key] = value
    path = tmp_path / "codec.json"
    path.write_text(json.dumps(content))
    result = run_program(program, path)
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: {path}: {message}")


@pytest.mark.parametrize(
    "form",
    [
        {"sides": {"short": 96, "divisor": 32, "max_aspect": 8.0}},
        {"sides": {"short": 100, "divisor": 64, "max_aspect": 2.5}},
        {"sides": {"short": 64, "divisor": 32, "max_aspect": 3.0, "side": "height"}},
        {"shapes": [[64, 96], [96, 64], [64, 64], [128, 192]]},
        {},
    ],
    ids=["short side", "wider steps", "height", "several", "fixed"],
)  # fmt: skip
def test_photos_become_the_same_input(program, tmp_path, five_keypoints, form):
    rng = np.random.default_rng(9)
    codec = AssociativeEmbedding(32, five_keypoints)
    content = sidecar_of(codec)
    content["format"] = 2 if form else 1
    content["input"] = {**content["input"], "shape": [1, 3, 96, 160], **form}
    for name in ("sides", "shapes"):
        if name not in form:
            content["input"].pop(name, None)
    jobs, people = Jobs(tmp_path), []
    path = jobs.write("codec.json", content)
    sidecar = _read(path)
    sizes = [
        (1, 1),
        (640, 480),
        (480, 640),
        (96, 96),
        (1, 3000),
        (3000, 1),
        (100, 800),
        (801, 100),
        *rng.integers(1, 900, (30, 2)).tolist(),
    ]
    for width, height in sizes:
        (input_w, input_h), warp = input_plan((width, height), sidecar)
        shape = (5, input_h // 4, input_w // 4)
        fine = np.zeros((5, shape[1] * 2, shape[2] * 2), np.float32)
        fine[:, rng.integers(shape[1] * 2), rng.integers(shape[2] * 2)] = 0.9
        maps = Maps(np.full(shape, 0.2, np.float32), np.zeros(shape, np.float32), fine)
        people.append(codec.decode(maps).warped(invert_warp(warp)))
        jobs.add(path, fields_of(maps), "--photo", f"{width}x{height}")
    printed = jobs.run(program)
    assert [differences(*pair) for pair in zip(printed, people)] == [[]] * len(sizes)
    assert all(len(found) == 1 for found in people)


def test_candidates_need_the_size_of_the_input(program, tmp_path, five_keypoints):
    content = sidecar_of(AssociativeEmbedding(32, five_keypoints), peaks=True)
    shapes = {
        "peak_scores": (5, 0), "peak_cross": (5, 0, 4), "peak_heat": (5, 0, 9), "peak_tags": (1, 5, 0, 9),
    }  # fmt: skip
    arrays = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    arrays["peak_pixels"] = np.zeros((5, 0), np.int32)
    assert sorted(arrays) == sorted(PeakMaps._fields)
    jobs = Jobs(tmp_path)
    path = jobs.write("codec.json", content)
    jobs.add(path, arrays)
    jobs.add(path, arrays, "--photo", "640x480")
    unsized, sized = jobs.run(program)
    assert unsized["error"].startswith("expected --input WIDTHxHEIGHT")
    assert sized == []
