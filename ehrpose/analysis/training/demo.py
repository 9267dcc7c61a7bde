"""The embedded demo: train, test and draw on data that ehrpose makes itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from ehrpose.config import load_config
from ehrpose.visualization.drawing import draw_people, write_picture


@dataclass(frozen=True)
class DemoResult:
    """What the demo ends with: AP and AP50 (0 to 1) on unseen scenes, and where the files are."""

    ap: float
    ap50: float
    num_images: int
    checkpoint: Path
    picture: Path


def run_demo(config: str, work_dir: str, num_scenes: int = 12) -> DemoResult:
    """Train and test the model of ``config`` and draw its predictions on scenes of the test set.

    Args:
        config: Config file.
        work_dir: Folder of logs, checkpoints and the picture.
        num_scenes: Scenes in the picture, at least 1.

    Raises:
        ValueError: ``num_scenes`` is less than 1, or the config is wrong.
        FileNotFoundError: There is no such config.
    """
    from ehrpose.engine.runner import build_runner

    if num_scenes < 1:
        raise ValueError(f"num_scenes must be at least 1, got {num_scenes}")
    cfg = load_config(config)
    cfg.work_dir = work_dir
    runner = build_runner(cfg)
    runner.train()
    metrics = runner.test()
    picture = Path(work_dir) / "predictions.jpg"
    draw_predictions(runner.model, runner.test_loop.dataloader.dataset, picture, num_scenes)
    checkpoint = Path(Path(work_dir, "last_checkpoint").read_text().strip())
    return DemoResult(
        ap=metrics["coco/AP"],
        ap50=metrics["coco/AP50"],
        num_images=len(runner.test_loop.dataloader.dataset),
        checkpoint=checkpoint,
        picture=picture,
    )


@torch.no_grad()
def draw_predictions(model: Any, dataset: Any, picture: Path, num_scenes: int, columns: int = 4) -> None:
    """Write a sheet of the people that ``model`` finds in the first scenes of ``dataset``."""
    model.eval()
    tiles = []
    for index in range(min(num_scenes, len(dataset))):
        item = dataset[index]
        sample = model.test_step({"inputs": [item["inputs"]], "data_samples": [item["data_samples"]]})[0]
        scene = dataset.get_data_info(index)["img"]
        people = sample.pred_instances
        keep = people.bbox_scores > 0.15
        factor = max(1, 320 // max(scene.shape[:2]))
        large = cv2.resize(scene, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
        keypoints = (people.keypoints[keep] + 0.5) * factor - 0.5
        tiles.append(
            draw_people(large, keypoints, people.keypoint_scores[keep], model.codec.meta, kpt_thr=0.15)
        )
    write_sheet(tiles, picture, columns)


def write_sheet(tiles: list[np.ndarray], picture: Path, columns: int) -> None:
    """Write pictures of one shape (H, W, 3) uint8 BGR side by side, ``columns`` in a row."""
    blank = np.full_like(tiles[0], 255)
    rows = [tiles[i : i + columns] for i in range(0, len(tiles), columns)]
    rows[-1] += [blank] * (min(columns, len(tiles)) - len(rows[-1]))
    sheet = np.vstack([np.hstack(row) for row in rows])
    write_picture(picture, sheet)
