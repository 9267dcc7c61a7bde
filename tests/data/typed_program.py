"""A program of a user, for mypy --strict; only public import paths. Also checked by make dist."""

from pathlib import Path
from typing import Any

import numpy as np

from ehrpose import PoseInferencer, PoseRuntime, inference, init_model
from ehrpose.deploy.pipeline import ExportOptions, export
from ehrpose.image_io import read_image
from ehrpose.model_zoo import ZooModel, find_model
from ehrpose.registry import CODECS, MODELS
from ehrpose.structures import Maps, People, invert_warp


def people_of(photo: Path) -> list[dict[str, Any]]:
    inferencer = PoseInferencer("ehrnet-small", device="cpu", num_threads=2)
    found: list[dict[str, Any]] = []
    for result in inferencer(photo, vis_out_dir="outputs", bbox_thr=0.2):
        found += result["predictions"][0]
    return found


def export_model(name: str, folder: Path) -> Path:
    model: ZooModel = find_model(name)
    exported = export(str(model.config), str(model.checkpoint), folder, ExportOptions(precision="fp32"))
    errors: dict[str, float] = exported.errors
    print(errors)
    return exported.path


def run(network: Path, photo: Path) -> People:
    with PoseRuntime(network, num_threads=1) as runtime:
        people: People = runtime(read_image(photo))
    boxes: np.ndarray[Any, Any] = people.boxes()
    print(boxes.shape, len(people), invert_warp(np.eye(3)[:2]).shape)
    return people.select(people.scores > 0.5)


def run_in_torch(photo: str) -> int:
    model = init_model("ehrnet-small", device="cpu")
    samples = inference(model, [photo], batch_size=1)
    return len(samples)


def swapped(maps: Maps) -> Maps:
    return Maps(maps.heat4[..., ::-1], maps.tag4)


print(CODECS, MODELS)
