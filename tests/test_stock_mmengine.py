"""Configs used with MMEngine alone: its Config, registries and Runner, with one call of ``resolve``."""

from __future__ import annotations

import subprocess
import sys
from collections import OrderedDict

import mmengine.registry as root_registry
import pytest
from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.utils import manager

from ehrpose.config import resolve

CONFIG = "configs/ehrnet/demo_synthetic-128.py"
STOCK = """
import sys
from mmengine.config import Config
from mmengine.registry import MODELS
from mmengine.runner import Runner
from ehrpose.config import resolve

cfg = resolve(Config.fromfile(sys.argv[1]))
assert type(MODELS.build(cfg.model)).__name__ == "BottomUpEstimator"
cfg.work_dir = sys.argv[2]
cfg.train_cfg.update(max_iters=2, val_interval=2)
cfg.train_dataloader.batch_size = 2
cfg.train_dataloader.dataset.length = 4
for loader in (cfg.val_dataloader, cfg.test_dataloader):
    loader.batch_size = 2
    loader.dataset.length = 2
runner = Runner.from_cfg(cfg)
assert type(runner) is Runner
runner.train()
assert runner.iter == 2
print("AP", runner.test()["coco/AP"])
"""


@pytest.mark.slow
def test_stock_models_and_runner_train_and_test(root, tmp_path):
    """In its own process: nothing else has imported ehrpose's components or set a scope."""
    done = subprocess.run(
        [sys.executable, "-c", STOCK, str(root / CONFIG), str(tmp_path)],
        capture_output=True, text=True, cwd=root, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1].startswith("AP ")
    assert list(tmp_path.glob("iter_2.pth"))


@pytest.mark.parametrize(
    ("config", "part", "registry"),
    [
        ("small_coco-320", "model", "MODELS"),
        ("h-4_coco-384", "model.backbone", "MODELS"),
        ("small_coco-320", "model.head", "MODELS"),
        ("small_coco-320", "test_dataloader.dataset", "DATASETS"),
        ("demo_synthetic-128", "train_dataloader.dataset", "DATASETS"),
        ("small_coco-320", "train_dataloader.dataset.pipeline.1", "TRANSFORMS"),
        ("small_coco-320", "train_dataloader.dataset.pipeline.2", "TRANSFORMS"),
        ("small_coco-320", "train_dataloader.dataset.pipeline.4", "TRANSFORMS"),
        ("small_coco-320", "val_evaluator", "METRICS"),
        ("small_coco-320", "visualizer", "VISUALIZERS"),
    ],
)
def test_a_forgotten_resolve_is_one_clear_error(root, config, part, registry):
    node = Config.fromfile(str(root / f"configs/ehrnet/{config}.py"))
    for word in part.split("."):
        node = node[int(word)] if word.isdigit() else node[word]
    with (
        root_registry.DefaultScope.overwrite_default_scope("ehrpose"),
        pytest.raises(
            ValueError,
            match=r"unresolved reference '\$\w+': load .*load_config\(path\) and .*ehrpose\.config\.resolve\(cfg\)",
        ),
    ):
        getattr(root_registry, registry).build(node, default_args={"in_channels": (16, 24)}
                                               if part == "model.head" else None)  # fmt: skip
    # MMEngine would keep its lock, and every other thread that logs would wait for ever.
    assert not manager._lock._is_owned()


def test_a_runner_without_resolve_says_so(root, tmp_path):
    cfg = Config.fromfile(str(root / CONFIG))
    cfg.work_dir = str(tmp_path)
    with (
        root_registry.DefaultScope.overwrite_default_scope("ehrpose"),
        pytest.raises(ValueError, match=r"unresolved reference '\$\w+': load"),
    ):
        Runner.from_cfg(cfg)
    assert not manager._lock._is_owned()


def test_stock_registry_builds_the_model_without_a_scope(root, monkeypatch):
    monkeypatch.setattr(root_registry.DefaultScope, "_instance_dict", OrderedDict())
    assert root_registry.DefaultScope.get_current_instance() is None
    cfg = resolve(Config.fromfile(str(root / CONFIG)))
    assert type(root_registry.MODELS.build(cfg.model)).__name__ == "BottomUpEstimator"


def test_resolve_takes_mmengines_config(root):
    cfg = resolve(Config.fromfile(str(root / CONFIG)))
    assert cfg.model.head.codec.keypoints == cfg.keypoints
