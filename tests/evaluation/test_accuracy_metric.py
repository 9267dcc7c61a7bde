"""Top-1, top-5, accuracy by class, and the confusion matrix."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ehrpose.evaluation import AccuracyMetric
from ehrpose.evaluation.accuracy_metric import confusion_matrix
from ehrpose.visualization.confusion import draw_confusion

NAMES = ("ant", "bee", "cat")
ROWS = [
    (0, [0.7, 0.2, 0.1]),
    (0, [0.3, 0.6, 0.1]),
    (1, [0.1, 0.6, 0.3]),
    (2, [0.5, 0.3, 0.2]),
]


def evaluated(rows=ROWS, names=NAMES, **settings):
    metric = AccuracyMetric(**{"topk": (1, 2), **settings})
    metric.dataset_meta = {"classes": names}
    given = [
        {"img_id": i, "gt_label": label, "pred_scores": np.float32(s)} for i, (label, s) in enumerate(rows, 1)
    ]
    metric.process(None, given)
    return metric, metric.evaluate(len(rows))


def test_shares_of_right_answers():
    _, found = evaluated(per_class=True)
    assert found == pytest.approx(
        {"accuracy/top1": 0.5, "accuracy/top2": 0.75, "accuracy/mean_class": 0.5, "accuracy/class_ant": 0.5,
         "accuracy/class_bee": 1.0, "accuracy/class_cat": 0.0}
    )  # fmt: skip


def test_a_class_of_equal_score_is_not_right():
    """A network that says the same of all classes knows none."""
    assert evaluated([(0, [1 / 3] * 3)])[1]["accuracy/top1"] == 0


def test_an_unreadable_image_is_wrong():
    metric = AccuracyMetric(topk=(1,))
    metric.process(None, [{"gt_label": 0, "pred_scores": np.float32([1, 0]), "bad_image": "empty"}])
    assert metric.evaluate(1) == {"accuracy/top1": 0.0, "accuracy/mean_class": 0.0}


def test_answers_are_written(tmp_path):
    evaluated(outfile_prefix=str(tmp_path / "a"), format_only=True)
    answers = json.loads((tmp_path / "a.labels.json").read_text())
    assert [a["label"] for a in answers] == ["ant", "bee", "bee", "ant"]
    assert answers[0] == {"image": "1", "label": "ant", "score": 0.7}


def test_the_picture_of_the_confusions(tmp_path):
    evaluated(confusion_file=str(tmp_path / "deep/c.png"))
    assert (tmp_path / "deep/c.png").is_file()
    matrix = confusion_matrix(
        [{"label": 0, "answer": 1}, {"label": 0, "answer": 1}, {"label": 1, "answer": -1}], 2
    )
    assert matrix.tolist() == [[0, 2], [0, 0]]
    large = draw_confusion(np.eye(100, dtype=int), [str(i) for i in range(100)])
    assert large.shape == (1000, 1000, 3)
    assert (large[5, 5], large[5, 15]) == (pytest.approx(large[15, 15]), pytest.approx([255] * 3))
    assert large[5, 5].max() < 255
    with pytest.raises(ValueError, match="expected a matrix of 3 x 3"):
        draw_confusion(np.eye(2), NAMES)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="topk must be"):
        AccuracyMetric(topk=(0,))
    with pytest.raises(ValueError, match="needs outfile_prefix"):
        AccuracyMetric(format_only=True)
    with pytest.raises(ValueError, match="image 1 contain NaN"):
        evaluated([(0, [float("nan"), 0, 0])])


def test_numbers_stand_for_names_that_do_not_fit():
    assert "accuracy/class_2" in evaluated(names=("x",), per_class=True)[1]
