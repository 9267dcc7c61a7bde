from __future__ import annotations

import pytest
import torch
from torchrun import free_port
from toy_parts import loader, toy_config

from ehrpose.engine import build_runner, elastic
from ehrpose.engine.distributed import check_launcher, leave_processes

RESTARTING = {"RANK": "0", "WORLD_SIZE": "2", "TORCHELASTIC_MAX_RESTARTS": "3", "TORCHELASTIC_RUN_ID": "none"}


@pytest.mark.parametrize(
    ("changes", "is_safe"),
    [
        ({"TORCHELASTIC_USE_AGENT_STORE": "True"}, False),
        ({"TORCHELASTIC_USE_AGENT_STORE": "False"}, True),  # TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
        ({"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_MAX_RESTARTS": "0"}, True),
        ({}, True),  # etcd, and other launchers
    ],
)
def test_restarts_with_a_shared_store_are_refused(changes, is_safe):
    environ = {**RESTARTING, **changes}
    if is_safe:
        check_launcher("pytorch", environ)
    else:
        with pytest.raises(ValueError, match="TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1"):
            check_launcher("pytorch", environ)
    check_launcher("slurm", {"SLURM_PROCID": "0", "SLURM_NTASKS": "2", **environ})


def test_an_agent_has_a_name_as_long_as_it_runs(monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    assert elastic.agent_name() is None
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "job")
    own = elastic.agent_name()
    assert own == elastic.agent_name()
    monkeypatch.setattr("os.getppid", lambda: 1)
    assert elastic.agent_name() != own


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Return a function that trains some iterations under an agent, with a checkpoint after each."""
    variables = {
        "RANK": 0,
        "LOCAL_RANK": 0,
        "WORLD_SIZE": 1,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": free_port(),
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))

    def train(agent, until, **changes):
        monkeypatch.setattr("ehrpose.engine.elastic.agent_name", lambda: agent)
        monkeypatch.setattr("ehrpose.engine.runner.agent_name", lambda: agent)
        checkpoint = {"type": "SafeCheckpointHook", "interval": 1, "by_epoch": False}
        cfg = toy_config(
            tmp_path / "run",
            train_cfg={"type": "ResumableIterBasedTrainLoop", "max_iters": until, "val_interval": 100},
            default_hooks={"checkpoint": checkpoint},
            log_processor={"by_epoch": False},
            param_scheduler=[
                {"type": "LinearLR", "begin": 0, "end": 7, "start_factor": 0.1, "by_epoch": False}
            ],
            train_dataloader={**loader(), "sampler": {"type": "InfiniteSampler", "shuffle": True}},
            launcher="pytorch",
            **changes,
        )
        runner = build_runner(cfg)
        first = []
        step = runner.model.train_step
        runner.model.train_step = lambda *args, **kwargs: first.append(runner.iter) or step(*args, **kwargs)
        runner.train()
        return first

    yield train
    leave_processes()


def test_a_restarted_process_resumes_unasked_and_a_new_job_does_not(run):
    assert run("host 1 1", 2) == [0, 1]
    assert run("host 1 1", 3) == [2]
    assert run("host 2 2", 2) == [0, 1]
    assert run("host 2 2", 3) == [2]
    assert run("host 3 3", 4, resume=True) == [3]
    assert run("host 3 3", 5) == [4]  # the agent of now, not that of the checkpoint resumed from


def test_a_restarted_process_prefers_its_own_checkpoint(run, tmp_path):
    run("host 1 1", 3)
    named = {"resume": True, "load_from": str(tmp_path / "run/iter_1.pth")}
    assert run("host 2 2", 3, **named) == [1, 2]
    assert run("host 2 2", 4, **named) == [3]


def test_without_torchrun_nothing_is_resumed_unasked(run):
    assert run(None, 2) == [0, 1]
    assert run(None, 2) == [0, 1]


def _agree(rank, port, folder, results):
    import os

    os.chdir(folder if rank == 0 else "/")
    torch.distributed.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2
    )
    try:
        results[rank] = elastic.agree_on_start(rank == 0, None, "run")
    except ValueError as error:
        results[rank] = str(error)
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_a_host_that_does_not_see_the_checkpoint_ends_the_run(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/iter_1.pth").touch()
    for named, is_seen in ((tmp_path / "run/iter_1.pth", True), ("run/iter_1.pth", False)):
        (tmp_path / "run/last_checkpoint").write_text(str(named))
        context = torch.multiprocessing.get_context("spawn")
        results = context.Manager().dict()
        arguments = (free_port(), str(tmp_path), results)
        processes = [context.Process(target=_agree, args=(rank, *arguments)) for rank in (0, 1)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(120)
        if is_seen:  # as the first process decides
            assert dict(results) == {rank: (True, str(named)) for rank in (0, 1)}
        else:
            assert "is not visible on" in results[0]
            assert results[0] == results[1]
