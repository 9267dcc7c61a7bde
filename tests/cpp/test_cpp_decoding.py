"""The C++ decoder finds the people that Python finds."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from decoder_cases import decoded, is_described, sidecar_of
from decoder_program import Jobs, differences, fields_of, run_program

from ehrpose.analysis.codec.codec_fuzz import make_case, make_codecs
from ehrpose.codecs import AssociativeEmbedding
from ehrpose.deploy.export.peaks import PeakExtractor
from ehrpose.deploy.runtime import PoseRuntime
from ehrpose.image_io import read_image
from ehrpose.model_zoo import find_model
from ehrpose.structures import Maps, PeakMaps, invert_warp

SHIPPED = {
    "unbiased": True, "nms_oks": 0.5, "place_weight": 1.5, "score_power": 2.0, "score_size": 0.25, "pair_ratio": 0.5,
    "max_limb": 1.5,
}  # fmt: skip


def random_maps(rng, kind, num_types, height=40, width=56):
    """Return maps of a kind: noise, noise with ties, people, or flat ones."""
    num_tags = 2 if kind == "two tags" else 1

    def heat(factor):
        shape = (num_types, height * factor, width * factor)
        if kind in ("empty", "flat"):
            return np.full(shape, 0.5 if kind == "flat" else 0.0, np.float32)
        field = rng.normal(0, 0.08, shape) + (rng.random(shape) < 0.004) * rng.random(shape)
        return (np.round(field * 4) / 4 if kind in ("ties", "one tag") else field).astype(np.float32)

    tags = rng.normal(0, 2, (num_tags * num_types, height, width))
    if kind in ("ties", "one tag"):
        tags = np.round(tags) * (kind == "ties")
    return Maps(heat(1), tags.astype(np.float32), heat(2))


def extract(maps, max_candidates):
    fields = [None if field is None else torch.from_numpy(field)[None] for field in maps]
    peaks = PeakExtractor(max_candidates, len(maps.heat4))(Maps(*fields))
    return PeakMaps(*(field[0].numpy() for field in peaks))


def test_generated_maps_and_options(program, tmp_path):
    """All options, one or several levels and tags, single pixels, values of every size."""
    codecs, jobs, sidecars, cases = make_codecs(20), Jobs(tmp_path), {}, []
    for index in range(1000):
        case = make_case(codecs, 20, index)
        if not is_described(case):
            continue
        peaks = isinstance(case.maps, PeakMaps)
        key = id(case.codec), peaks
        if key not in sidecars:
            sidecars[key] = jobs.write(f"{len(sidecars)}.json", sidecar_of(case.codec, peaks))
        width, height = case.input_wh
        options = ("--input", f"{width}x{height}") if peaks else ()
        jobs.add(sidecars[key], fields_of(case.maps), *options)
        cases.append(case)
    outcomes, wrong = {"people": 0, "nobody": 0, "refused": 0}, []
    for number, (case, printed) in enumerate(zip(cases, jobs.run(program))):
        people = decoded(case)
        outcomes["refused" if people is None else "people" if len(people) else "nobody"] += 1
        if people is None:
            wrong += [] if "error" in printed else [f"case {number}: Python refuses it"]
        else:
            wrong += [f"case {number}: {text}" for text in differences(printed, people)]
    assert wrong == []
    assert min(outcomes.values()) > 20, outcomes


@pytest.mark.parametrize("fill", [True, False])
@pytest.mark.parametrize("kind", ["noise", "ties", "one tag", "two tags", "flat", "empty"])
def test_whole_maps_of_the_shipped_options(program, tmp_path, coco_keypoints, kind, fill):
    codec = AssociativeEmbedding(64, coco_keypoints, fill_missing=fill, **SHIPPED)
    jobs = Jobs(tmp_path)
    sidecar = jobs.write("codec.json", sidecar_of(codec))
    several = [random_maps(np.random.default_rng(seed), kind, 17) for seed in range(3)]
    for maps in several:
        jobs.add(sidecar, fields_of(maps))
    people = [codec.decode(maps) for maps in several]
    assert [differences(*pair) for pair in zip(jobs.run(program), people)] == [[]] * 3
    assert all(len(found) > 5 for found in people) or kind in ("empty", "flat")


@pytest.mark.parametrize("kind", ["noise", "two tags", "ties", "empty"])
def test_candidates(program, tmp_path, coco_keypoints, kind):
    # A top-k may choose any of equal values: where there are some, all peaks are candidates.
    height, width, most = (8, 10, 16 * 20) if kind == "ties" else (20, 28, 30)
    codec = AssociativeEmbedding(64, coco_keypoints, fill_missing=False, **SHIPPED)
    jobs = Jobs(tmp_path)
    sidecar = jobs.write("codec.json", sidecar_of(codec, peaks=True))
    several = [random_maps(np.random.default_rng(seed), kind, 17, height, width) for seed in range(3)]
    for maps in several:
        jobs.add(sidecar, fields_of(extract(maps, most)), "--input", f"{4 * width}x{4 * height}")
    people = [codec.decode(maps) for maps in several]
    assert [differences(*pair) for pair in zip(jobs.run(program), people)] == [[]] * 3
    assert all(len(found) > 3 for found in people) or kind == "empty"


@pytest.fixture(scope="module")
def photos(coco_keypoints):
    """Drawn scenes of several shapes."""
    from ehrpose.datasets.synthetic import SyntheticPeople

    scenes = SyntheticPeople(
        coco_keypoints, length=4, image_size=384, num_people=(2, 4), serialize_data=False
    )
    images = [scenes.get_data_info(index)["img"] for index in range(4)]
    return [images[0], images[1][:256], images[2][:, :200], images[3][:250, :380]]


def compare_photos(program, folder, model, photos):
    """Compare the people of photos, in px of the photo; return how many there are."""
    path = find_model(model).checkpoint.with_suffix(".onnx")
    jobs, people = Jobs(folder), []
    with PoseRuntime(path, num_threads=1) as runtime:
        for photo in photos:
            pixels, warp = runtime.prepare(photo)
            maps = runtime.run(pixels[None]).image(0)
            people.append(runtime.decode(maps).warped(invert_warp(warp)))
            jobs.add(f"{path}.json", fields_of(maps), "--photo", f"{photo.shape[1]}x{photo.shape[0]}")
    printed = jobs.run(program)
    assert [differences(*pair) for pair in zip(printed, people)] == [[]] * len(photos)
    return sum(map(len, people))


@pytest.mark.parametrize("model", ["ehrnet-small", "ehrnet-medium"])
def test_shipped_networks_on_drawn_photos(program, tmp_path, photos, model):
    pytest.importorskip("onnxruntime", reason="onnxruntime is in the extra 'deploy'")
    assert compare_photos(program, tmp_path, model, photos[: 4 if model == "ehrnet-small" else 2]) >= 3


def test_shipped_network_on_real_photos(program, tmp_path, coco_mini):
    pytest.importorskip("onnxruntime", reason="onnxruntime is in the extra 'deploy'")
    files = sorted((coco_mini / "val2017").glob("*.jpg"))[:12]
    assert compare_photos(program, tmp_path, "ehrnet-small", [read_image(path) for path in files]) > 20


def test_people_are_printed_as_predict_writes_them(program, tmp_path, five_keypoints):
    from ehrpose.people_json import people_to_dicts

    codec = AssociativeEmbedding(32, five_keypoints)
    maps = random_maps(np.random.default_rng(5), "noise", 5, 16, 16)
    jobs = Jobs(tmp_path)
    sidecar = jobs.write("codec.json", sidecar_of(codec))
    files = [f"{name}={jobs.write(f'{name}.npy', field)}" for name, field in fields_of(maps).items()]
    result = run_program(program, sidecar, *files)
    assert result.returncode == 0, result.stderr
    expected = people_to_dicts(codec.decode(maps))
    printed = json.loads(result.stdout)
    assert [list(person) for person in printed] == [list(person) for person in expected]
    for person, other in zip(printed, expected):
        for key in person:
            # The last digit of a half may be rounded either way.
            np.testing.assert_allclose(
                person[key], other[key], rtol=0, atol=0.0101 if key in ("keypoints", "bbox") else 1.01e-4
            )


def test_numbers_without_a_header_are_the_same(program, tmp_path, five_keypoints):
    codec = AssociativeEmbedding(32, five_keypoints, unbiased=True)
    maps = random_maps(np.random.default_rng(6), "two tags", 5, 8, 12)
    jobs = Jobs(tmp_path)
    sidecar = jobs.write("codec.json", sidecar_of(codec))
    files = []
    for name, field in fields_of(maps).items():
        field.astype("<f4").tofile(tmp_path / name)
        files.append(f"{name}={tmp_path / name}")
    jobs.lines.append("\t".join([str(sidecar), "--exact", "--input", "48x32", *files]))
    jobs.lines.append("\t".join([str(sidecar), "--exact", *files]))
    peaks = extract(maps, 20)
    other = jobs.write("peaks.json", sidecar_of(codec, peaks=True))
    files = []
    for name, field in fields_of(peaks).items():
        field.tofile(tmp_path / name)
        files.append(f"{name}={tmp_path / name}")
    jobs.lines.append("\t".join([str(other), "--exact", "--input", "48x32", *files]))
    whole, unsized, candidates = jobs.run(program)
    assert differences(whole, codec.decode(maps)) == []
    assert unsized["error"].startswith("expected --input WIDTHxHEIGHT, as ")
    assert differences(candidates, codec.decode_peaks(peaks, (48, 32))) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heat2": np.nan}, "heat2: expected finite values up to 1e15, got NaN, infinity or more"),
        ({"tag4": np.inf}, "tag4: expected finite values up to 1e15"),
        ({"heat4": -1.1e15}, "heat4: expected finite values up to 1e15"),
        ({"heat4": (5, 8, 9)}, "tag4: expected shape (5 * T, 8, 9), got (5, 8, 12)"),
        ({"heat4": (4, 8, 12)}, "heat4: expected shape (5, 8, 12), got (4, 8, 12)"),
        ({"tag4": (7, 8, 12)}, "tag4: expected shape (5 * T, 8, 12), got (7, 8, 12)"),
        ({"heat2": (5, 8, 12)}, "heat2: expected shape (5, 16, 24), got (5, 8, 12)"),
        ({"heat4": (5, 0, 12)}, "heat4: expected shape (5, H, W), got"),
        ({"heat4": (5, 8)}, "expected 3 axes, those of one image, got 2"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(program, tmp_path, five_keypoints, change, message):
    codec = AssociativeEmbedding(32, five_keypoints)
    fields = fields_of(random_maps(np.random.default_rng(7), "noise", 5, 8, 12))
    for name, value in change.items():
        if isinstance(value, tuple):
            fields[name] = np.zeros(value, np.float32)
        else:
            fields[name][-1, -1, -1] = value  # the last value, where a loop over whole blocks ends
    jobs = Jobs(tmp_path)
    jobs.add(jobs.write("codec.json", sidecar_of(codec)), fields)
    (printed,) = jobs.run(program)
    assert message in printed["error"]


def test_candidates_that_do_not_fit_are_refused(program, tmp_path, five_keypoints):
    codec = AssociativeEmbedding(32, five_keypoints)
    good = extract(random_maps(np.random.default_rng(8), "noise", 5, 8, 12), 10)
    outside = good._replace(peak_pixels=good.peak_pixels + 16 * 24)
    broken = good._replace(peak_cross=good.peak_cross * np.float32(np.nan))
    short = good._replace(peak_heat=good.peak_heat[:, :9])
    jobs = Jobs(tmp_path)
    sidecar = jobs.write("codec.json", sidecar_of(codec, peaks=True))
    for peaks, size in (
        (outside, "48x32"),
        (broken, "48x32"),
        (short, "48x32"),
        (good, "48x30"),
        (good, "8x8"),
    ):
        jobs.add(sidecar, fields_of(peaks), "--input", size)
    errors = [printed["error"] for printed in jobs.run(program)]
    assert errors[0].startswith("peak_pixels: expected pixels of the finest heatmap, 24 x 16, got ")
    assert errors[1].startswith("peak_cross: expected finite values")
    assert errors[2].startswith("peaks: expected as many pixels as scores")
    assert errors[3].startswith("input: expected width and height, two multiples of 4")
    assert errors[4].startswith("peak_pixels: expected pixels of the finest heatmap, 4 x 4, got ")
