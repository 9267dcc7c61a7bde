from __future__ import annotations

import cv2
import pytest

from ehrpose.analysis.training.demo import run_demo

TINY = """
_base_ = [{leaf!r}]
phi = -8
image_size = 64
num_people = (1, 2)
codec = dict(input_size=64)
train_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False, dataset=dict(length=4))
val_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False, dataset=dict(length=5))
test_dataloader = val_dataloader
train_cfg = dict(max_iters=2, val_interval=2)
"""


def test_demo_trains_tests_and_draws(root, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "mmengine.config.config.FormatCode", lambda text, **options: (text, True), raising=False
    )
    (tmp_path / "tiny.py").write_text(TINY.format(leaf=str(root / "configs/ehrnet/demo_synthetic-128.py")))
    result = run_demo(str(tmp_path / "tiny.py"), str(tmp_path / "run"), num_scenes=5)
    assert result.num_images == 5
    assert -1 <= result.ap <= result.ap50 <= 1
    assert result.checkpoint.is_file()
    rows, columns = cv2.imread(str(result.picture)).shape[:2]
    assert (rows, columns) == (2 * (320 + 20 + 6) + 6, 4 * (320 + 6) + 6)
    with pytest.raises(ValueError, match="num_scenes"):
        run_demo(str(tmp_path / "tiny.py"), str(tmp_path / "run"), num_scenes=0)
