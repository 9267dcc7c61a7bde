"""Kinds of keypoint errors, on people with errors made by hand."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from ehrpose.cli import run_cli
from ehrpose.config import load_config, resolve
from ehrpose.evaluation.keypoint_errors import KINDS, diagnose
from ehrpose.keypoint_meta import KeypointMeta

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "configs" / "ehrnet" / "small_coco-320.py"
META = KeypointMeta.build(resolve(load_config(str(CONFIG))).keypoints)
NAMES = list(META.names)
KNEE, OTHER_KNEE, NOSE = NAMES.index("left_knee"), NAMES.index("right_knee"), NAMES.index("nose")
AREA = 100.0**2


def distance_of(similarity, keypoint):
    """Return the distance, in px, with this similarity."""
    return float(np.sqrt(-2 * AREA * (2 * META.sigmas[keypoint]) ** 2 * np.log(similarity)))


def labels(num_people=2):
    """Return (N, 17, 2): every keypoint is far from all others, and so are people."""
    grid = np.stack(np.divmod(np.arange(17), 5), axis=1)[:, ::-1] * 200.0
    return np.stack([grid + np.array([n * 5000.0, 0]) for n in range(num_people)])


def truth_of(points, visible=None, image_id=7):
    annotations = []
    for n, person in enumerate(points):
        seen = np.full(17, 2) if visible is None else visible[n]
        annotations.append(
            {
                "id": n + 1, "image_id": image_id, "category_id": 1, "iscrowd": 0, "area": AREA,
                "bbox": [0, 0, 100, 100], "num_keypoints": int((seen > 0).sum()),
                "keypoints": np.column_stack([person, seen]).ravel().tolist(),
            }
        )  # fmt: skip
    return {
        "images": [{"id": image_id, "width": 9000, "height": 900}],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person", "keypoints": NAMES}],
    }


def results_of(points, scores=None, image_id=7):
    scores = np.linspace(0.9, 0.5, len(points)) if scores is None else scores
    return [
        {
            "image_id": image_id,
            "category_id": 1,
            "score": float(s),
            "keypoints": np.column_stack([p, np.ones(17)]).ravel().tolist(),
        }
        for p, s in zip(points, scores)
    ]


def kinds_of(points, truth=None, keypoint=KNEE):
    errors = diagnose(truth or truth_of(labels()), results_of(points), META)
    return dict(zip(KINDS, errors.kinds[keypoint].tolist())), errors


def test_perfect_people_are_good():
    kinds, errors = kinds_of(labels())
    assert kinds == {"good": 2, "jitter": 0, "inversion": 0, "swap": 0, "miss": 0}
    assert (errors.people, errors.found) == (2, 2)
    assert errors.labelled.tolist() == [2] * 17
    assert errors.paired.tolist() == [0] + [2] * 16
    assert not errors.doubled.any()
    assert not errors.doubled_labels.any()


@pytest.mark.parametrize(
    ("similarity", "kind"),
    [(0.86, "good"), (0.84, "jitter"), (0.51, "jitter"), (0.49, "miss"), (1e-9, "miss")],
)
@pytest.mark.parametrize("keypoint", [KNEE, NOSE])
def test_limits_of_similarity(similarity, kind, keypoint):
    points = labels()
    points[0, keypoint, 1] += distance_of(similarity, keypoint)
    kinds, _ = kinds_of(points, keypoint=keypoint)
    assert kinds == {**dict.fromkeys(KINDS, 0), "good": 1, kind: 1 + (kind == "good")}


def test_left_for_right_is_an_inversion_and_a_pair_at_one_place_is_counted():
    points = labels()
    points[0, KNEE] = points[0, OTHER_KNEE] + 1
    kinds, errors = kinds_of(points)
    assert (kinds["good"], kinds["inversion"]) == (1, 1)
    assert errors.doubled[[KNEE, OTHER_KNEE]].tolist() == [1, 1]
    assert errors.doubled.sum() == 2
    assert not errors.doubled_labels.any()
    # Without a label of the other knee there is no telling.
    visible = np.full((2, 17), 2)
    visible[0, OTHER_KNEE] = 0
    kinds, errors = kinds_of(points, truth_of(labels(), visible))
    assert (kinds["good"], kinds["miss"]) == (1, 1)
    assert errors.paired[[KNEE, OTHER_KNEE]].tolist() == [1, 1]
    assert errors.labelled[OTHER_KNEE] == 1
    assert errors.doubled.sum() == 0


def test_pairs_that_are_labelled_at_one_place():
    points = labels()
    points[1, KNEE] = points[1, OTHER_KNEE]
    _, errors = kinds_of(points, truth_of(points))
    assert errors.doubled.tolist() == errors.doubled_labels.tolist()
    assert errors.doubled_labels[KNEE] == 1


@pytest.mark.parametrize("taken", [KNEE, OTHER_KNEE])
def test_keypoint_of_another_person_is_a_swap(taken):
    points = labels()
    points[0, KNEE] = points[1, taken]
    kinds, _ = kinds_of(points)
    assert (kinds["good"], kinds["swap"]) == (1, 1)


def test_people_are_matched_best_score_first_and_once():
    worse = labels(1)
    worse[:, :, 1] += 5
    errors = diagnose(truth_of(labels()), results_of(np.concatenate([worse, labels(1)]), [0.2, 0.8]), META)
    assert (errors.people, errors.found) == (2, 1)
    assert errors.kinds[:, 0].tolist() == [1] * 17
    errors = diagnose(truth_of(labels()), results_of(labels() + 2500), META)
    assert (errors.people, errors.found, errors.labelled.sum()) == (2, 0, 0)


def test_crowds_and_images_without_predictions_do_not_count():
    truth, other = truth_of(labels()), truth_of(labels(), image_id=8)
    truth["annotations"][1]["iscrowd"] = 1
    truth["images"] += other["images"]
    truth["annotations"] += other["annotations"]
    errors = diagnose(truth, results_of(labels()), META)
    assert (errors.people, errors.found) == (1, 1)
    assert diagnose(truth, [], META).people == 0


def run_tool(*args):
    spec = importlib.util.spec_from_file_location(
        "tool", ROOT / "tools" / "analysis_tools" / "keypoint_errors.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    try:
        run_cli(lambda: module.main([str(arg) for arg in args]))
    except SystemExit as end:
        return end.code
    return 0


def test_tool_prints_a_table(tmp_path, capsys):
    points = labels()
    points[0, KNEE] = points[0, OTHER_KNEE]
    (tmp_path / "truth.json").write_text(json.dumps(truth_of(labels())))
    (tmp_path / "results.json").write_text(json.dumps(results_of(points)))
    assert run_tool(CONFIG, tmp_path / "results.json", "--ann-file", tmp_path / "truth.json") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "2 of 2 people found (OKS of at least 0.3)"
    assert "| left_knee | 2 | 50.0 | 0.0 | 50.0 | 0.0 | 0.0 | 50.0 | 0.0 |" in lines
    assert "| nose | 2 | 100.0 | 0.0 | 0.0 | 0.0 | 0.0 |  |  |" in lines
    assert lines[-1] == "| all | 34 | 97.1 | 0.0 | 2.9 | 0.0 | 0.0 | 6.2 | 0.0 |"


@pytest.mark.parametrize(
    ("results", "options", "message"),
    [
        ("[", (), "results.json is not valid JSON"),
        ("{}", (), "expected a list of people, got dict"),
        ('[{"image_id": 7, "score": 1}]', (), "prediction 0 is not in COCO's result format"),
        ('[{"image_id": 7, "score": 1, "keypoints": [1, 2, 3]}]', (), r"expected 3 * 17 finite numbers"),
        ('[{"image_id": 9, "score": 1, "keypoints": []}]', (), r"expected 3 * 17 finite numbers"),
        ("[]", ("--min-oks", "0"), "min_oks must be above 0"),
    ],
)  # fmt: skip
def test_user_errors_are_one_line(results, options, message, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("EHRPOSE_DEBUG", raising=False)
    (tmp_path / "truth.json").write_text(json.dumps(truth_of(labels())))
    (tmp_path / "results.json").write_text(results)
    assert run_tool(CONFIG, tmp_path / "results.json", "--ann-file", tmp_path / "truth.json", *options) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1


def test_missing_file_and_image_of_another_dataset(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("EHRPOSE_DEBUG", raising=False)
    (tmp_path / "truth.json").write_text(json.dumps(truth_of(labels())))
    (tmp_path / "results.json").write_text(json.dumps(results_of(labels(), image_id=9)))
    assert run_tool(CONFIG, tmp_path / "none.json", "--ann-file", tmp_path / "truth.json") == 2
    assert "file not found" in capsys.readouterr().err
    assert run_tool(CONFIG, tmp_path / "results.json", "--ann-file", tmp_path / "truth.json") == 2
    assert "not in the ground truth" in capsys.readouterr().err


def test_a_broken_label_is_named_with_its_file(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("EHRPOSE_DEBUG", raising=False)
    truth = truth_of(labels())
    truth["annotations"][0]["area"] = float("inf")
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    (tmp_path / "results.json").write_text(json.dumps(results_of(labels())))
    assert run_tool(CONFIG, tmp_path / "results.json", "--ann-file", tmp_path / "truth.json") == 2
    name = f"annotation {truth['annotations'][0]['id']}"
    assert (
        f"truth.json: {name}: expected a number, at least 0, as 'area', got Infinity"
        in capsys.readouterr().err
    )
