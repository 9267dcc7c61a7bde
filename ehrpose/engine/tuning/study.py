"""A study: trials over a search space, kept in the work dir, where the next run of the same study goes on."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from ehrpose.config import value_at
from ehrpose.engine.tuning.space import Dimension, with_values
from ehrpose.engine.tuning.trial import DONE, FAILED, REFUSED, STOPPED, UNWRITTEN, Ended, run_trial
from ehrpose.files import make_parent
from ehrpose.locks import locked

DATABASE = "study.db"
_NAME = "ehrpose"
# Attributes of Optuna's study and trials.
_SPACE, _CONFIG, _FAILURE = "space", "config", "failure"
_RULES = {"greater": "maximize", "less": "minimize"}


class TuningError(RuntimeError):
    """A study cannot go on, or has no trial that succeeded."""


@dataclass(frozen=True)
class Plan:
    """What a study does.

    Attributes:
        metric: What makes a trial better, as in the log: ``coco/AP``.
        rule: ``"greater"`` if larger is better, or ``"less"``.
        trials: Number of trials in all, those of earlier runs included.
        prune: Whether a trial ends early that is worse at a validation than the median of the others there.
    """

    metric: str
    rule: str = "greater"
    trials: int = 20
    prune: bool = False


def read_plan(
    cfg: Config, trials: int | None = None, metric: str | None = None, prune: bool | None = None
) -> Plan:
    """Return the plan of a config's ``tune``; arguments that are not None replace its values.

    Without a metric it is the one by which the config saves its best checkpoint.

    Raises:
        ValueError: A value is outside its range, or the config has no metric or no validation.
    """
    tune, checkpoint = cfg.get("tune") or {}, (cfg.get("default_hooks") or {}).get("checkpoint") or {}
    saved = checkpoint.get("save_best")
    metric = metric or tune.get("metric") or (saved if isinstance(saved, str) and saved != "auto" else None)
    if metric is None:
        raise ValueError("the config has no default_hooks.checkpoint.save_best: give `metric`")
    rule = tune.get("rule") or checkpoint.get("rule") or "greater"
    if rule not in _RULES:
        raise ValueError(f"tune.rule must be greater or less, got {rule!r}")
    trials = tune.get("trials", 20) if trials is None else trials
    if isinstance(trials, bool) or not isinstance(trials, int) or trials < 1:
        raise ValueError(f"expected a whole number from 1 for `trials`, got {trials!r}")
    prune = tune.get("prune", False) if prune is None else prune
    if not isinstance(prune, bool):
        raise ValueError(f"tune.prune must be True or False, got {prune!r}")
    if not all(cfg.get(name) for name in ("val_dataloader", "val_evaluator")):
        raise ValueError("tuning compares validations: the config needs val_dataloader and val_evaluator")
    return Plan(metric, rule, trials, prune)


class Study:
    """Trials of a config, in a folder; use as a context manager, which keeps other processes out of the folder.

    Args:
        cfg: Checked config, with references; the trials change copies of it.
        space: What varies.
        plan: What makes a trial better, and how many there are.
        work_dir: Folder for the study's database and, in ``trial_000`` and so on, the trials' logs and checkpoints.
        say: Called with a line at each validation and at each end of a trial.

    Raises:
        ModuleNotFoundError: Optuna is not installed.
        ValueError: The folder holds a study of another config or search space, or another process works in it.
    """

    def __init__(
        self,
        cfg: Config,
        space: list[Dimension],
        plan: Plan,
        work_dir: Path,
        say: Callable[[str], None] = print,
    ):
        import optuna

        self._optuna = optuna
        self.cfg, self.space, self.plan, self.work_dir, self._say = cfg, space, plan, work_dir, say
        self._stack = contextlib.ExitStack()
        seed = (cfg.get("randomness") or {}).get("seed")
        self._seed = 0 if seed is None else int(seed)

    def __enter__(self) -> Study:
        make_parent(self.work_dir / DATABASE)
        with contextlib.ExitStack() as stack:
            stack.enter_context(locked(self.work_dir / ".study.lock", on_wait=self._refuse_second))
            stack.callback(self._open().engine.dispose)
            self._stack = stack.pop_all()
        return self

    def _refuse_second(self) -> None:
        raise ValueError(f"another process tunes in {self.work_dir}: wait for it, or give `work_dir`")

    def __exit__(self, *_: Any) -> None:
        self._stack.close()

    def _open(self) -> Any:
        """Open the study in the folder, or begin one; return its storage."""
        optuna, path = self._optuna, self.work_dir / DATABASE
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with self._explained():
            storage = optuna.storages.RDBStorage(f"sqlite:///{path.absolute().as_posix()}")
            pruner = optuna.pruners.MedianPruner() if self.plan.prune else optuna.pruners.NopPruner()
            self._study = optuna.create_study(
                storage=storage,
                study_name=_NAME,
                load_if_exists=True,
                direction=_RULES[self.plan.rule],
                pruner=pruner,
            )
            self._check_same()
            if not self.done and not self._unfinished():
                self._enqueue_present()
        return storage

    def _check_same(self) -> None:
        """Refuse to go on with other ranges or another config; before a trial has ended, the new ones count."""
        space = {"metric": self.plan.metric, "rule": self.plan.rule}
        space |= {dimension.key: dimension.describe() for dimension in self.space}
        content = {key: value for key, value in self.cfg.to_dict().items() if key not in ("tune", "work_dir")}
        text = json.dumps(content, sort_keys=True, default=repr)
        config = hashlib.sha256(text.encode()).hexdigest()
        stored = self._study.user_attrs
        if self.done:
            before = stored.get(_SPACE, {})
            different = [name for name in {**before, **space} if before.get(name) != space.get(name)]
            where = f"{self.work_dir} has a study with"
            if different:
                was, now = (values.get(different[0], "nothing") for values in (before, space))
                what = f"{different[0]} {was}, now {now}"
                raise ValueError(f"{where} {what}: give the same, or another `work_dir` for a new study")
            if stored.get(_CONFIG) != config:
                raise ValueError(
                    f"{where} another config: give the same, or another `work_dir` for a new study"
                )
        elif stored and (stored.get(_SPACE), stored.get(_CONFIG)) != (space, config):
            self._give_up_unfinished()
        self._study.set_user_attr(_SPACE, space)
        self._study.set_user_attr(_CONFIG, config)

    def _unfinished(self) -> list[Any]:
        return [trial for trial in self.trials if not trial.state.is_finished()]

    def _give_up_unfinished(self) -> None:
        for trial in self._unfinished():
            if trial.state == self._optuna.trial.TrialState.WAITING:
                self._study.ask()  # makes it one that can be ended
        for trial in self._unfinished():
            self._study.tell(trial.number, state=self._optuna.trial.TrialState.FAIL)

    def _enqueue_present(self) -> None:
        """Let the first trial have the config's own values, where they are in the space."""
        present = {d.key: value_at(self.cfg, d.key) for d in self.space}
        inside = {d.key: present[d.key] for d in self.space if d.contains(present[d.key])}
        if inside:
            self._study.enqueue_trial(inside)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Convert the errors of the database into one that names it."""
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except (self._optuna.exceptions.OptunaError, SQLAlchemyError) as error:
            cause = error.__cause__ or error
            reason = str(getattr(cause, "orig", cause)).splitlines()[0]
            raise TuningError(f"the study {self.work_dir / DATABASE} cannot be used: {reason}") from error

    @property
    def trials(self) -> list[Any]:
        """Optuna's frozen trials, in order."""
        return self._study.get_trials(deepcopy=False)

    @property
    def done(self) -> list[Any]:
        """The trials that have ended by themselves or were pruned; interrupted ones are not among them."""
        states = self._optuna.trial.TrialState
        return [
            trial
            for trial in self.trials
            if trial.state in (states.COMPLETE, states.PRUNED)
            or (trial.state == states.FAIL and _FAILURE in trial.user_attrs)
        ]

    @property
    def best(self) -> Any:
        """The best trial that was trained to its end; None if there is none."""
        states = self._optuna.trial.TrialState
        complete = [trial for trial in self.trials if trial.state == states.COMPLETE]
        sign = 1 if self.plan.rule == "greater" else -1
        return max(complete, key=lambda trial: (sign * trial.value, -trial.number), default=None)

    def folder(self, number: int) -> Path:
        """Return the work dir of a trial."""
        return self.work_dir / f"trial_{number:03}"

    def values(self, trial: Any) -> dict[str, Any]:
        """Return a trial's values by key, in the order of the space."""
        return {d.key: trial.params[d.key] for d in self.space if d.key in trial.params}

    def run(self) -> None:
        """Run the trials that are missing; one that was interrupted goes on where it stopped.

        Raises:
            ValueError: The first trial cannot begin, which is for the user to fix.
            TuningError: A file cannot be written.
        """
        with self._explained():
            while len(self.done) < self.plan.trials:
                self._run_next()

    def _run_next(self) -> None:
        trial = self._next()
        values = {dimension.key: dimension.suggest(trial) for dimension in self.space}
        shown = ", ".join(f"{key}={short(value)}" for key, value in values.items())
        self._say(f"trial {trial.number}: {shown}")
        ended = self._train(trial, values)
        states = self._optuna.trial.TrialState
        reported = self._reported(trial)
        if ended.how == UNWRITTEN:
            raise TuningError(
                f"trial {trial.number} cannot be written: {ended.reason}. The next run goes on with it"
            )
        if ended.how == REFUSED and not self.done:
            self._study.tell(trial, state=states.FAIL)
            raise ValueError(f"the first trial cannot be trained: {ended.reason}")
        if ended.how == DONE and not reported:
            ended = Ended(FAILED, "no validation took place")
        if ended.how == DONE:
            value = (max if self.plan.rule == "greater" else min)(reported)
            self._study.tell(trial, value)
            self._say(f"trial {trial.number}: best {self.plan.metric} {value:.4f}")
        elif ended.how == STOPPED:
            self._study.tell(trial, state=states.PRUNED)
            self._say(
                f"trial {trial.number}: pruned, {self.plan.metric} {reported[-1]:.4f} is worse than the median"
            )
        else:
            trial.set_user_attr(_FAILURE, ended.reason)
            self._study.tell(trial, state=states.FAIL)
            self._say(f"trial {trial.number}: failed, {ended.reason}")

    def _next(self) -> Any:
        """Return the trial that was interrupted, or a new one; each has random numbers of its own number."""
        running = [trial for trial in self.trials if trial.state == self._optuna.trial.TrialState.RUNNING]
        number = running[0].number if running else self._next_number()
        # A sampler of one seed for all would draw the same again after each interruption.
        seed = int(np.random.SeedSequence([self._seed, number]).generate_state(1)[0])
        self._study.sampler = self._optuna.samplers.TPESampler(seed=seed)
        if running:
            self._say(f"trial {number} was interrupted and goes on")
            return self._optuna.trial.Trial(self._study, running[0]._trial_id)
        if self.folder(number).exists():  # its checkpoints would be taken for those of the new trial
            raise ValueError(f"{self.folder(number)} is of another study: move it away, or give `work_dir`")
        return self._study.ask()

    def _next_number(self) -> int:
        waiting = [t.number for t in self.trials if t.state == self._optuna.trial.TrialState.WAITING]
        return waiting[0] if waiting else len(self.trials)

    def _reported(self, trial: Any) -> list[float]:
        return [value for _, value in sorted(self.trials[trial.number].intermediate_values.items())]

    def _train(self, trial: Any, values: dict[str, Any]) -> Ended:
        try:
            cfg = with_values(self.cfg, values)
        except ValueError as error:
            return Ended(REFUSED, str(error))
        cfg.pop("tune", None)
        known = dict(self.trials[trial.number].intermediate_values)

        def on_value(step: int, value: float) -> bool:
            if step not in known:  # a resumed trial may validate again
                trial.report(value, step)
                known[step] = value
            self._say(f"trial {trial.number}: {self.plan.metric} {value:.4f} after {step} iterations")
            return not (self.plan.prune and trial.should_prune())

        return run_trial(cfg, self.folder(trial.number), self.plan.metric, on_value)


def short(value: Any) -> str:
    """Return a value in few characters."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
