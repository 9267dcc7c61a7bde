"""How many planted faults a check names on real photos, and how many other findings it has."""

from __future__ import annotations

import pytest

from ehrpose.analysis.training.label_faults import check_folder, plant_faults, score


@pytest.mark.slow
def test_planted_faults_are_named_with_few_others(coco_mini, tmp_path):
    seen: dict = {}
    before = check_folder(coco_mini, seen)
    plants = plant_faults(coco_mini, tmp_path / "planted", 100)
    result = score(plants, check_folder(tmp_path / "planted", seen), before)
    assert len(plants) == 40
    exact = [fault for fault in result.named if fault not in ("left and right exchanged", "keypoint moved")]
    assert {fault: result.named[fault] for fault in exact} == dict.fromkeys(exact, 5)
    assert sum(result.named.values()) >= 35  # the median of other seeds is in docs/data_check.md
    assert result.others <= 11
