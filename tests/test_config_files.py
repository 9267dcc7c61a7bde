"""How the config files inherit from each other."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from mmengine.config import Config

from ehrpose.config import load_config, resolve
from ehrpose.model_zoo import list_models

SCHEDULE = ("train_cfg", "val_cfg", "test_cfg", "optim_wrapper", "param_scheduler")


def bases(path: Path) -> list[Path]:
    """The files that a config names in ``_base_``."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "_base_":
            named = ast.literal_eval(node.value)
            return [(path.parent / name).resolve() for name in ([named] if isinstance(named, str) else named)]
    return []


def opened(path: Path) -> set[Path]:
    """The files that a config consists of."""
    return {path}.union(*(opened(base) for base in bases(path)))


def leaves(root: Path) -> list[Path]:
    return sorted((root / "configs/ehrnet").glob("*.py"))


def test_a_shipped_models_config_is_four_files_at_most():
    shipped = [model for model in list_models() if model.checkpoint]
    assert {model.name for model in shipped} >= {"small_coco-320", "medium_coco-384"}
    for model in shipped:
        assert len(opened(Path(model.config))) <= 4, model.name


def test_a_config_inherits_from_one_other_at_most_and_that_from_bases_alone(root):
    folder = root / "configs/ehrnet"
    chained = {path.stem: [base for base in bases(path) if base.parent == folder] for path in leaves(root)}
    assert any(chained.values())
    for name, on in chained.items():
        assert len(on) <= 1, name
        assert not any(chained[base.stem] for base in on), name


def test_iterations_include_the_runtime_as_it_is(root):
    folder = root / "configs/_base_"
    by_steps = Config.fromfile(str(folder / "schedules/iterations.py")).to_dict()
    runtime = Config.fromfile(str(folder / "runtime/default.py")).to_dict()
    for key in SCHEDULE:
        by_steps.pop(key)
    checkpoint = by_steps["default_hooks"]["checkpoint"]
    assert (checkpoint.pop("by_epoch"), checkpoint["interval"]) == (False, "$max_iters")
    checkpoint["interval"] = runtime["default_hooks"]["checkpoint"]["interval"]
    assert by_steps["log_processor"]["by_epoch"] is False
    by_steps["log_processor"]["by_epoch"] = True
    assert by_steps == runtime


@pytest.mark.parametrize("name", ["coco", "crowdpose", "five"])
def test_a_skeleton_file_has_the_data_sets_skeleton(root, name):
    folder = root / "configs/_base_"
    skeleton, dataset = (
        Config.fromfile(str(folder / kind / f"{name}.py")) for kind in ("keypoints", "datasets")
    )
    assert skeleton.keypoints == dataset.keypoints
    assert skeleton.keypoints.dataset_name == name


def test_every_config_by_iterations_draws_without_end(root):
    by_steps = [path for path in leaves(root) if any(file.stem == "iterations" for file in opened(path))]
    assert len(by_steps) > 8
    for path in by_steps:
        cfg = resolve(load_config(path))
        assert cfg.train_dataloader.sampler.type == "InfiniteSampler", path.stem
        assert cfg.train_cfg.max_iters == cfg.max_iters, path.stem


def test_a_config_may_still_stand_on_the_dataset_without_a_skeleton(root, tmp_path):
    folder = root / "configs/_base_"
    (tmp_path / "data.py").write_text(
        f'_base_ = ["{folder}/datasets/coco_form.py", "{folder}/keypoints/five.py"]\ndata_root = "mine/"\n'
    )
    (tmp_path / "config.py").write_text(
        f'_base_ = ["{folder}/models/ehrnet.py", "data.py", "{folder}/runtime/default.py"]\n'
        "phi = -4\ncodec = dict(input_size=64)\n"
    )
    cfg = resolve(load_config(tmp_path / "config.py"))
    five, coco = (resolve(load_config(root / f"configs/ehrnet/{name}.py"))
                  for name in ("small_five-128", "h-4_coco-384"))  # fmt: skip
    assert cfg.keypoints == five.keypoints
    assert cfg.train_dataloader.dataset.data_root == "mine/"
    assert cfg.val_dataloader.sampler == coco.val_dataloader.sampler
