"""Throughput of training samples compared with a plain pipeline, in one run."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.dataset import Compose, pseudo_collate
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ehrpose.config import load_config, resolve
from ehrpose.datasets.one_piece import OnePiece
from ehrpose.datasets.transforms import BottomUpAffine, EncodeTargets, LoadImage, PackPose, RandomFlip
from ehrpose.datasets.transforms.geometry import _drop_outside, _warp_people
from ehrpose.datasets.transforms.loading import OTHER_PHOTO
from ehrpose.datasets.transforms.loss_mask import draw_loss_mask
from ehrpose.engine.allocator import keep_freed_memory
from ehrpose.image_warp import compose_warps
from ehrpose.models.data_preprocessor import PosePreprocessor
from ehrpose.models.target_batch import collate_targets
from ehrpose.registry import DATASETS

CPU = torch.device("cpu")
WARM_UP = 2  # batches
ONE_PIECE = "in one piece"


class PlainAffine(BottomUpAffine):
    """The same warp, of the whole photo in float32."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        size_wh = (self.input_size, self.input_size)
        warp = self._draw_warp(results)
        image = results["img"].astype(np.float32)
        results["img"] = cv2.warpAffine(image, warp, size_wh, flags=cv2.INTER_LINEAR)
        results["warp"] = compose_warps(warp, np.eye(2, 3))
        photo_wh = (results["width"], results["height"])
        results["loss_mask"] = draw_loss_mask(results.get("mask_regions", ()), photo_wh, warp, size_wh)
        _warp_people(results, warp)
        _drop_outside(results, size_wh)
        return results


class _OnBytes:
    """A step that takes bytes, in a pipeline of float images."""

    def __init__(self, step: Callable):
        self.step = step

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        results["img"] = results["img"].round().clip(0, 255).astype(np.uint8)
        results = self.step(results)
        results["img"] = results["img"].astype(np.float32)
        return results


class PlainTargets(EncodeTargets):
    """The same targets in a loop over keypoints that computes each Gaussian from scratch."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        codec = self.codec
        targets = codec.encode_points(
            results["keypoints"], results["visible"], results["loss_mask"], results.get("area")
        )
        points = targets.pop("points")
        for stride in codec.strides:
            cells = codec.input_size // stride
            heatmaps = np.zeros((codec.num_keypoints, cells, cells), np.float32)
            for k, *keypoint, tolerance in points if codec.oks_sigma else np.insert(points, 3, 0, axis=1):
                sigma = max(tolerance / stride, codec.sigma)
                x, y = codec.to_map(keypoint, stride, (codec.input_size, codec.input_size))
                pixel_x, pixel_y = (int(np.floor(v + 0.5 * codec.unbiased)) for v in (x, y))
                if not (0 <= pixel_x < cells and 0 <= pixel_y < cells):
                    continue
                reach = int(np.ceil(3 * sigma)) + 1
                left, top = int(np.floor(x)), int(np.floor(y))
                xs = np.arange(max(left - reach, 0), min(left + reach + 2, cells))
                ys = np.arange(max(top - reach, 0), min(top + reach + 2, cells))[:, None]
                patch = np.exp(-((xs - x) ** 2 + (ys - y) ** 2) / (2 * sigma**2))
                window = heatmaps[int(k), ys[0, 0] : ys[-1, 0] + 1, xs[0] : xs[-1] + 1]
                window[:] = np.maximum(window, patch)
            targets[f"heat{stride}"] = heatmaps
            targets[f"mask{stride}"] = targets[f"mask{stride}"].astype(np.float32)
        results["targets"] = targets
        return results


class PlainPack:
    """Normalise in the loader and send float tensors to the model."""

    def __init__(self, preprocessor: PosePreprocessor):
        self.mean, self.std = (v.numpy().reshape(3) for v in (preprocessor.mean, preprocessor.std))

    def __call__(self, results: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        image = (results["img"][:, :, ::-1] - self.mean) / self.std
        targets = {name: torch.from_numpy(array) for name, array in results["targets"].items()}
        return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))), targets


class _Samples(Dataset):
    """Items of a dataset through other steps; item i is drawn with seed i."""

    def __init__(self, dataset: Any, steps: Sequence[Callable], size: int):
        self.dataset, self.steps, self.size = dataset, Compose(list(steps)), size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Any:
        random.seed(index)
        return self.steps(_item(self.dataset, index % len(self.dataset)))


class DataBenchmark:
    """Three paths to a batch: plain; ours with heatmaps from the loader; ours with heatmaps drawn by the model.

    Args:
        config: Config file whose ``train_dataloader`` is measured.
        cfg_options: Values, by dotted key, that replace those of the file.
        batch_size: Images per batch.
        num_batches: Batches timed per round.

    Raises:
        ValueError: The training pipeline lacks BottomUpAffine, EncodeTargets or PackPose, or is not the only one.
    """

    def __init__(self, config: str, cfg_options: Any = None, batch_size: int = 16, num_batches: int = 12):
        cfg = resolve(load_config(config, cfg_options))
        self.dataset = DATASETS.build(cfg.train_dataloader.dataset)
        self.preprocessor = PosePreprocessor()
        self.batch_size, self.num_batches = batch_size, num_batches
        if hasattr(self.dataset, "datasets"):
            raise ValueError(
                f"{type(self.dataset).__name__} has a pipeline for each of its datasets; use a config of one of them"
            )
        ours = list(self.dataset.pipeline.transforms)
        encode = next((s for s in ours if isinstance(s, EncodeTargets)), None)
        affine = next((s for s in ours if isinstance(s, BottomUpAffine)), None)
        if encode is None or affine is None or not isinstance(ours[-1], PackPose):
            raise ValueError(
                "the training pipeline must contain BottomUpAffine, EncodeTargets and, last, PackPose"
            )
        self.codec = encode.codec
        plain_affine = PlainAffine(
            self.codec,
            affine.rotate,
            affine.scale,
            affine.scale_type,
            affine.shift,
            affine.prob,
            affine.border,
            affine.stretch,
            affine.on_person,
        )
        colours = ours[ours.index(affine) + 1 : ours.index(encode)]
        replaced: dict[int, Callable] = {
            **{id(step): _OnBytes(step) for step in colours if not isinstance(step, RandomFlip)},
            id(affine): plain_affine,
            id(encode): PlainTargets(self.codec),
            id(ours[-1]): PlainPack(self.preprocessor),
        }
        with_maps = {id(encode): EncodeTargets(self.codec, heatmaps=True)}
        points = {id(encode): EncodeTargets(self.codec)}
        self.steps: dict[str, list[Callable]] = {
            name: [table.get(id(step), step) for step in ours]
            for name, table in (
                ("plain", replaced),
                ("heatmaps sent", with_maps),
                ("points sent", points),
                (ONE_PIECE, points),
            )
        }

    def batch(self, name: str, items: Sequence[Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the inputs of the model's loss: normalised images and targets."""
        if name == "plain":
            images = torch.stack([image for image, _ in items])
            return images, {key: torch.stack([t[key] for _, t in items]) for key in items[0][1]}
        data = self.preprocessor(pseudo_collate(items))
        return data["inputs"], collate_targets(self.codec, [s.gt_targets for s in data["data_samples"]], CPU)

    def check(self, num_items: int = 24) -> float:
        """Return the largest difference of any target between the three paths, over ``num_items`` images."""
        worst = 0.0
        samples = {name: _Samples(self.dataset, steps, num_items) for name, steps in self.steps.items()}
        for index in range(num_items):
            batches = [self.batch(name, [dataset[index]])[1] for name, dataset in samples.items()]
            for key, plain in batches[0].items():
                worst = max(
                    worst, *(float((b[key].float() - plain.float()).abs().max()) for b in batches[1:])
                )
        return worst

    def throughput(self, name: str) -> tuple[float, float]:
        """Return samples per second from one worker, and ms per sample that the main process then needs."""
        samples = _Samples(self.dataset, self.steps[name], (WARM_UP + self.num_batches) * self.batch_size)
        loader = DataLoader(
            samples,
            self.batch_size,
            num_workers=1,
            collate_fn=OnePiece(list) if name == ONE_PIECE else list,
            worker_init_fn=_one_thread,
        )
        batches = iter(loader)
        kept = [next(batches) for _ in range(WARM_UP)]
        start = time.perf_counter()
        for items in batches:  # only received; the main process's share is timed below
            kept[-1] = items
        rate = self.num_batches * self.batch_size / (time.perf_counter() - start)
        finishing = []
        for items in kept * 2:
            before = time.perf_counter()
            self.batch(name, items)
            finishing.append(time.perf_counter() - before)
        return rate, 1e3 * statistics.median(finishing[WARM_UP:]) / self.batch_size

    def steps_ms(self, name: str, num_items: int) -> dict[str, float]:
        """Return the median ms of each step over ``num_items`` images in one process."""
        spent: dict[str, list[float]] = {}

        def timed(step: str, function: Callable, *arguments: Any) -> Any:
            start = time.perf_counter()
            result = function(*arguments)
            spent.setdefault(step, []).append(1e3 * (time.perf_counter() - start))
            return result

        for index in range(num_items):
            random.seed(index)
            results = timed("annotations", _item, self.dataset, index % len(self.dataset))
            for step in self.steps[name]:
                label = "read and decode" if isinstance(step, LoadImage) else _label(step)
                results = timed(label, step, results)
            timed("batch", self.batch, name, [results])
        return {step: statistics.median(times) for step, times in spent.items()}


def _item(dataset: Any, index: int) -> dict[str, Any]:
    """Return an item as the dataset passes it to its pipeline in training."""
    item = dict(dataset.get_data_info(index))
    if hasattr(dataset, "other_photo"):
        item[OTHER_PHOTO] = dataset.other_photo
    return item


def _label(step: Callable) -> str:
    for kind, label in (
        (BottomUpAffine, "warp"),
        (EncodeTargets, "targets"),
        ((PackPose, PlainPack), "pack"),
    ):
        if isinstance(step, kind):
            return label
    return type(step).__name__


def _one_thread(_: int) -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def print_data_benchmark(
    config: str, cfg_options: Any, batch_size: int, num_batches: int, rounds: int, num_items: int
) -> None:
    """Print the tables of ``tools/analysis_tools/benchmark_dataloader.py``."""
    _one_thread(0)
    keep_freed_memory()  # as in training
    benchmark = DataBenchmark(config, cfg_options, batch_size, num_batches)
    side = benchmark.codec.input_size
    people = statistics.mean(
        len(benchmark.dataset.get_data_info(i)["keypoints"]) for i in range(min(len(benchmark.dataset), 500))
    )
    print(f"input {side} px, {people:.1f} people per image, batch {batch_size}, one worker, one thread")
    print(f"largest difference between targets of the paths: {benchmark.check():.2g}\n")
    measured: dict[str, list[tuple[float, float]]] = {name: [] for name in benchmark.steps}
    for _ in range(rounds):
        for name, runs in measured.items():
            runs.append(benchmark.throughput(name))
    base = statistics.median(rate for rate, _ in measured["plain"])
    print(f"{'path':<16}{'samples/s':>10}{'ratio':>8}{'then, in the main process, ms per sample':>41}")
    for name, runs in measured.items():
        rate = statistics.median(rate for rate, _ in runs)
        print(f"{name:<16}{rate:>10.1f}{rate / base:>8.2f}{statistics.median(ms for _, ms in runs):>41.2f}")
    # The steps of what is sent in one piece are those of "points sent".
    tables = {name: benchmark.steps_ms(name, num_items) for name in benchmark.steps if name != ONE_PIECE}
    print(
        f"\nms per sample by step, in one process\n{'step':<20}" + "".join(f"{name:>16}" for name in tables)
    )
    for step in tables["plain"]:
        print(f"{step:<20}" + "".join(f"{table.get(step, 0.0):>16.2f}" for table in tables.values()))
