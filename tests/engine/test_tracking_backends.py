"""Scalars of a training arrive in TensorBoard, W&B and MLflow, chosen by `vis_backends`."""

from __future__ import annotations

import importlib

import pytest
from toy_parts import toy_config

from ehrpose.engine import build_runner


def logged_run(folder, backend):
    cfg = toy_config(folder, max_epochs=1)
    cfg.visualizer = {"type": "Visualizer", "vis_backends": [backend]}
    return build_runner(cfg)


def needs(name):
    try:
        return importlib.import_module(name)
    except ImportError:
        pytest.skip(f"{name} is not installed: pip install -e '.[experiments]'")


def test_tensorboard_has_losses_and_ap(tmp_path):
    logged_run(tmp_path, {"type": "TensorboardVisBackend"}).train()
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (folder,) = tmp_path.glob("*/vis_data")
    events = EventAccumulator(str(folder))
    events.Reload()
    assert len(events.Scalars("loss")) == 2
    assert [event.step for event in events.Scalars("toy/AP")] == [1]


@pytest.mark.slow
def test_mlflow_has_losses_and_ap_in_a_local_database(tmp_path, monkeypatch):
    mlflow = needs("mlflow")
    monkeypatch.chdir(tmp_path)  # its files go into mlruns
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    backend = {"type": "MLflowVisBackend", "tracking_uri": store, "exp_name": "toy", "run_name": "first",
               "artifact_suffix": ()}  # fmt: skip
    try:
        logged_run(tmp_path / "run", backend).train()
    finally:
        mlflow.end_run()
    client = mlflow.tracking.MlflowClient(store)
    (run,) = client.search_runs([client.get_experiment_by_name("toy").experiment_id])
    assert run.info.run_name == "first"
    assert len(client.get_metric_history(run.info.run_id, "loss")) == 2
    assert [metric.step for metric in client.get_metric_history(run.info.run_id, "toy/AP")] == [1]


@pytest.mark.slow
def test_wandb_writes_losses_and_ap_offline(tmp_path, monkeypatch):
    wandb = needs("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.chdir(tmp_path)
    logged_run(
        tmp_path / "run", {"type": "WandbVisBackend", "init_kwargs": {"project": "toy", "mode": "offline"}}
    ).train()
    wandb.finish()
    (record,) = tmp_path.glob("run/*/vis_data/wandb/offline-run-*/run-*.wandb")
    content = record.read_bytes()
    assert b"loss_square" in content
    assert b"toy/AP" in content
