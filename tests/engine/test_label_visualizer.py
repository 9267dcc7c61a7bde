"""Classes written on photos."""

from __future__ import annotations

import numpy as np

from ehrpose.data_sample import LabelDataSample
from ehrpose.engine.label_visualizer import LabelVisualizer


def test_right_answers_are_green_and_wrong_ones_red(tmp_path):
    visualizer = LabelVisualizer("labels", save_dir=str(tmp_path))
    visualizer.dataset_meta = {"classes": ("ant", "bee")}
    photo = np.full((40, 100, 3), 200, np.uint8)
    sample = LabelDataSample()
    sample.gt_label, sample.pred_label, sample.pred_scores = 1, 1, np.array([0.2, 0.8])
    right = visualizer.add_datasample("x", photo, sample, out_file=str(tmp_path / "right.png"))
    assert right.shape == (2 * 24 + 160, 400, 3), "enlarged, with two lines"
    sample.pred_label = 0
    wrong = visualizer.add_datasample("x", photo, sample, draw_gt=False, out_file=str(tmp_path / "wrong.png"))
    assert wrong.shape == (24 + 160, 400, 3)
    assert right[1, 395].argmax() == 1
    assert wrong[1, 395].argmax() == 0
    plain = visualizer.add_datasample("x", photo, LabelDataSample(), out_file=str(tmp_path / "plain.png"))
    assert np.unique(plain).tolist() == [200]
