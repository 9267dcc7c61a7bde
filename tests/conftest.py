"""Shared fixtures; none is automatic."""

from __future__ import annotations

import gc
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"


def pytest_collection_finish() -> None:
    _leave_out_of_garbage_collection()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item, nextitem):
    """Give each test the threads that it would have alone, and each file a small heap."""
    libraries = [
        (module, get, name, getattr(module, get)())
        for module, get, name in (
            (sys.modules.get("torch"), "get_num_threads", "set_num_threads"),
            (sys.modules.get("cv2"), "getNumThreads", "setNumThreads"),
        )
        if module is not None
    ]
    done = yield
    for module, get, name, number in libraries:
        if getattr(module, get)() != number:
            getattr(module, name)(number)
    if nextitem is None or nextitem.path != item.path:
        _leave_out_of_garbage_collection()
    return done


def _leave_out_of_garbage_collection() -> None:
    """Exempt what is in memory now, mostly imported modules, from later collections.

    MMEngine collects whenever it builds a data set, which takes half a second with torch, onnx and openvino loaded.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's folder."""
    return ROOT


@pytest.fixture(scope="session")
def coco_keypoints() -> dict:
    """Config of the COCO skeleton."""
    from mmengine.config import Config  # which a device does not have

    return Config.fromfile(str(ROOT / "configs/_base_/keypoints/coco.py")).keypoints.to_dict()


@pytest.fixture(scope="session")
def five_keypoints() -> dict:
    """A skeleton of five keypoints whose names SyntheticPeople can draw."""
    return {
        "dataset_name": "five",
        "names": ["nose", "left_wrist", "right_wrist", "left_ankle", "right_ankle"],
        "swap": [("left_wrist", "right_wrist"), ("left_ankle", "right_ankle")],
        "skeleton": [
            ("nose", "left_wrist"),
            ("nose", "right_wrist"),
            ("nose", "left_ankle"),
            ("nose", "right_ankle"),
        ],
        "sigmas": [0.026, 0.062, 0.062, 0.089, 0.089],
    }


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def coco_mini() -> Path:
    """Real photos laid out like COCO, if available."""
    folder = SHARED / "data" / "coco-mini"
    if not folder.is_dir():
        pytest.skip("the real photos of coco-mini are not at hand")
    return folder


# A network small enough to build and run quickly.
SMALL = {"codec.input_size": 64, "codec.min_score": 0.01, "phi": -8}


@pytest.fixture(scope="session")
def demo_config(root) -> Path:
    return root / "configs/ehrnet/demo_synthetic-128.py"


@pytest.fixture(scope="session")
def small_options() -> dict:
    return dict(SMALL)


@pytest.fixture(scope="session")
def lively_checkpoint(demo_config, tmp_path_factory) -> Path:
    """Weights of the small network that find people, though not the real ones."""
    import torch
    from torch import nn

    from ehrpose.models.loading import init_model

    torch.manual_seed(0)
    model = init_model(demo_config, cfg_options=SMALL)
    # Random weights give nearly flat maps; larger ones produce people to find.
    for layer in [*model.neck.modules(), *model.head.modules()]:
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.kaiming_normal_(layer.weight)
    with torch.no_grad():
        for name, layer in (("heat4", model.head.output4), ("heat2", model.head.output2)):
            layer.weight *= 0.4 / getattr(model(torch.randn(1, 3, 64, 64)), name).std()
    path = tmp_path_factory.mktemp("weights") / "model.pth"
    torch.save({"state_dict": model.state_dict()}, path)
    return path


@pytest.fixture(scope="session")
def lively_model(demo_config, lively_checkpoint):
    from ehrpose.models.loading import init_model

    return init_model(demo_config, lively_checkpoint, cfg_options=SMALL)


@pytest.fixture(scope="session")
def _scenes(demo_config) -> list[np.ndarray]:
    from ehrpose.config import load_config, resolve
    from ehrpose.registry import DATASETS

    cfg = resolve(load_config(demo_config))
    dataset = DATASETS.build({**cfg.test_dataloader.dataset, "length": 3})
    return [dataset.get_data_info(index)["img"] for index in range(3)]


@pytest.fixture
def scene_photos(_scenes, tmp_path) -> Path:
    """A folder with three drawn scenes of 128 px as files, and a file that is not an image."""
    import cv2

    folder = tmp_path / "photos"
    folder.mkdir()
    for index, scene in enumerate(_scenes):
        cv2.imwrite(str(folder / f"{index}.png"), scene)
    (folder / "notes.txt").write_text("not a photo")
    return folder


@pytest.fixture(scope="session")
def export_once(tmp_path_factory):
    """Return a function that does what ``export`` does, each only once. Tests leave the files as they are."""
    for package in ("onnx", "onnxruntime"):
        pytest.importorskip(package, reason=f"{package} is in the extra 'deploy'")
    from ehrpose.deploy.export.options import ExportOptions
    from ehrpose.deploy.pipeline import export

    done = {}

    def run(config, checkpoint=None, cfg_options=None, **options):
        chosen = ExportOptions(**options)
        key = (config, checkpoint, str(cfg_options), chosen)
        if key not in done:
            weights = checkpoint and str(checkpoint)
            done[key] = export(
                str(config), weights, tmp_path_factory.mktemp("deploy"), chosen, (), cfg_options
            )
        return done[key]

    return run


@pytest.fixture(scope="session")
def exported(export_once, demo_config):
    """Return a function that exports the model of ``demo_config`` with options, and returns the path."""
    return lambda **options: export_once(demo_config, **options).path


@pytest.fixture(scope="session")
def exported_small(export_once, demo_config, lively_checkpoint):
    """Return a function that exports the small network with options, and returns what ``export`` does."""
    return partial(export_once, demo_config, lively_checkpoint, SMALL)
