"""PoseNet: sizes, training, input sides, exports, and all that is around a model; its real weights where at hand."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from test_rival_networks import build
from torch import nn

from ehrpose.config import INFERENCE_PARTS, load_config
from ehrpose.data_sample import PoseDataSample
from ehrpose.inferencers.inferencer import PoseInferencer
from ehrpose.inferencers.predictors import TorchPredictor, open_predictor, photo_heat
from ehrpose.models.complexity import count_complexity
from ehrpose.models.loading import init_model
from ehrpose.registry import TRANSFORMS
from ehrpose.structures import OffsetMaps

ROOT = Path(__file__).parents[3]
NAME = "posenet_coco-481"
CONFIG = ROOT / f"configs/rivals/{NAME}.py"
REAL = ROOT.parent / "shared/rivals/posenet_mobilenet_v1_075_481_641_quant.tflite"
SMALL = {
    "model.backbone.width": 0.25,
    "model.backbone.max_channels": 64,
    "codec.input_size": 97,
    "codec.max_candidates": 5,
    "test_dataloader.dataset.pipeline.1.size_wh": (145, 97),
}


def lively(options=SMALL):
    """A small network whose maps have people, though not real ones."""
    torch.manual_seed(0)
    model = init_model(load_config(str(CONFIG), dict(options), INFERENCE_PARTS))
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
    image = torch.randn((1, 3, 97, 145), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for layer, size in ((model.head.heat, 2.0), (model.head.short, 3.0), (model.head.mid_forward, 10.0),
                            (model.head.mid_backward, 10.0)):  # fmt: skip
            layer.weight *= size / layer(model.backbone(image)[0]).std()
    return model.eval()


@pytest.fixture(scope="module")
def model():
    return lively()


@pytest.fixture(scope="module")
def frames():
    rng = np.random.default_rng(1)
    scene = cv2.resize(rng.integers(0, 256, (6, 9, 3), np.uint8), (144, 96), interpolation=cv2.INTER_CUBIC)
    return [scene, scene, np.ascontiguousarray(scene[:, :60])]


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    """The exported file of maps, and that of poses."""
    for package in ("onnx", "onnxruntime"):
        pytest.importorskip(package, reason=f"{package} is in the extra 'deploy'")
    from ehrpose.deploy.export.options import ExportOptions
    from ehrpose.deploy.pipeline import export

    folder = tmp_path_factory.mktemp("exported")
    torch.save({"state_dict": model.state_dict()}, folder / "weights.pth")
    weights = str(folder / "weights.pth")
    return {
        decode: export(str(CONFIG), weights, folder / decode, ExportOptions(decode=decode), (), SMALL).path
        for decode in ("none", "peaks")
    }


def test_parameters_and_multiply_adds():
    with torch.device("meta"):
        model = build(NAME)
    counted = count_complexity(model, (481, 641))
    assert counted.params == 1_258_195  # as the numbers in the published file
    assert counted.macs == 2_231_233_104
    maps = model.to_empty(device="meta")(torch.zeros((1, 3, 481, 641), device="meta"))
    assert [None if field is None else tuple(field.shape) for field in maps] == [
        (1, 17, 31, 41), (1, 34, 31, 41), (1, 32, 31, 41), (1, 32, 31, 41), None,
    ]  # fmt: skip


def test_sides_are_multiples_of_16_plus_1(model):
    with pytest.raises(ValueError, match=r"multiples of 16, plus 1, got \(96, 97\)"):
        model(torch.zeros(1, 3, 96, 97))
    assert model(torch.zeros(1, 3, 97, 113)).heat.shape == (1, 17, 7, 8)
    codec = model.codec
    step = TRANSFORMS.build({"type": "BottomUpLetterbox", "size_wh": (641, 481), "codec": codec})
    assert step.transform({"img": np.zeros((100, 50, 3), np.uint8)})["img"].shape == (481, 641, 3)
    with pytest.raises(ValueError, match="positive multiples of 16 plus 1, got 480"):
        TRANSFORMS.build({"type": "BottomUpLetterbox", "size_wh": 480, "codec": codec})
    resize = TRANSFORMS.build(
        {"type": "BottomUpResize", "codec": codec, "size_divisor": 16, "scales": (1.0, 2.0)}
    )
    images = resize.transform({"img": np.zeros((90, 171, 3), np.uint8)})["img"]
    assert [image.shape[:2] for image in images] == [(97, 193), (193, 385)]
    with pytest.raises(ValueError, match="size_divisor must be a multiple of 16, got 24"):
        TRANSFORMS.build({"type": "BottomUpResize", "codec": codec, "size_divisor": 24})


@pytest.mark.parametrize("with_long", [False, True])
@pytest.mark.parametrize("with_norm", [False, True])
def test_it_trains(with_long, with_norm):
    torch.manual_seed(0)
    options = {**SMALL, "codec.with_long": with_long, "model.backbone.with_norm": with_norm}
    model = build(NAME, options).train()
    rng = np.random.default_rng(0)
    targets = model.codec.encode(rng.uniform(5, 90, (2, 17, 2)), np.full((2, 17), 2))
    sample = PoseDataSample(gt_targets={key: torch.from_numpy(value) for key, value in targets.items()})
    images = torch.randn(2, 3, 97, 97)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    before = {name: value.clone() for name, value in model.named_parameters()}
    totals = []
    for _ in range(2):
        losses = model(images, [sample, sample], mode="loss")
        assert set(losses) == {"loss_heat", "loss_short", "loss_mid", *(["loss_long"] if with_long else [])}
        totals.append(sum(losses.values()))
        optimizer.zero_grad()
        totals[-1].backward()
        assert [name for name, p in model.named_parameters() if p.grad is None] == []
        optimizer.step()
    assert totals[1] < totals[0]
    assert [name for name, value in model.named_parameters() if torch.equal(value, before[name])] == []


def test_without_people_the_loss_is_that_of_the_heatmaps(model):
    targets = model.codec.encode(np.zeros((0, 17, 2)), np.zeros((0, 17)))
    batch = {name: torch.from_numpy(value)[None] for name, value in targets.items()}
    maps = OffsetMaps(
        *(None if f is None else torch.zeros(f.shape) for f in model(torch.zeros(1, 3, 97, 97)))
    )
    losses = model.head.loss(maps, batch)
    assert losses["loss_heat"] == pytest.approx(4 * np.log(2))
    assert losses["loss_short"] == losses["loss_mid"] == 0


def test_flip_test_of_a_mirrored_photo_gives_mirrored_maps(model):
    image = torch.randn((1, 3, 97, 113), generator=torch.Generator().manual_seed(1))
    model.flip_test = True
    try:
        one, other = model.test_maps(image)[0], model.test_maps(image.flip(3))[0]
    finally:
        model.flip_test = False
    for name, rule in model.codec.mirror_rules().items():
        mirrored = getattr(other, name)[:, :, ::-1][list(rule.channels)].copy()
        mirrored[list(rule.negated)] *= -1
        np.testing.assert_allclose(getattr(one, name), mirrored, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model.backbone.output_stride": 4}, "an output_stride of 8, 16 or 32"),
        (
            {"model.backbone.output_stride": 8},
            "expects a map at stride 16, the backbone's only one has stride 8",
        ),
        ({"model.head.loss_weights": (1, 2)}, "loss_weights: expected four numbers"),
    ],
)
def test_what_does_not_fit_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        build(NAME, options)


def people_of(results):
    return [
        [(p["bbox_score"], np.ravel(p["keypoints"])) for p in photo]
        for result in results
        for photo in result["predictions"]
    ]


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_the_inferencer_finds_the_same_people_in_all_forms(model, exported, frames, backend):
    pytest.importorskip(backend, reason=f"{backend} is in the extra 'deploy'")
    wanted = people_of(PoseInferencer(model)(frames, bbox_thr=0.0))
    assert min(map(len, wanted)) > 2
    for path in exported.values():
        found = people_of(PoseInferencer(str(path), backend=backend)(frames, bbox_thr=0.0))
        assert [len(photo) for photo in found] == [len(photo) for photo in wanted]
        for one, other in zip(found, wanted):
            for (score, points), (wanted_score, wanted_points) in zip(one, other):
                assert score == pytest.approx(wanted_score, abs=1e-3)
                np.testing.assert_allclose(points, wanted_points, atol=0.2)


def test_the_file_says_what_it_takes(exported):
    from ehrpose.deploy.runtime import PoseRuntime

    content = json.loads(Path(f"{exported['none']}.json").read_text())
    assert content["input"]["shape"] == [1, 3, 97, 145]
    assert list(content["outputs"]) == ["heat", "short", "forward", "backward"]
    assert content["codec"]["type"] == "PersonLab"
    content = json.loads(Path(f"{exported['peaks']}.json").read_text())
    assert content["outputs"] == {"root_logits": [1, 17, 5], "root_poses": [1, 17, 5, 17, 3]}
    with pytest.raises(ValueError, match="outputs candidates: expected mode 'fast'"):
        PoseRuntime(exported["peaks"], codec_options={"mode": "paper"})


def test_inputs_may_follow_the_photo(model, frames, tmp_path):
    for package in ("onnx", "onnxruntime"):
        pytest.importorskip(package, reason=f"{package} is in the extra 'deploy'")
    from ehrpose.deploy.export.input_form import input_form
    from ehrpose.deploy.export.options import ExportOptions
    from ehrpose.deploy.pipeline import export
    from ehrpose.deploy.runtime import PoseRuntime

    resize = {"type": "BottomUpResize", "codec": "$codec", "size_divisor": 16}
    options = {
        **SMALL,
        "test_dataloader.dataset.pipeline": [{"type": "LoadImage"}, resize, {"type": "PackPose"}],
    }
    del options["test_dataloader.dataset.pipeline.1.size_wh"]
    torch.save({"state_dict": model.state_dict()}, tmp_path / "weights.pth")
    path = export(str(CONFIG), str(tmp_path / "weights.pth"), tmp_path, ExportOptions(), (), options).path
    following = init_model(load_config(str(CONFIG), options, INFERENCE_PARTS), str(tmp_path / "weights.pth"))
    with PoseRuntime(path) as runtime:
        assert runtime.sidecar.sides == {"short": 97, "divisor": 16, "max_aspect": 8.0, "offset": 1}
        wanted = TorchPredictor(following).predict(frames)
        for photo, expected, found in zip(frames, wanted, runtime.predict(frames)):
            assert min(runtime.prepare(photo)[0].shape[1:]) == 97
            np.testing.assert_allclose(found.keypoints, expected.keypoints, atol=0.1)
        with pytest.raises(ValueError, match=r"\[1, 3, height, width\], multiples of 16 plus 1 px"):
            runtime.run(np.zeros((1, 3, 96, 97), np.uint8))
    sizes = input_form(following, ExportOptions(backend="tensorrt", precision="fp16"))
    assert sizes.varying == {"shapes": [[97, 145], [145, 97]]}
    with pytest.raises(ValueError, match="expected an input size in multiples of 16 plus 1 px, got 96 x 97"):
        input_form(following, ExportOptions(input_wh=(96, 97)))


def test_poses_use_operators_of_tensorrt_85_only(exported):
    import onnx

    from ehrpose.deploy.export.trt85_ops import unsupported

    loaded = onnx.load(str(exported["peaks"]))
    assert [text for text in unsupported(loaded) if not text.startswith("input ")] == []  # uint8 is for CPUs


def test_the_tracker_follows_and_pictures_are_drawn(exported, frames):
    options = {
        "fps": 5,
        "tracker": {"min_hits": 1, "high_score": 0.0, "low_score": 0.0},
        "return_vis": True,
        "bbox_thr": 0.0,
    }
    results = list(PoseInferencer(str(exported["none"]))(frames[:2], **options))
    ids = [[p["track_id"] for p in photo] for result in results for photo in result["predictions"]]
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == len(ids[0]) > 1
    for result in results:
        assert (result["visualization"][0] != frames[0]).any()


def test_heatmaps_are_probabilities(model, exported, frames):
    wanted = photo_heat(open_predictor(model), frames[0])
    assert wanted.shape[0] == 17
    assert 0 <= wanted.min() < wanted.max() <= 1
    np.testing.assert_allclose(
        photo_heat(open_predictor(str(exported["none"])), frames[0]), wanted, atol=1e-3
    )


def test_the_web_page_shows_people_and_heatmaps(exported, frames):
    for package in ("starlette", "uvicorn", "httpx"):
        pytest.importorskip(package, reason=f"{package} is in the extra 'web'")
    from starlette.testclient import TestClient

    from ehrpose.web.app import create_app
    from ehrpose.web.model_pool import pool_of

    photo = cv2.imencode(".png", frames[0])[1].tobytes()
    pool = pool_of([f"offsets={exported['none']}"])
    with TestClient(create_app(pool), base_url="http://localhost") as client:
        answer = client.post("/api/predict", content=photo)
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["people"]) > 1
        heat = client.post("/api/heatmap", content=photo)
        assert heat.status_code == 200
        assert heat.headers["content-type"] == "image/png"


def test_the_published_file_finds_the_people_of_a_photo(tmp_path, coco_mini, capsys):
    """The weights are not part of the project."""
    if not REAL.is_file():
        pytest.skip("the published weights are not at hand")
    import importlib.util

    spec = importlib.util.spec_from_file_location("convert", ROOT / "tools/misc/convert_checkpoint.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    weights = tmp_path / "posenet.pth"
    tool.main([str(REAL), str(weights)])
    lines = capsys.readouterr().out.splitlines()
    assert "PoseNet on MobileNetV1, dequantised from TensorFlow Lite" in lines[0]
    assert "62 of 62 tensors" in lines[1]
    assert lines[-1] == f"config: configs/rivals/{NAME}.py"
    model = init_model(str(CONFIG), str(weights))
    assert sum(parameter.numel() for parameter in model.parameters()) == 1_258_195
    labels = json.loads((coco_mini / "annotations/person_keypoints_val2017.json").read_text())
    clear = [a for a in labels["annotations"] if a["num_keypoints"] == 17 and a["area"] > 20000][:3]
    names = {image["id"]: image["file_name"] for image in labels["images"]}
    near = []
    for annotation in clear:
        (people,) = TorchPredictor(model).predict(
            [cv2.imread(str(coco_mini / "val2017" / names[annotation["image_id"]]))]
        )
        true = np.array(annotation["keypoints"], np.float64).reshape(17, 3)[:, :2]
        apart = np.linalg.norm(people.keypoints - true, axis=2) / np.sqrt(annotation["area"])
        near.append(np.median(apart, axis=1).min())
    assert len(near) == 3
    assert max(near) < 0.1  # of the root of the person's area
