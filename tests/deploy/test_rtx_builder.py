"""The real TensorRT-RTX parser and builder, which need no GPU, on every model; run by make test-deploy."""

from __future__ import annotations

import importlib.util

import cv2
import pytest

from ehrpose.cli import parse_command
from ehrpose.commands import deploy as command
from ehrpose.datasets.synthetic.dataset import SyntheticPeople
from ehrpose.deploy.sidecar import read_sidecar

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("tensorrt_rtx") is None,
        reason="tensorrt-rtx, whose builder needs no GPU, is not installed: make test-deploy",
    ),
]
MODELS = ["h-4_coco-384", "h-3_coco-416", "h-2_coco-448", "h-1_coco-480", "h0_coco-512"]


def deploy(words):
    """Do what tools/deploy.py does, but let errors propagate."""
    command.run(parse_command(None, command, words))


@pytest.fixture(scope="module")
def photos(coco_keypoints, tmp_path_factory):
    """A folder of four drawn scenes for calibration."""
    folder = tmp_path_factory.mktemp("photos")
    scenes = SyntheticPeople(coco_keypoints, length=4, image_size=256)
    for i in range(4):
        cv2.imwrite(str(folder / f"{i}.png"), scenes.get_data_info(i)["img"])
    return folder


@pytest.mark.parametrize("decode", ["none", "peaks"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("model", MODELS)
def test_every_model_is_parsed_and_built(root, photos, tmp_path, model, precision, decode):
    config = str(root / f"configs/ehrnet/{model}.py")
    words = [
        "--precision",
        precision,
        "--decode",
        decode,
        "--calib-data",
        str(photos),
        "--work-dir",
        str(tmp_path),
    ]
    with pytest.raises(SystemExit) as exit_:
        deploy([config, "none", "--backend", "tensorrt-rtx", *words])
    assert exit_.value.code in (0, None)
    engine = tmp_path / "end2end.engine"
    sidecar = read_sidecar(engine)
    assert engine.stat().st_size > 1_000_000
    assert (sidecar.precision, sidecar.decode) == (precision, decode)
