"""The search space of a config: its forms, its default, and what is refused before any training."""

from __future__ import annotations

import pytest
from mmengine.config import Config

from ehrpose.config import check, load_config
from ehrpose.engine.tuning.space import Dimension, read_space, with_values
from ehrpose.engine.tuning.study import Plan, read_plan
from ehrpose.option_values import TypedText

LR = "optim_wrapper.optimizer.lr"
DECAY = "optim_wrapper.optimizer.weight_decay"


@pytest.fixture(scope="module")
def cfg(root) -> Config:
    return load_config(root / "configs/ehrnet/small_five-128.py")


def one(cfg, key, written):
    (dimension,) = read_space(cfg, {key: written})
    return dimension


@pytest.mark.parametrize(
    ("key", "typed", "written", "expected"),
    [
        (LR, "1e-4..1e-2:log", {"low": 1e-4, "high": 1e-2, "log": True}, Dimension(LR, 1e-4, 1e-2, True)),
        (LR, "1..2", {"low": 1, "high": 2}, Dimension(LR, 1.0, 2.0)),
        ("max_iters", "100..400", {"low": 100, "high": 400}, Dimension("max_iters", 100, 400)),
        ("codec.mode", "fast,paper", ["fast", "paper"], Dimension("codec.mode", choices=("fast", "paper"))),
        (DECAY, "0, 1e-4", [0, 1e-4], Dimension(DECAY, choices=(0, 1e-4))),
        (DECAY, "[0,1e-4]", (0, 1e-4), Dimension(DECAY, choices=(0, 1e-4))),
        ("model.flip_test", "True,False", [True, False], Dimension("model.flip_test", choices=(True, False))),
        (
            "model.head.heatmap_loss.1.weight",
            "0.5..4",
            {"low": 0.5, "high": 4},
            Dimension("model.head.heatmap_loss.1.weight", 0.5, 4.0),
        ),
    ],
)
def test_a_range_means_the_same_in_a_config_and_typed(cfg, key, typed, written, expected):
    assert one(cfg, key, TypedText(typed)) == one(cfg, key, written) == expected
    assert type(one(cfg, key, written).low) is type(expected.low)


def test_the_command_line_replaces_the_ranges_of_the_config(cfg):
    own = Config(cfg.to_dict(), filename=cfg.filename)
    own.tune = {"space": {LR: {"low": 1e-4, "high": 1e-2}, DECAY: [0, 1e-4]}}
    space = read_space(own, {LR: TypedText("1e-3..1e-2")})
    assert [(d.key, d.low, d.choices) for d in space] == [(LR, 1e-3, ()), (DECAY, 0.0, (0, 1e-4))]


def test_the_default_space_is_rates_and_loss_weights_around_the_written_ones(cfg):
    space = {d.key: (d.low, d.high, d.log) for d in read_space(cfg)}
    head = "model.head"
    assert list(space) == [
        LR,
        DECAY,
        f"{head}.heatmap_loss.1.weight",
        f"{head}.tag_loss.pull",
        f"{head}.tag_loss.push",
    ]
    assert space[LR] == (1e-4, 1e-2, True)
    assert space[f"{head}.tag_loss.push"] == (1e-3, 1e-1, True)


@pytest.mark.parametrize(
    "name", ["ehrnet/h-3_coco-416", "rivals/lwopenpose_coco-368", "ehrnet/demo_synthetic-128"]
)
def test_every_value_of_the_default_space_makes_a_config(root, name):
    cfg = load_config(root / f"configs/{name}.py")
    space = read_space(cfg)
    assert LR in {d.key for d in space}
    changed = with_values(cfg, {d.key: d.high for d in space})
    assert changed.optim_wrapper.optimizer.lr == cfg.optim_wrapper.optimizer.lr * 10
    assert load_config(root / f"configs/{name}.py").to_dict() == cfg.to_dict()


def test_the_example_of_the_docs_is_a_space(root):
    text = (root / "docs/training.md").read_text(encoding="utf-8")
    block = next(block for block in text.split("```python\n") if block.startswith("tune = dict("))
    names = {}
    exec(block.split("```")[0], names)
    cfg = load_config(root / "configs/ehrnet/small_coco-320.py")
    cfg.tune = names["tune"]
    check(cfg)
    assert [d.describe() for d in read_space(cfg)] == [
        "0.0001..0.01:log",
        "0..45 in steps of 15",
        "0.4,0.5,0.6",
    ]
    assert read_plan(cfg) == Plan("coco/AP", "greater", 30, True)


@pytest.mark.parametrize(
    ("key", "written", "message"),
    [
        ("optim_wrapper.optimizer.lrr", "1..2", "Adam.* has no argument 'lrr'; did you mean 'lr'"),
        ("optim_wraper.optimizer.lr", "1..2", "has no 'optim_wraper'; did you mean 'optim_wrapper'"),
        ("optim_wrapper.optimiser.lr", "1..2", "optim_wrapper has no 'optimiser'; did you mean 'optimizer'"),
        ("nothing", "1..2", "the config has no 'nothing'"),
        ("param_scheduler.7.end", "1..2", "param_scheduler has no '7'"),
        ("model.head.codec.sigma", "1..2", r"model.head.codec refers to \$codec; give codec.sigma"),
        ("optim_wrapper.optimizer", "1,2", "a section of the config"),
        (LR, "2..1", "low must be below high, got 2 and 1"),
        (LR, "0..1:log", "needs low above 0"),
        (LR, "abc", r"expected LOW..HIGH, LOW..HIGH:log or choices A,B,C, got 'abc'"),
        (LR, "a..2", "expected a number for low, got 'a'"),
        (LR, "1..inf", "expected a number for high, got inf"),
        (LR, "a,b", r"expected a number as in the config \(0.001\), got 'a'"),
        ("codec.mode", "1..2", "'fast' there, which is not a number"),
        ("codec.mode", "fast,fast", "stands twice"),
        (LR, {"low": "1e-4", "high": 1e-2}, "expected a number for low, got '1e-4'"),
        (LR, {"low": 1e-4}, "expected low and high"),
        (LR, {"low": 1e-4, "high": 1, "lo": 1}, "expected low and high"),
        (LR, {"low": 1, "high": 2, "step": 3}, "step must be above 0 and at most high - low"),
        (LR, [1e-3], "two choices or more"),
        (LR, 1e-3, "expected LOW..HIGH"),
        ("model.neck.init_std", [[1], [2]], r"choices are numbers, texts.*got \[1\]"),
    ],
)
def test_a_bad_space_is_refused(cfg, key, written, message):
    with pytest.raises(ValueError, match=f"search space, .*{message}"):
        one(cfg, key, TypedText(written) if isinstance(written, str) else written)


def test_a_value_is_in_the_space_or_not():
    assert Dimension("k", 1.0, 2.0).contains(2)
    assert not Dimension("k", 1.0, 2.0).contains(None)
    assert Dimension("k", 0.0, 1.0, step=0.1).contains(0.3)
    assert not Dimension("k", 0.0, 1.0, step=0.1).contains(0.35)
    assert not Dimension("k", choices=(0, 1)).contains(True)
