from __future__ import annotations

import pytest
import torch
from mmengine.config import Config

from ehrpose.config import load_config, resolve
from ehrpose.models.scaling import compound_scaling
from ehrpose.registry import CODECS, DATASETS, METRICS, MODELS, TRANSFORMS

LEAVES = {0: "h0_coco-512", -1: "h-1_coco-480", -2: "h-2_coco-448", -3: "h-3_coco-416", -4: "h-4_coco-384"}


def leaf_files(root):
    return sorted((root / "configs/ehrnet").glob("*.py"))


def test_there_are_leaves(root):
    assert {path.stem for path in leaf_files(root)} >= set(LEAVES.values())


@pytest.mark.parametrize("phi", LEAVES)
def test_rows_of_the_schedule_equal_the_formula(root, phi):
    cfg = load_config(root / f"configs/ehrnet/{LEAVES[phi]}.py")
    assert cfg.phi == phi
    assert cfg.codec.input_size == compound_scaling(phi).input_size
    assert LEAVES[phi].endswith(str(cfg.codec.input_size))


def test_coco_leaves_differ_in_phi_and_size_alone(root):
    plain = [load_config(root / f"configs/ehrnet/{name}.py").to_dict() for name in LEAVES.values()]
    for cfg in plain:
        cfg.pop("phi")
        cfg["codec"].pop("input_size")
    assert all(cfg == plain[0] for cfg in plain)


def test_the_papers_recipe_is_the_default(root):
    cfg = resolve(load_config(root / "configs/ehrnet/h-4_coco-384.py"))
    assert cfg.optim_wrapper.optimizer == {"type": "Adam", "lr": 1e-3, "weight_decay": 1e-4}
    assert cfg.train_cfg.max_epochs == 300
    steps = {
        "type": "MultiStepLR",
        "begin": 0,
        "end": 300,
        "milestones": [200, 260],
        "gamma": 0.1,
        "by_epoch": True,
    }
    assert [dict(scheduler) for scheduler in cfg.param_scheduler] == [steps]
    assert cfg.model.head.tag_loss == {"type": "AELoss", "pull": 1e-3, "push": 1e-3}
    affine = cfg.train_dataloader.dataset.pipeline[1]
    assert (affine.rotate, tuple(affine.scale), affine.shift) == (30, (0.75, 1.5), 40)
    assert cfg.codec.sigma == 2.0
    assert cfg.codec.max_people == 30
    assert cfg.model.flip_test


def test_every_leaf_dumps_reloads_and_builds(root, tmp_path, monkeypatch):
    # Formatting the configs' text would take nearly all of the time.
    monkeypatch.setattr(
        "mmengine.config.config.FormatCode", lambda text, **options: (text, True), raising=False
    )
    for path in leaf_files(root):
        cfg = load_config(path)
        # The paper's models differ in two numbers only, as another test shows.
        if path.stem not in LEAVES.values() or path.stem == LEAVES[-4]:
            for form in (cfg, resolve(cfg)):
                check_dump(form, tmp_path / path.name)
        check_parts(cfg)


def check_dump(cfg, path):
    cfg.dump(str(path))
    assert load_config(path).to_dict() == cfg.to_dict()
    assert Config.fromfile(str(path)).to_dict() == cfg.to_dict()


def check_parts(cfg):
    resolved = resolve(cfg)
    with torch.device("meta"):
        model = MODELS.build(resolved.model)
    assert model.codec.input_size == cfg.codec.input_size
    CODECS.build(resolved.codec)
    METRICS.build(resolved.val_evaluator)
    for loader in (resolved.train_dataloader, resolved.val_dataloader):
        assert DATASETS.get(loader.dataset.type) is not None
        for dataset in loader.dataset.get("datasets", [loader.dataset]):
            assert DATASETS.get(dataset.type) is not None
            for step in dataset.pipeline:
                TRANSFORMS.build(step)


def test_changing_the_codec_once_changes_all_its_users(root):
    cfg = load_config(
        root / "configs/ehrnet/h-4_coco-384.py", {"codec.input_size": 256, "codec.unbiased": True}
    )
    resolved = resolve(cfg)
    codecs = [resolved.codec, resolved.model.head.codec]
    for loader in (resolved.train_dataloader, resolved.val_dataloader):
        codecs += [step.codec for step in loader.dataset.pipeline if "codec" in step]
    assert len(codecs) == 5
    assert all(c.input_size == 256 and c.unbiased for c in codecs)
    assert resolved.codec.keypoints == resolved.keypoints


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model.backbone.type": "EfficentNet"}, "did you mean 'EfficientNet'"),
        ({"model.backbone.drop_conect": 0.1}, "did you mean 'drop_connect'"),
        ({"model.neck.width": 3}, "HighResolutionNeck has no argument 'width'"),
        ({"codec.sigmaa": 1}, "did you mean 'sigma'"),
        ({"train_dataloder.batch_size": 2}, "did you mean 'train_dataloader'"),
        ({"codec.keypoints": "$keypoint"}, "did you mean 'keypoints'"),
        ({"codec.keypoints": "$codec"}, "circular reference"),
        (
            {"model.head": {"_delete_": True, "type": "AEHead", "codec": {"input_size": 256}}},
            "input_size: 384 and 256",
        ),
        ({"default_hooks.logger.intervall": 3}, "did you mean 'interval'"),
        ({"param_scheduler.0.type": "LinearLr"}, "did you mean 'LinearLR'"),
        (
            {"train_dataloader.batch_sze": 2},
            "train_dataloader has no key 'batch_sze'; did you mean 'batch_size'",
        ),
        ({"val_dataloader.num_worker": 2}, "did you mean 'num_workers'"),
        ({"optim_wrapper.clip_gradd": {}}, "did you mean 'clip_grad'"),
        ({"optim_wrapper.optimizer.type": "AdamWw"}, "did you mean 'AdamW'"),
        ({"optim_wrapper.optimizer.weightdecay": 0}, "did you mean 'weight_decay'"),
        ({"default_hooks.chekpoint": {}}, "did you mean 'checkpoint'"),
        ({"randomness.sed": 3}, "did you mean 'seed'"),
        ({"auto_scale_lr.base_batchsize": 3}, "did you mean 'base_batch_size'"),
        ({"env_cfg.cudnn_benchmrk": True}, "did you mean 'cudnn_benchmark'"),
        ({"env_cfg.mp_cfg.opencv_threads": 1}, "env_cfg.mp_cfg has no key 'opencv_threads'"),
        ({"val_cfg.fp": True}, "val_cfg has no key 'fp'"),
        ({"train_cfg.max_epoch": 3}, "did you mean 'max_epochs'"),
        ({"channel_last": True}, "did you mean 'channels_last'"),
        ({"keep_free_memory": True}, "did you mean 'keep_freed_memory'"),
        (
            {"head.side_loss.type": "SideLoss"},
            r"has no key 'head'; did you mean 'model\.head\.side_loss\.type'",
        ),
        (
            {"learning_rate": 1},
            r"`cfg_options` learning_rate: .*h-4_coco-384\.py has no key 'learning_rate'$",
        ),
        (
            {"custom_hooks": [{"type": "EMAHook", "ema_type": "ExpMomentumEMA"}]},
            "unknown ema_type 'ExpMomentumEMA'",
        ),
    ],
)
def test_mistakes_are_named_with_the_nearest_word(root, options, message):
    options = {k: dict(v) if isinstance(v, dict) else v for k, v in options.items()}
    with pytest.raises(ValueError, match=message):
        load_config(root / "configs/ehrnet/h-4_coco-384.py", options)


@pytest.mark.parametrize(
    "options",
    [
        {"model.backbone.type": "EfficientNetLite"},
        {"model.backbone._delete_": True, "model.backbone.type": "EfficientNet", "model.backbone.width": 0.5,
         "model.backbone.depth": 0.5},
        {"model.neck._delete_": True, "model.neck.type": "TopDownNeck"},
        {"model.head.type": "SingleLevelAEHead", "codec.strides": (4,)},
        {"codec.tag_strides": (4, 2)},
        {"codec.unbiased": True, "codec.mode": "fast"},
    ],
    ids=["lite backbone", "backbone by width", "top-down neck", "one-level head", "tags at both levels", "codec"],
)  # fmt: skip
def test_parts_are_swapped_by_options(root, options):
    cfg = resolve(load_config(root / "configs/ehrnet/h-4_coco-384.py", options))
    model = MODELS.build(cfg.model)
    changed = (
        options.get("model.backbone.type") or options.get("model.neck.type") or options.get("model.head.type")
    )
    if changed:
        assert changed in {type(part).__name__ for part in (model.backbone, model.neck, model.head)}
    assert model.codec.tag_strides == tuple(options.get("codec.tag_strides", (4,)))
    assert model.codec.unbiased == options.get("codec.unbiased", False)


def test_missing_and_broken_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.py"):
        load_config(tmp_path / "nowhere.py")
    broken = tmp_path / "broken.py"
    broken.write_text("codec = dict(")
    with pytest.raises(ValueError, match=r"broken.py cannot be read"):
        load_config(broken)
