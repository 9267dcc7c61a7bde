"""A dataset, a network and a metric so small that a whole training takes a second, with randomness in each."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from torch import nn
from torch.utils.data import Dataset

from ehrpose.data_sample import PoseDataSample
from ehrpose.engine import compat
from ehrpose.registry import DATASETS, METRICS, MODELS


@DATASETS.register_module(force=True)
class ToyPeople(Dataset):
    """Small random images, augmented with the global generators of Python, NumPy and torch."""

    def __init__(self, length: int = 10, test_mode: bool = False, bad_index: int | None = None):
        self.length = length
        self.test_mode = test_mode
        self.bad_index = bad_index
        self.metainfo = {"dataset_name": "toy", "sigmas": np.ones(3, np.float32)}

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict:
        image = torch.from_numpy(np.random.default_rng(index).random((3, 8, 8), np.float32))
        if not self.test_mode:
            image = image * np.random.uniform(0.5, 1.5) + random.random() + torch.rand(())  # noqa: NPY002
        if index == self.bad_index:
            image = image * float("nan")
        sample = PoseDataSample(metainfo={"img_id": index, "img_path": f"photo_{index}.jpg"})
        return {"inputs": image, "data_samples": sample}


@MODELS.register_module(force=True)
class ToyEstimator(BaseModel):
    """Convolution, batch norm and dropout, to the mean of the image."""

    def __init__(self, data_preprocessor: dict | None = None):
        super().__init__(data_preprocessor)
        head = (nn.Dropout(0.5), nn.Flatten(), nn.Linear(4 * 36, 1))
        self.net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), *head)

    def forward(self, inputs: Any, data_samples: Any = None, mode: str = "tensor") -> Any:
        images = torch.stack(tuple(inputs)) if not isinstance(inputs, torch.Tensor) else inputs
        out = self.net(images)[:, 0].float()
        if mode == "loss":
            error = out - images.mean((1, 2, 3))
            return {"loss_square": error.square().mean(), "loss_size": error.abs().mean() * 0.1}
        if mode == "predict":
            for sample, value in zip(data_samples, out):
                sample.set_field(float(value), "value", dtype=float)
            return data_samples
        return out


@METRICS.register_module(force=True)
class ToyMetric(BaseMetric):
    """The mean prediction, weighted by index, so that order and number of the images matter."""

    default_prefix = "toy"

    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results += [(sample["img_id"], sample["value"]) for sample in data_samples]

    def compute_metrics(self, results: list) -> dict[str, float]:
        ids, values = zip(*results)
        assert list(ids) == sorted(set(ids))
        return {"AP": float(np.dot(ids, values)), "count": len(ids)}


def loader(batch_size: int = 2, num_workers: int = 0, shuffle: bool = True, **dataset: Any) -> dict:
    return {
        "batch_size": batch_size,
        "num_workers": num_workers,
        "persistent_workers": num_workers > 0,
        "sampler": {"type": "DefaultSampler", "shuffle": shuffle, "round_up": shuffle},
        "dataset": {"type": "ToyPeople", **dataset},
    }


def toy_config(work_dir: str | Path, max_epochs: int = 3, num_workers: int = 0, **changes: Any) -> Config:
    """Return the config of a training with validation after every epoch."""
    cfg = {
        "default_scope": "ehrpose",
        "work_dir": str(work_dir),
        "model": {"type": "ToyEstimator"},
        "train_dataloader": loader(num_workers=num_workers),
        "val_dataloader": loader(3, shuffle=False, length=7, test_mode=True),
        "train_cfg": {"type": "EpochBasedTrainLoop", "max_epochs": max_epochs, "val_interval": 1},
        "val_cfg": {},
        "val_evaluator": {"type": "ToyMetric"},
        "optim_wrapper": {"optimizer": {"type": "Adam", "lr": 0.01}},
        "param_scheduler": [
            {"type": "LinearLR", "begin": 0, "end": 7, "start_factor": 0.1, "by_epoch": False},
            {
                "type": "MultiStepLR",
                "begin": 0,
                "end": 3,
                "milestones": [1, 2],
                "gamma": 0.5,
                "by_epoch": True,
            },
        ],
        "default_hooks": {
            "checkpoint": {
                "type": "SafeCheckpointHook",
                "interval": 1,
                "save_best": "toy/AP",
                "rule": "greater",
            },
            "logger": {"type": "LoggerHook", "interval": 2},
        },
        "custom_hooks": [{"type": "NonFiniteLossHook"}],
        "env_cfg": {"mp_cfg": {"mp_start_method": "fork", "opencv_num_threads": 0}},
        "randomness": {"seed": 3},
        "log_level": "WARNING",
    }
    cfg.update(changes)
    if cfg.get("val_dataloader"):
        cfg.update(test_dataloader=cfg["val_dataloader"], test_cfg={}, test_evaluator=cfg["val_evaluator"])
    return Config(cfg)


def weights(path: str | Path) -> dict[str, torch.Tensor]:
    """Return all tensors of a checkpoint that training makes, by name."""
    compat.allow_resume()
    checkpoint = torch.load(path, weights_only=True)
    found = {**checkpoint["state_dict"]}
    found.update({f"ema.{k}": v for k, v in checkpoint.get("ema_state_dict", {}).items()})
    for number, state in checkpoint["optimizer"]["state"].items():
        found.update({f"optimizer.{number}.{k}": torch.as_tensor(v) for k, v in state.items()})
    return found
