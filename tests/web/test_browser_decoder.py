"""The page's decoder, run in Node, finds the people that Python finds."""

from __future__ import annotations

import numpy as np
import pytest
from decoder_cases import decoded, is_described, sidecar_of
from js_decoder import Jobs, differences, needs_node

from ehrpose.codecs import AssociativeEmbedding
from ehrpose.deploy.runtime import PoseRuntime
from ehrpose.image_io import read_image
from ehrpose.model_zoo import find_model
from ehrpose.structures import Maps, PeakMaps, invert_warp

pytestmark = needs_node
SHIPPED = {
    "unbiased": True, "nms_oks": 0.5, "place_weight": 1.5, "score_power": 2.0, "score_size": 0.25, "pair_ratio": 0.5,
    "max_limb": 1.5,
}  # fmt: skip


def test_generated_maps_and_options(tmp_path):
    """All options, one or two levels, several tags, single pixels, ties, values of every size."""
    from ehrpose.analysis.codec.codec_fuzz import make_case, make_codecs

    codecs, jobs, cases = make_codecs(31), Jobs(tmp_path), []
    for index in range(1500):
        case = make_case(codecs, 31, index)
        if is_described(case):
            jobs.add_maps(sidecar_of(case.codec, isinstance(case.maps, PeakMaps)), case.maps, case.input_wh)
            cases.append(case)
    outcomes, wrong = {"people": 0, "nobody": 0, "refused": 0}, []
    for number, (case, answer) in enumerate(zip(cases, jobs.run())):
        people = decoded(case)
        outcomes["refused" if people is None else "people" if len(people) else "nobody"] += 1
        if people is None:
            refused = isinstance(answer, dict) and answer["kind"] == "Error"
            wrong += [] if refused else [f"case {number}: Python refuses it"]
        else:
            wrong += [f"case {number}: {text}" for text in differences(answer, people)]
    assert wrong == []
    assert min(outcomes.values()) > 20, outcomes


def noisy_maps(seed, num_people=6, height=40, width=56):
    """Return maps with people of 17 keypoints, noise, and tags that differ by person."""
    rng = np.random.default_rng(seed)
    heat4, heat2 = (np.abs(rng.normal(0, 0.03, (17, height * f, width * f))) for f in (1, 2))
    tag = rng.normal(0, 1, (17, height, width))
    ys, xs = np.mgrid[: 2 * height, : 2 * width]
    for n in range(num_people):
        middle, size = rng.uniform((15, 12), (2 * width - 15, 2 * height - 12)), rng.uniform(3, 9)
        for k in range(17):
            x, y = middle + rng.normal(0, size, 2)
            blob = rng.uniform(0.3, 1) * np.exp(-((xs - x) ** 2 + (ys - y) ** 2) / 8)
            heat2[k] = np.maximum(heat2[k], blob)
            heat4[k] = np.maximum(heat4[k], blob[::2, ::2])
            at_x, at_y = (int(np.clip(v / 2, 1, side - 2)) for v, side in ((x, width), (y, height)))
            tag[k, at_y - 1 : at_y + 2, at_x - 1 : at_x + 2] = n + rng.normal(0, 0.2)
    return Maps(*(field.astype(np.float32) for field in (heat4, tag, heat2)))


@pytest.mark.parametrize("fill", [True, False])
def test_maps_with_the_shipped_options(tmp_path, coco_keypoints, fill):
    codec, jobs = AssociativeEmbedding(64, coco_keypoints, fill_missing=fill, **SHIPPED), Jobs(tmp_path)
    several = [noisy_maps(seed) for seed in range(10)]
    for maps in several:
        jobs.add_maps(sidecar_of(codec), maps, (224, 160))
    people = [codec.decode(maps) for maps in several]
    assert [differences(*pair) for pair in zip(jobs.run(), people)] == [[]] * 10
    assert min(map(len, people)) > 2
    assert any(found.filled.any() for found in people) == fill


@pytest.fixture(scope="module")
def photos(coco_keypoints, root):
    """A hundred photos of several shapes: real ones if they are at hand, otherwise drawn ones."""
    from ehrpose.datasets.synthetic import SyntheticPeople

    files = sorted((root.parent / "shared/data/coco-mini/val2017").glob("*.jpg"))[:70]
    images = [read_image(path) for path in files]
    scenes = SyntheticPeople(
        coco_keypoints, length=100 - len(images), image_size=384, num_people=(1, 5), serialize_data=False
    )
    for index in range(100 - len(images)):
        image = scenes.get_data_info(index)["img"]
        images.append([image, image[:256], image[:, :200], image[3:250, :380]][index % 4])
    return images


def answers_in_parts(folder, sidecar, found):
    """Run the jobs of ``found`` ten at a time, since whole maps have megabytes; return the answers."""
    answers = []
    for start in range(0, len(found), 10):
        jobs = Jobs(folder)
        for maps, input_wh, photo_wh in found[start : start + 10]:
            jobs.add_maps(sidecar, maps, input_wh, photo_wh)
        answers += jobs.run()
    return answers


def compare(folder, path, photos):
    """Compare the people of photos, in px of the photo; return how many there are."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is in the extra 'deploy'")
    answers, people = [], []
    sidecar = path.with_name(f"{path.name}.json").read_text(encoding="utf-8")
    with PoseRuntime(path, num_threads=1) as runtime:
        for start in range(0, len(photos), 10):
            found = []
            for photo in photos[start : start + 10]:
                pixels, warp = runtime.prepare(photo)
                maps = runtime.run(pixels[None]).image(0)
                size_wh = pixels.shape[:0:-1]
                people.append(runtime.decode(maps, size_wh).warped(invert_warp(warp)))
                found.append((maps, size_wh, photo.shape[1::-1]))
            answers += answers_in_parts(folder, sidecar, found)
    assert [differences(*pair) for pair in zip(answers, people)] == [[]] * len(photos)
    return sum(map(len, people))


@pytest.mark.slow
def test_a_hundred_photos_from_candidates(tmp_path, photos):
    pytest.importorskip("onnx", reason="onnx is in the extra 'deploy'")
    from ehrpose.deploy.export.options import ExportOptions
    from ehrpose.deploy.pipeline import export

    zoo = find_model("ehrnet-small")
    exported = export(str(zoo.config), str(zoo.checkpoint), tmp_path, ExportOptions(decode="peaks"))
    assert compare(tmp_path, exported.path, photos) > 60


@pytest.mark.slow
def test_a_hundred_photos_from_the_shipped_maps(tmp_path, photos):
    assert compare(tmp_path, find_model("ehrnet-small").network, photos) > 60


def test_medium_on_drawn_photos(tmp_path, photos):
    assert compare(tmp_path, find_model("ehrnet-medium").network, photos[-3:]) > 1
