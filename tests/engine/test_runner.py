from __future__ import annotations

import multiprocessing
import os
import socket

import numpy as np
import pytest
import torch
from toy_parts import loader, toy_config

from ehrpose.commands.train import set_auto_scale_lr
from ehrpose.engine import PoseRunner, build_runner, compat
from ehrpose.engine.distributed import check_launcher
from ehrpose.engine.seeding import SeededDataset, SeededIndex


def test_channels_last_moves_the_weights(tmp_path):
    runner = build_runner(toy_config(tmp_path, max_epochs=1, channels_last=True))
    runner.train()
    assert runner.model.net[0].weight.is_contiguous(memory_format=torch.channels_last)


def test_runs_of_one_second_do_not_share_their_logs(tmp_path):
    runners = [build_runner(toy_config(tmp_path)) for _ in range(3)]
    assert len({runner.log_dir for runner in runners}) == 3
    assert len({id(runner.message_hub) for runner in runners}) == 3
    assert len({id(runner.visualizer) for runner in runners}) == 3


def test_tensorboard_gets_the_losses(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    visualizer = {
        "type": "Visualizer",
        "vis_backends": [{"type": "TensorboardVisBackend"}],
        "name": "visualizer",
    }
    runner = build_runner(toy_config(tmp_path, max_epochs=1, visualizer=visualizer))
    runner.train()
    runner.visualizer.close()
    events = EventAccumulator(os.path.join(runner.log_dir, "vis_data")).Reload()
    assert {"loss_square", "loss_size", "toy/AP"} <= set(events.Tags()["scalars"])


def test_auto_scale_lr_follows_the_batch(tmp_path):
    cfg = toy_config(tmp_path, max_epochs=1, param_scheduler=None, auto_scale_lr={"base_batch_size": 8})
    set_auto_scale_lr(cfg, True)
    runner = build_runner(cfg)
    runner.train()
    assert runner.optim_wrapper.get_lr()["lr"] == [0.01 * 2 / 8]


def test_item_draws_the_same_again_and_leaves_the_generators_alone():
    dataset = SeededDataset({"type": "ToyPeople"})
    state = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    first, again, later = (dataset[SeededIndex(2, (0, epoch, 0, 5))]["inputs"] for epoch in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, later)
    np.testing.assert_array_equal(state[0], np.random.get_state()[1])  # noqa: NPY002
    assert torch.equal(state[1], torch.get_rng_state())
    assert dataset.metainfo["dataset_name"] == "toy"


@pytest.mark.parametrize("launcher", ["pytorch", "slurm", "mpi", "other"])
def test_launcher_that_did_not_start_us_is_an_error(launcher):
    with pytest.raises(ValueError, match=launcher):
        check_launcher(launcher, {})


def _train_one(rank: int, port: int, work_dir: str) -> None:
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1",
                      MASTER_PORT=str(port))  # fmt: skip
    cfg = toy_config(work_dir, max_epochs=2, env_cfg={"dist_cfg": {"backend": "nccl"}})
    runner = build_runner(cfg, launcher="pytorch")
    runner.train()
    metrics = runner.test()
    torch.save((metrics, runner.model.module.state_dict()), f"{work_dir}/rank_{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_on_the_cpu_train_and_evaluate_like_one(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_train_one, args=(r, port, str(tmp_path / "two"))) for r in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
    assert [process.exitcode for process in processes] == [0, 0]
    (first, a), (second, b) = (torch.load(tmp_path / f"two/rank_{r}.pt", weights_only=True) for r in range(2))
    assert first == second
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert sorted(p.name for p in (tmp_path / "two").glob("epoch*")) == ["epoch_1.pth", "epoch_2.pth"]

    one = build_runner(toy_config(tmp_path / "one", load_from=str(tmp_path / "two/epoch_2.pth")))
    alone = one.test()
    assert alone["toy/count"] == first["toy/count"] == 7
    assert alone["toy/AP"] == pytest.approx(first["toy/AP"], abs=1e-6)


def test_data_set_that_is_built_already_is_taken():
    built = PoseRunner.build_dataloader({**loader(), "dataset": torch.arange(4)}, seed=0)
    assert torch.equal(built.dataset, torch.arange(4))


@pytest.mark.parametrize("how", ["load_from", "resume"])
@pytest.mark.parametrize("hooks", [[], [{"type": "EMAHook"}]], ids=["plain", "ema"])
def test_checkpoint_of_another_model_names_the_first_tensor(tmp_path, how, hooks):
    build_runner(toy_config(tmp_path, custom_hooks=hooks)).train()
    file = tmp_path / "epoch_3.pth"
    compat.apply()
    checkpoint = torch.load(file, weights_only=True)
    name = "net.0.weight"
    for key in ("state_dict", "ema_state_dict"):
        for tensor in [n for n in checkpoint.get(key, {}) if n.endswith(name)]:
            checkpoint[key][tensor] = checkpoint[key][tensor][:2]
    torch.save(checkpoint, file)
    cfg = toy_config(tmp_path / "other", custom_hooks=hooks, load_from=str(file), resume=how == "resume")
    with pytest.raises(
        ValueError, match=r"epoch_3\.pth does not fit the model: net\.0\.weight has shape \(2,"
    ):
        build_runner(cfg).train()


def test_checkpoint_with_too_few_tensors_is_refused(tmp_path):
    torch.save({"state_dict": {"net.0.weight": torch.zeros(4, 3, 3, 3)}}, tmp_path / "part.pth")
    with pytest.raises(ValueError, match=r"part\.pth does not fit the model: \d missing: net\.0\.bias"):
        build_runner(toy_config(tmp_path / "run", load_from=str(tmp_path / "part.pth"))).train()


@pytest.mark.parametrize("hooks", [[], [{"type": "EMAHook"}]], ids=["plain", "ema"])
@pytest.mark.parametrize("form", ["model.", "_orig_mod.", "model.module.", "under model", "plain"])
def test_training_starts_from_the_weights_of_a_wrapped_model(tmp_path, form, hooks):
    expected = build_runner(toy_config(tmp_path / "other", randomness={"seed": 8})).model.state_dict()
    tensors = {name: value for name, value in expected.items() if "num_batches" not in name}
    if "." in form:
        tensors = {form + name: value for name, value in tensors.items()}
    content = {"under model": {"model": tensors}, "plain": tensors}.get(form, {"state_dict": tensors})
    torch.save(content, tmp_path / "a.pth")
    cfg = toy_config(tmp_path, load_from=str(tmp_path / "a.pth"), custom_hooks=hooks)
    runner = build_runner(cfg)
    runner.call_hook("before_run")  # EMAHook builds its model
    runner.load_or_resume()
    loaded = runner.model.state_dict()
    assert [name for name in expected if not torch.equal(loaded[name], expected[name])] == []
