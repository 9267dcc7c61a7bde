"""A network with fields works with all that is around a model: inferencer, tracker, pictures, web page, exports."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from small_rivals import enliven, small_options

from ehrpose.config import INFERENCE_PARTS, load_config
from ehrpose.deploy.sidecar import DeployError
from ehrpose.inferencers.inferencer import PoseInferencer
from ehrpose.inferencers.predictors import open_predictor, photo_heat
from ehrpose.models.loading import init_model

for package in ("onnx", "onnxruntime"):
    pytest.importorskip(package, reason=f"{package} is in the extra 'deploy'")

NAME = "lwopenpose_coco-368"
CONFIG = Path(__file__).parents[3] / f"configs/rivals/{NAME}.py"
OPTIONS = {**small_options(NAME), "codec.mode": "fast"}


@pytest.fixture(scope="module")
def model():
    return enliven(init_model(load_config(str(CONFIG), OPTIONS, INFERENCE_PARTS)))


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    """The exported file of maps, and that of candidates."""
    from ehrpose.deploy.export.options import ExportOptions
    from ehrpose.deploy.pipeline import export

    folder = tmp_path_factory.mktemp("exported")
    torch.save({"state_dict": model.state_dict()}, folder / "weights.pth")
    return {
        decode: export(
            str(CONFIG),
            str(folder / "weights.pth"),
            folder / decode,
            ExportOptions(decode=decode),
            (),
            OPTIONS,
        ).path
        for decode in ("none", "peaks")
    }


@pytest.fixture(scope="module")
def frames():
    rng = np.random.default_rng(1)
    scene = cv2.resize(rng.integers(0, 256, (6, 9, 3), np.uint8), (144, 96), interpolation=cv2.INTER_CUBIC)
    return [scene, scene, np.ascontiguousarray(scene[:, :60])]


def people_of(results):
    return [
        [(p["bbox_score"], np.ravel(p["keypoints"])) for p in photo]
        for result in results
        for photo in result["predictions"]
    ]


def test_the_inferencer_finds_the_same_people_in_all_forms(model, exported, frames):
    wanted = people_of(PoseInferencer(model)(frames, bbox_thr=0.0))
    assert all(wanted)
    for path in exported.values():
        found = people_of(PoseInferencer(str(path))(frames, bbox_thr=0.0))
        assert [len(photo) for photo in found] == [len(photo) for photo in wanted]
        for one, other in zip(found, wanted):
            for (score, points), (wanted_score, wanted_points) in zip(one, other):
                assert score == pytest.approx(wanted_score, abs=1e-3)
                np.testing.assert_allclose(points, wanted_points, atol=0.1)


def test_the_tracker_follows_and_pictures_are_drawn(exported, frames):
    inferencer = PoseInferencer(str(exported["peaks"]))
    options = {
        "fps": 5,
        "tracker": {"min_hits": 1, "high_score": 0.0, "low_score": 0.0},
        "return_vis": True,
        "bbox_thr": 0.0,
    }
    results = list(inferencer(frames[:2], **options))
    ids = [[p["track_id"] for p in photo] for result in results for photo in result["predictions"]]
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == len(ids[0]) > 1
    for result in results:
        picture = result["visualization"][0]
        assert picture.shape == frames[0].shape
        assert (picture != frames[0]).any()


def test_heatmaps_are_those_of_the_keypoints(model, exported, frames):
    wanted = photo_heat(open_predictor(model), frames[0])
    assert wanted.shape == (17, 8, 12)
    found = photo_heat(open_predictor(str(exported["none"])), frames[0])
    np.testing.assert_allclose(found, wanted, atol=1e-3)
    with pytest.raises(ValueError, match="returns candidates, not heatmaps"):
        photo_heat(open_predictor(str(exported["peaks"])), frames[0])


def test_the_web_page_shows_people_and_heatmaps(exported, frames):
    for package in ("starlette", "uvicorn", "httpx"):
        pytest.importorskip(package, reason=f"{package} is in the extra 'web'")
    from starlette.testclient import TestClient

    from ehrpose.web.app import create_app
    from ehrpose.web.model_pool import pool_of

    photo = cv2.imencode(".png", frames[0])[1].tobytes()
    with TestClient(
        create_app(pool_of([f"fields={exported['none']}"])), base_url="http://localhost"
    ) as client:
        answer = client.post("/api/predict", content=photo)
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["people"]) > 1
        assert len(answer.json()["skeleton"]["names"]) == 17
        heat = client.post("/api/heatmap", content=photo)
        assert heat.status_code == 200
        assert heat.headers["content-type"] == "image/png"


def test_the_sidecar_says_border_and_height(exported):
    content = json.loads(Path(f"{exported['peaks']}.json").read_text())
    assert content["input"]["border"] == [128, 128, 128]
    assert content["input"]["sides"] == {"short": 64, "divisor": 8, "max_aspect": 8.0, "side": "height"}
    assert content["codec"]["parts"] == "coco-18"
    assert list(content["outputs"]) == [
        "part_scores",
        "part_pixels",
        "part_cross",
        "pair_scores",
        "pair_shares",
    ]


def test_candidates_are_decoded_in_fast_mode_only(exported):
    from ehrpose.deploy.runtime import PoseRuntime

    with pytest.raises(DeployError, match="outputs candidates: expected mode 'fast'"):
        PoseRuntime(exported["peaks"], codec_options={"mode": "paper"})


def test_candidates_use_operators_of_tensorrt_85_only(exported):
    import onnx

    from ehrpose.deploy.export.trt85_ops import unsupported

    loaded = onnx.load(str(exported["peaks"]))
    found = [text for text in unsupported(loaded) if not text.startswith("input ")]  # uint8 is for CPUs
    assert found == []
