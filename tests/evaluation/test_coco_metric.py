from __future__ import annotations

import contextlib
import io
import json
import multiprocessing
import os
import socket
from pathlib import Path

import numpy as np
import pytest
from annotated_people import annotation, make_people, make_samples, official, run, sample
from pycocotools.coco import COCO

from ehrpose.engine.distributed import init_cpu_processes, leave_processes
from ehrpose.evaluation.coco_eval import NUMBERS
from ehrpose.evaluation.coco_metric import CocoMetric


@pytest.mark.parametrize("skeleton", ["coco_keypoints", "five_keypoints"])
def test_numbers_are_those_of_pycocotools(request, rng, skeleton):
    keypoints = request.getfixturevalue(skeleton)
    metric = CocoMetric(keypoints=keypoints)
    samples = make_samples(rng, metric.meta.num_keypoints)
    result = run(metric, samples)
    expected = official(samples, metric.meta.sigmas)
    assert [result[f"coco/{name}"] for name in NUMBERS] == pytest.approx(list(expected), abs=1e-12)
    assert 0.1 < result["coco/AP"] < 0.9


def test_perfect_people_reach_one_and_shifted_ones_do_not(coco_keypoints, rng):
    def ap(shift):
        samples = []
        for image_id in (1, 2, 3):
            keypoints, visible = make_people(rng, 3, 17)
            anns = [
                annotation(10 * image_id + i, image_id, p, v)
                for i, (p, v) in enumerate(zip(keypoints, visible))
            ]
            samples.append(sample(image_id, anns, keypoints + shift, [0.9, 0.8, 0.7]))
        return run(CocoMetric(keypoints=coco_keypoints), samples)["coco/AP"]

    assert ap(0.0) == pytest.approx(1.0)
    assert ap(6.0) < 0.95


def test_an_image_that_came_twice_counts_once(coco_keypoints, rng):
    samples = make_samples(rng, 17)
    once = run(CocoMetric(keypoints=coco_keypoints), samples)
    metric = CocoMetric(keypoints=coco_keypoints)
    metric.process({}, [*samples, samples[0], samples[1]])
    assert metric.evaluate(len(samples) + 2) == once


def test_no_detections_are_zero_and_crowds_are_ignored(coco_keypoints, rng):
    keypoints, visible = make_people(rng, 2, 17)
    anns = [annotation(1, 1, keypoints[0], visible[0])]
    empty = sample(1, anns, np.zeros((0, 17, 2)), [])
    assert run(CocoMetric(keypoints=coco_keypoints), [empty])["coco/AP"] == 0
    crowd = annotation(2, 1, keypoints[1], visible[1] * 0, iscrowd=1)
    crowd["num_keypoints"] = 0
    result = run(CocoMetric(keypoints=coco_keypoints), [sample(1, [*anns, crowd], keypoints[:1], [0.9])])
    assert result["coco/AP"] == pytest.approx(1.0)


def test_truth_from_a_file_gives_the_same_numbers(coco_keypoints, rng, tmp_path):
    samples = make_samples(rng, 17)
    path = tmp_path / "truth.json"
    path.write_text(json.dumps({"images": [{"id": s["img_id"]} for s in samples],
                                "annotations": [a for s in samples for a in s["raw_anns"]],
                                "categories": [{"id": 1, "name": "person"}]}))  # fmt: skip
    gathered = run(CocoMetric(keypoints=coco_keypoints), samples)
    without = [{**s, "raw_anns": []} for s in samples]
    assert run(CocoMetric(keypoints=coco_keypoints, ann_file=str(path)), without) == gathered
    with pytest.raises(FileNotFoundError, match=r"nowhere\.json"):
        CocoMetric(keypoints=coco_keypoints, ann_file=str(tmp_path / "nowhere.json"))


def test_result_file_is_in_cocos_result_format(coco_keypoints, rng, tmp_path):
    samples = make_samples(rng, 17)
    metric = CocoMetric(keypoints=coco_keypoints, format_only=True, outfile_prefix=str(tmp_path / "out"))
    assert run(metric, samples) == {}
    rows = json.loads((tmp_path / "out.keypoints.json").read_text())
    assert len(rows) == sum(len(s["pred_instances"]["bbox_scores"]) for s in samples)
    assert set(rows[0]) == {"image_id", "category_id", "keypoints", "score"}
    assert len(rows[0]["keypoints"]) == 51
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {"info": {}, "images": [{"id": s["img_id"]} for s in samples], "annotations": [],
                        "categories": [{"id": 1, "name": "person"}]}  # fmt: skip
        coco.createIndex()
        assert len(coco.loadRes(rows).anns) == len(rows)
    assert [p.name for p in tmp_path.iterdir()] == ["out.keypoints.json"]


def test_mistakes_are_named(coco_keypoints, rng):
    with pytest.raises(ValueError, match="outfile_prefix"):
        CocoMetric(keypoints=coco_keypoints, format_only=True)
    broken = np.zeros((1, 17, 2))
    broken[0, 3, 0] = np.nan
    with pytest.raises(ValueError, match="image 7"):
        CocoMetric(keypoints=coco_keypoints).process({}, [sample(7, [], broken, [0.5])])


def test_per_keypoint_similarity(coco_keypoints, rng):
    keypoints, _ = make_people(rng, 1, 17)
    anns = [annotation(1, 1, keypoints[0], np.full(17, 2))]
    moved = keypoints.copy()
    moved[0, 9] += 500  # only the left wrist is wrong
    result = run(CocoMetric(keypoints=coco_keypoints, per_keypoint=True), [sample(1, anns, moved, [0.9])])
    assert result["coco/OKS_nose"] == pytest.approx(1.0)
    assert result["coco/OKS_left_wrist"] == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(("skeleton", "max_dets"), [("coco_keypoints", 20), ("five_keypoints", 2)])
def test_fast_evaluator_gives_the_same_numbers(request, rng, skeleton, max_dets):
    pytest.importorskip("hotcoco", reason="the optional fast evaluator hotcoco is not installed")
    options = {"keypoints": request.getfixturevalue(skeleton), "max_dets": max_dets}
    samples = make_samples(rng, len(options["keypoints"]["names"]), images=40)
    plain = run(CocoMetric(**options), samples)
    fast = run(CocoMetric(**options, use_fast_eval=True), samples)
    assert 0.01 < plain["coco/AP"] < 0.9
    assert fast == pytest.approx(plain, abs=1e-12)


@pytest.mark.parametrize(
    ("ids", "category", "why"),
    [
        ((1, 2), 1, "the usual case"),
        ((0, 1), 1, "pycocotools takes a match with the id 0 for none"),
        ((5, 5), 1, "datasets merged by hand repeat ids"),
        ((1, 2), 3, "a person need not be category 1"),
    ],
)
@pytest.mark.parametrize("source", ["samples", "file", "file without categories"])
def test_ids_of_annotations_and_categories_do_not_matter(
    coco_keypoints, rng, tmp_path, ids, category, why, source
):
    samples = []
    for image_id, number in enumerate(ids, 1):
        keypoints, visible = make_people(rng, 1, 17)
        anns = [annotation(number, image_id, keypoints[0], visible[0], category_id=category)]
        samples.append(sample(image_id, anns, keypoints, [0.9]))
    path = None
    if source != "samples":
        path = tmp_path / "truth.json"
        truth = {"images": [{"id": 1}, {"id": 2}], "annotations": [a for s in samples for a in s["raw_anns"]]}
        if source == "file":
            truth["categories"] = [
                {"id": 9, "name": "kite"},
                {"id": category, "keypoints": coco_keypoints["names"]},
            ]
        path.write_text(json.dumps(truth))
    metric = CocoMetric(
        keypoints=coco_keypoints, ann_file=path and str(path), outfile_prefix=str(tmp_path / "out")
    )
    assert run(metric, samples)["coco/AP"] == pytest.approx(1.0), why
    rows = json.loads((tmp_path / "out.keypoints.json").read_text())
    assert {row["category_id"] for row in rows} == {category}


def test_optional_fields_may_be_missing(coco_keypoints, rng):
    keypoints, visible = make_people(rng, 1, 17)
    person = annotation(1, 1, keypoints[0], visible[0])
    del person["iscrowd"], person["num_keypoints"]
    crowd = {"id": 2, "image_id": 1, "category_id": 1, "iscrowd": 1, "bbox": [0, 0, 9, 9], "area": 81.0}
    samples = [sample(1, [person, crowd], keypoints, [0.9])]
    metric = CocoMetric(keypoints=coco_keypoints, per_keypoint=True)
    assert run(metric, samples)["coco/AP"] == pytest.approx(1.0)


@pytest.mark.parametrize("found", [0, 2])
def test_without_annotated_people_the_numbers_are_undefined(coco_keypoints, rng, found):
    keypoints, _ = make_people(rng, found, 17)
    result = run(
        CocoMetric(keypoints=coco_keypoints), [sample(1, [], keypoints.reshape(-1, 17, 2), [0.9] * found)]
    )
    assert set(result.values()) == {-1.0}


def test_only_predicted_images_count(coco_keypoints, rng, tmp_path):
    """Validation on a part of the file is not penalised for the rest."""
    keypoints, visible = make_people(rng, 2, 17)
    anns = [annotation(i + 1, i + 1, keypoints[i], visible[i]) for i in range(2)]
    path = tmp_path / "truth.json"
    path.write_text(json.dumps({"images": [{"id": 1}, {"id": 2}], "annotations": anns}))
    metric = CocoMetric(keypoints=coco_keypoints, ann_file=str(path))
    assert run(metric, [sample(1, [], keypoints[:1], [0.9])])["coco/AP"] == pytest.approx(1.0)


def test_only_the_best_people_of_an_image_count(coco_keypoints, rng):
    keypoints, visible = make_people(rng, 25, 17)
    anns = [annotation(i + 1, 1, keypoints[i], visible[i]) for i in range(25)]
    samples = [sample(1, anns, keypoints, np.linspace(1, 0.1, 25))]
    recall = {
        n: run(CocoMetric(keypoints=coco_keypoints, max_dets=n), samples)["coco/AR"] for n in (5, 20, 30)
    }
    assert recall == pytest.approx({5: 0.2, 20: 0.8, 30: 1.0})
    assert run(CocoMetric(keypoints=coco_keypoints), samples)["coco/AR"] == recall[20], "20 is COCO's"


def test_people_can_be_ranked_by_their_keypoints(coco_keypoints, tmp_path):
    one = sample(1, [], np.zeros((1, 17, 2)), [0.8])
    one["pred_instances"]["keypoint_scores"][0] = [0.5] * 10 + [0.1] * 7  # 0.1 is below the threshold
    out = str(tmp_path / "out")
    metric = CocoMetric(
        keypoints=coco_keypoints, format_only=True, outfile_prefix=out, score_mode="bbox_keypoint"
    )
    run(metric, [one])
    assert json.loads(Path(f"{out}.keypoints.json").read_text())[0]["score"] == pytest.approx(0.4)


@pytest.mark.parametrize("field", ["keypoints", "keypoint_scores", "bbox_scores"])
def test_predictions_that_are_not_finite_name_the_image(coco_keypoints, field):
    broken = sample(7, [], np.zeros((1, 17, 2)), [0.5])
    broken["pred_instances"][field].flat[0] = np.nan
    with pytest.raises(ValueError, match="image 7"):
        CocoMetric(keypoints=coco_keypoints).process({}, [broken])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "a JSON object with 'images'"),
        ('{"images": [{"id": 2}]}', "not in the ground truth, for example 1"),
        (
            '{"images": [{"id": 1}], "annotations": [{"id": 4, "image_id": 1, "bbox": [1, 2, 3, 4]}]}',
            "annotation 4 has no 'keypoints'",
        ),
        (
            '{"images": [{"id": 1}], "annotations": [{"id": 4, "image_id": 1, "keypoints": [1, 2, 2], "area": 1, '
            '"bbox": []}]}',
            r"annotation 4 has 3 numbers in 'keypoints', expected 3 \* 17",
        ),
        (
            '{"images": [{"id": 1}], "categories": [{"id": 1, "keypoints": ["a"]}]}',
            "no category .* 17 keypoints",
        ),
    ],
    ids=[
        "not JSON",
        "not COCO format",
        "another dataset",
        "missing fields",
        "wrong length",
        "other skeleton",
    ],
)
def test_broken_ground_truth_is_named(coco_keypoints, tmp_path, content, message):
    path = tmp_path / "truth.json"
    path.write_text(content)
    metric = CocoMetric(keypoints=coco_keypoints, ann_file=str(path))
    with pytest.raises(ValueError, match=message):
        run(metric, [sample(1, [], np.zeros((1, 17, 2)), [0.5])])


def test_wrong_use_is_named(coco_keypoints, five_keypoints, monkeypatch):
    with pytest.raises(ValueError, match="score_mode must be"):
        CocoMetric(keypoints=coco_keypoints, score_mode="box")
    with pytest.raises(ValueError, match="max_dets"):
        CocoMetric(keypoints=coco_keypoints, max_dets=0)
    one = sample(1, [], np.zeros((1, 17, 2)), [0.5])
    with pytest.raises(ValueError, match="'five'"):
        CocoMetric(keypoints=five_keypoints).process({}, [one])
    del one["raw_anns"]
    with pytest.raises(ValueError, match="'raw_anns'"):
        CocoMetric(keypoints=coco_keypoints).process({}, [one])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match="hotcoco"):
        CocoMetric(keypoints=coco_keypoints, use_fast_eval=True)


def _evaluate_share(rank: int, port: int, folder: str, keypoints: dict, samples: list) -> None:
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1",
                      MASTER_PORT=str(port))  # fmt: skip
    init_cpu_processes("pytorch")
    metric = CocoMetric(keypoints=keypoints)
    for item in samples[rank::2]:
        metric.process({}, [item])
    result = metric.evaluate(len(samples))
    Path(folder, f"{rank}.json").write_text(json.dumps(result))
    leave_processes()


def test_two_processes_with_an_odd_number_of_images_count_like_one(coco_keypoints, rng, tmp_path):
    samples = make_samples(rng, 17, images=7)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    arguments = (port, str(tmp_path), coco_keypoints, samples)
    processes = [context.Process(target=_evaluate_share, args=(rank, *arguments)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
    assert [process.exitcode for process in processes] == [0, 0]
    found = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    assert found[0] == found[1] == run(CocoMetric(keypoints=coco_keypoints), samples)


def test_a_keypoint_outside_its_photo_does_not_count(coco_keypoints, rng, tmp_path):
    keypoints, visible = make_people(rng, 1, 17)
    keypoints = np.clip(keypoints, 1, 470)
    predicted = keypoints.copy()
    keypoints[0, 5:12, 1] = 481  # below the photo of 640 x 480 px
    predicted[0, 5:12] = 0
    truth = annotation(1, 1, keypoints[0], visible[0] * 0 + 2)
    path = tmp_path / "truth.json"
    image = {"id": 1, "width": 640, "height": 480}
    path.write_text(json.dumps({"images": [image], "annotations": [truth]}))
    for ann_file in (None, str(path)):
        metric = CocoMetric(keypoints=coco_keypoints, ann_file=ann_file)
        assert run(metric, [sample(1, [truth], predicted, [0.9])])["coco/AP"] == pytest.approx(1.0)


def test_a_category_with_other_keypoint_names_is_not_people(coco_keypoints, rng, tmp_path):
    keypoints, visible = make_people(rng, 2, 17)
    anns = [annotation(i + 1, 1, keypoints[i], visible[i], category_id=i + 1) for i in range(2)]
    dog = {"id": 1, "name": "dog", "keypoints": [f"dog {k}" for k in range(17)]}
    person = {"id": 2, "name": "person", "keypoints": coco_keypoints["names"]}
    path = tmp_path / "truth.json"
    path.write_text(json.dumps({"images": [{"id": 1}], "annotations": anns, "categories": [dog, person]}))
    metric = CocoMetric(keypoints=coco_keypoints, ann_file=str(path))
    assert run(metric, [sample(1, [], keypoints[1:], [0.9])])["coco/AP"] == pytest.approx(1.0)
