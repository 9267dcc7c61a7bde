"""The built-in demo: train, test and draw on synthetic data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ehrpose.config import load_config, resolve
from ehrpose.inferencers.predictors import TorchPredictor
from ehrpose.visualization.comparison_sheet import SheetCell, compose_sheet
from ehrpose.visualization.drawing import draw_people, write_picture

# People and keypoints below this score are not drawn; after such a short training scores are low.
_MIN_SCORE = 0.15
# Small scenes are enlarged by a whole factor to at most this side on the sheet, px.
_SIDE = 320


@dataclass(frozen=True)
class DemoResult:
    """Results of the demo: AP and AP50 (0 to 1) on unseen scenes, and the paths of its files."""

    ap: float
    ap50: float
    num_images: int
    checkpoint: Path
    picture: Path


def run_demo(config: str, work_dir: str, num_scenes: int = 12) -> DemoResult:
    """Train and test the model of ``config`` and draw its predictions on scenes of the test set.

    Args:
        config: Config file.
        work_dir: Folder for logs, checkpoints and the picture.
        num_scenes: Scenes in the picture, at least 1.

    Raises:
        ValueError: ``num_scenes`` is less than 1, or the config is invalid.
        FileNotFoundError: The config does not exist.
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
    runner.model.cfg = resolve(cfg)  # as init_model leaves it
    dataset = runner.test_loop.dataloader.dataset
    scenes = [dataset.get_data_info(index)["img"] for index in range(min(num_scenes, len(dataset)))]
    draw_predictions(runner.model, scenes, picture)
    checkpoint = Path(Path(work_dir, "last_checkpoint").read_text().strip())
    return DemoResult(
        ap=metrics["coco/AP"],
        ap50=metrics["coco/AP50"],
        num_images=len(dataset),
        checkpoint=checkpoint,
        picture=picture,
    )


def draw_predictions(model: Any, scenes: list[np.ndarray], picture: Path, columns: int = 4) -> None:
    """Write a sheet of the people that a model finds.

    Args:
        model: The model, with its resolved config as ``model.cfg``.
        scenes: At least one, (H, W, 3) uint8 BGR, all of the same shape.
        picture: File to write.
        columns: Scenes in a row.
    """
    predictor = TorchPredictor(model.eval())
    cells = []
    for scene in scenes:
        (people,) = predictor.predict([scene])
        people = people.select(people.scores > _MIN_SCORE)
        factor = max(1, _SIDE // max(scene.shape[:2]))
        large = cv2.resize(scene, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
        keypoints = (people.keypoints + 0.5) * factor - 0.5
        drawn = draw_people(large, keypoints, people.keypoint_scores, predictor.meta, kpt_thr=_MIN_SCORE)
        cells.append(SheetCell(drawn, f"{len(people)} found"))
    write_picture(picture, compose_sheet([cells[i : i + columns] for i in range(0, len(cells), columns)]))
