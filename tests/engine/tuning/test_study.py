"""A study keeps its trials, goes on after an interruption, and lives with trials that fail."""

from __future__ import annotations

import pytest
from mmengine.config import Config

from ehrpose.cli import run_cli
from ehrpose.config import load_config, merge_options
from ehrpose.engine.tuning import study as module
from ehrpose.engine.tuning.results import best_config_text, trials_table, write_best
from ehrpose.engine.tuning.space import Dimension
from ehrpose.engine.tuning.study import Plan, Study, TuningError, read_plan
from ehrpose.engine.tuning.trial import DONE, FAILED, REFUSED, STOPPED, UNWRITTEN, Ended

optuna = pytest.importorskip("optuna", reason="optuna is in the extra 'tune'")
LR = "optim_wrapper.optimizer.lr"
PUSH = "model.head.tag_loss.push"
SPACE = [Dimension(LR, 1e-4, 1e-2, log=True), Dimension(PUSH, 0.0, 0.02)]


@pytest.fixture(scope="module")
def cfg(root) -> Config:
    return load_config(root / "configs/ehrnet/small_five-128.py")


@pytest.fixture
def lines():
    return []


@pytest.fixture
def make(cfg, tmp_path, lines):
    """Return a function that makes a study in the folder of the test."""

    def made(trials=3, space=SPACE, prune=False, rule="greater", cfg=cfg):
        return Study(cfg, space, Plan("coco/AP", rule, trials, prune), tmp_path / "tune", lines.append)

    return made


@pytest.fixture
def trained(monkeypatch):
    """Configs of the trials. In place of a training, AP is the higher the nearer the learning rate is to 2e-3."""
    seen = []

    def run_trial(cfg, work_dir, metric, on_value):
        work_dir.mkdir(parents=True, exist_ok=True)
        seen.append(cfg)
        rate = cfg.optim_wrapper.optimizer.lr
        for step in (1, 2):
            if not on_value(step, step / 2 - abs(rate - 2e-3) * 10):
                return Ended(STOPPED)
        return Ended(DONE)

    monkeypatch.setattr(module, "run_trial", run_trial)
    return seen


def rates(study):
    return [trial.params[LR] for trial in study.trials]


def test_trials_change_the_config_and_the_first_has_its_own_values(make, trained, cfg):
    with make(5) as study:
        study.run()
        assert [c.optim_wrapper.optimizer.lr for c in trained] == rates(study)
        assert rates(study)[0] == cfg.optim_wrapper.optimizer.lr
        assert trained[0].model.head.tag_loss.push == cfg.model.head.tag_loss.push
        assert len(set(rates(study))) == 5
        assert all(1e-4 <= rate <= 1e-2 for rate in rates(study))
        nearest = min(study.trials, key=lambda trial: abs(trial.params[LR] - 2e-3))
        assert study.best.number == nearest.number
        assert study.best.value == 1 - abs(nearest.params[LR] - 2e-3) * 10


def test_a_smaller_metric_may_be_better(make, trained):
    with make(4, rule="less") as study:
        study.run()
        values = [trial.value for trial in study.trials]
        assert study.best.value == min(values)
        # Of a trial's two validations the smaller one counts.
        assert all(value == 0.5 - abs(rate - 2e-3) * 10 for value, rate in zip(values, rates(study)))


def test_an_interrupted_study_draws_what_an_uninterrupted_one_does(make, trained, tmp_path, monkeypatch):
    with make(4) as whole:
        whole.run()
        expected = rates(whole)
    (tmp_path / "tune").rename(tmp_path / "whole")
    run_trial, count = module.run_trial, []

    def cut_every_second(cfg, work_dir, metric, on_value):
        count.append(work_dir)
        if len(count) % 2 == 0:
            work_dir.mkdir(exist_ok=True)
            on_value(1, 0.5 - abs(cfg.optim_wrapper.optimizer.lr - 2e-3) * 10)
            raise KeyboardInterrupt
        return run_trial(cfg, work_dir, metric, on_value)

    monkeypatch.setattr(module, "run_trial", cut_every_second)
    for _ in range(10):
        try:
            with make(4) as study:
                study.run()
                break
        except KeyboardInterrupt:
            continue
    assert rates(study) == expected
    assert [len(trial.intermediate_values) for trial in study.trials] == [2] * 4
    assert len(count) == 4 + 3


def test_more_trials_go_on_and_fewer_do_nothing(make, trained):
    for trials, ran in ((2, 2), (2, 2), (1, 2), (4, 4)):
        with make(trials) as study:
            study.run()
        assert len(trained) == ran


def test_failed_trials_are_recorded_and_the_study_goes_on(make, trained, monkeypatch, lines):
    endings = iter(
        [Ended(FAILED, "NonFiniteLossError: loss is nan"), Ended(DONE), None, Ended(REFUSED, "no batch")]
    )
    run_trial = module.run_trial
    monkeypatch.setattr(module, "run_trial", lambda *args: next(endings) or run_trial(*args))
    with make(4) as study:
        study.run()
        table = trials_table(study).splitlines()
    assert [trial.state.name for trial in study.trials] == ["FAIL", "FAIL", "COMPLETE", "FAIL"]
    assert table[0].split() == ["trial", "coco/AP", "lr", "push", "state"]
    assert "failed: NonFiniteLossError: loss is nan" in table[1]
    assert "failed: no validation took place" in table[2]
    assert "complete" in table[3]
    assert "trial 0: failed, NonFiniteLossError: loss is nan" in lines


def test_the_users_error_in_the_first_trial_ends_the_study(make, trained, monkeypatch):
    run_trial = module.run_trial
    monkeypatch.setattr(module, "run_trial", lambda *args: Ended(REFUSED, "FileNotFoundError: no labels"))
    with make() as study, pytest.raises(ValueError, match=r"the first trial cannot be trained: .*no labels"):
        study.run()
    monkeypatch.setattr(module, "run_trial", run_trial)
    with make(3) as study:
        study.run()
        assert len(study.done) == 3
        assert rates(study)[0] == rates(study)[1]  # the config's own, once more


def test_a_full_disk_ends_the_study_and_its_trial_goes_on_later(make, trained, monkeypatch):
    run_trial = module.run_trial
    monkeypatch.setattr(module, "run_trial", lambda *args: Ended(UNWRITTEN, "CheckpointError: no space"))
    with make() as study, pytest.raises(TuningError, match=r"trial 0 cannot be written: .*no space"):
        study.run()
    monkeypatch.setattr(module, "run_trial", run_trial)
    with make(3) as study:
        study.run()
        assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 3


def test_a_trial_below_the_median_is_pruned(make, trained, monkeypatch):
    run_trial, count = module.run_trial, []

    def worse_from_the_sixth(cfg, work_dir, metric, on_value):
        count.append(1)
        if len(count) > 5:
            return run_trial(cfg, work_dir, metric, lambda step, value: on_value(step, -1.0))
        return run_trial(cfg, work_dir, metric, on_value)

    monkeypatch.setattr(module, "run_trial", worse_from_the_sixth)
    with make(7, prune=True) as study:
        study.run()
        assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 5 + ["PRUNED"] * 2
        assert study.best.number < 5
        assert "pruned" in trials_table(study)


def test_another_space_or_config_is_refused_once_a_trial_has_ended(make, trained, cfg, tmp_path):
    other = Config(cfg.to_dict(), filename=cfg.filename)
    merge_options(other, {"max_iters": 7})
    with make() as study:
        pass  # nothing has run: anything may change
    with make(1, space=SPACE[:1], cfg=other) as study:
        study.run()
    with pytest.raises(ValueError, match=rf"a study with {PUSH} nothing, now 0..0.02: .*`work_dir`"):
        make(cfg=other).__enter__()
    with pytest.raises(ValueError, match="has a study with another config"):
        make(space=SPACE[:1]).__enter__()
    with pytest.raises(ValueError, match="a study with rule greater, now less"):
        make(space=SPACE[:1], cfg=other, rule="less").__enter__()


def test_two_processes_do_not_share_a_folder(make):
    with (
        make(),
        pytest.raises(ValueError, match=r"another process tunes in .*tune: wait for it, or give `work_dir`"),
    ):
        make().__enter__()
    with make():
        pass


def test_checkpoints_of_a_lost_study_are_not_taken_for_those_of_a_new_one(make, trained, tmp_path):
    (tmp_path / "tune/trial_000").mkdir(parents=True)
    with make() as study, pytest.raises(ValueError, match="trial_000 is of another study: move it away"):
        study.run()
    assert trained == []


def test_a_file_that_is_not_a_study_is_named(make, tmp_path, capsys):
    (tmp_path / "tune").mkdir()
    (tmp_path / "tune/study.db").write_text("no database at all, but text of some length" * 100)
    with pytest.raises(SystemExit) as exit_:
        run_cli(lambda: make().__enter__())
    assert exit_.value.code == 1
    assert "study.db cannot be used: file is not a database" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["beside", "elsewhere"])
def test_best_config_is_the_config_of_the_best_trial(make, trained, cfg, root, tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path if place == "beside" else root)
    (tmp_path / "own.py").write_text(f"_base_ = [{str(root / 'configs/ehrnet/small_five-128.py')!r}]\n")
    options = {"max_iters": 20, "train_dataloader.dataset.pipeline.2.prob": 0.25}
    changed = load_config(tmp_path / "own.py", options)
    space = [*SPACE, Dimension("model.head.heatmap_loss.1.weight", 1.0, 8.0)]
    with make(4, space, cfg=changed) as study:
        study.run()
        path = tmp_path / "tune/best.py"
        write_best(study, tmp_path / "own.py", options, path)
        written, wanted = load_config(path), trained[study.best.number]
    assert written.to_dict() == wanted.to_dict()
    assert ("'../own.py'" in path.read_text()) == (place == "beside")
    assert written.model.head.heatmap_loss[1].weight == study.best.params["model.head.heatmap_loss.1.weight"]


def test_best_config_names_its_file_and_values_only(cfg, root, tmp_path):
    base = root / "configs/ehrnet/small_five-128.py"
    text = best_config_text(base, cfg, None, {LR: 0.002}, tmp_path)
    assert text.splitlines()[2:] == ["optim_wrapper = dict(optimizer=dict(lr=0.002))"]


@pytest.mark.parametrize(
    ("changes", "arguments", "message"),
    [
        ({"tune.rule": "more"}, {}, "tune.rule must be greater or less, got 'more'"),
        ({"tune.prune": 3}, {}, "tune.prune must be True or False, got 3"),
        ({}, {"trials": 0}, "a whole number from 1 for `trials`, got 0"),
        ({"tune.trials": "many"}, {}, "a whole number from 1 for `trials`, got 'many'"),
        ({"default_hooks.checkpoint.save_best": "auto"}, {}, "give `metric`"),
        ({"val_evaluator": None}, {}, "needs val_dataloader and val_evaluator"),
    ],
)
def test_bad_plans_are_refused(cfg, changes, arguments, message):
    changed = Config(cfg.to_dict())
    changed.merge_from_dict(changes)
    with pytest.raises(ValueError, match=message):
        read_plan(changed, **arguments)


def test_the_plan_comes_from_the_config_unless_it_is_given(cfg):
    assert read_plan(cfg) == Plan("coco/AP", "greater", 20, False)
    changed = Config(cfg.to_dict())
    changed.tune = {"trials": 5, "prune": True, "metric": "coco/AR", "rule": "less"}
    assert read_plan(changed) == Plan("coco/AR", "less", 5, True)
    assert read_plan(changed, 7, "coco/AP", True) == Plan("coco/AP", "less", 7, True)
