"""configs/rivals: sizes as published, training, and what the parts refuse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rival_data
import torch
from small_rivals import SMALL, small_options

from ehrpose.config import INFERENCE_PARTS, load_config, resolve
from ehrpose.data_sample import PoseDataSample
from ehrpose.models.complexity import count_complexity
from ehrpose.registry import MODELS

FOLDER = Path(__file__).parents[3] / "configs/rivals"
# Config, and the network whose parameters and multiply-adds were counted in its own code.
COUNTED = {
    "higherhrnet-w32_coco-512": "higherhrnet_w32_official",
    "higherhrnet-w48_coco-512": "higherhrnet_w48_mmpose0",
    "higherhrnet-w48_coco-640": "higherhrnet_w48_official",
    "hrnet-w32_coco-512": "hrnet_w32_mmpose0",
    "hrnet-w48_coco-512": "hrnet_w48_mmpose0",
    "litepose-xs_coco-256": "litepose_XS",
    "litepose-s_coco-448": "litepose_S",
    "litepose-m_coco-448": "litepose_M",
    "litepose-l_coco-512": "litepose_L",
    "mobilenetv2_coco-512": "mobilenetv2_mmpose0",
    "res50_coco-512": "res50_mmpose0",
    "res101_coco-512": "res101_mmpose0",
    "res152_coco-512": "res152_mmpose0",
    "hourglass-mmpose_coco-512": "hourglass_mmpose0",
    "hourglass_coco-512": "hourglass_official",
    "lwopenpose_coco-368": "lwopenpose",
    "lwopenpose-3stages_coco-368": "lwopenpose_3stages",
}
# The paper's multiply-adds, G, and parameters, M, as printed.
PRINTED = {
    "higherhrnet-w32_coco-512": (47.9, 28.6),
    "higherhrnet-w32_coco-640": (74.8, 28.6),
    "higherhrnet-w48_coco-640": (154.3, 63.8),
    "hourglass_coco-512": (None, 277.8),
}
FULL_SIZE = ("higherhrnet-w32_crowdpose-512", "hrnet-w48_coco-512", "litepose-l_coco-512", "res101_coco-512")


def build(name, options=None):
    cfg = resolve(load_config(FOLDER / f"{name}.py", options, parts=INFERENCE_PARTS))
    return MODELS.build(cfg.model)


def test_no_config_is_left_out():
    built = {"higherhrnet-w32-udp", "higherhrnet-w48-udp", "hrnet-w32-udp", "hrnet-w48-udp"}
    others = {path.stem for path in FOLDER.glob("*.py")} - set(COUNTED) - set(PRINTED)
    others = {name for name in others if not name.startswith("posenet")}  # test_posenet.py
    assert {name for name in others if "crowdpose" not in name} == {f"{n}_coco-512" for n in built} | {
        "res50_coco-640"
    }


@pytest.mark.parametrize("name", [*COUNTED, *sorted(set(PRINTED) - set(COUNTED))])
def test_parameters_and_multiply_adds(name):
    with torch.device("meta"):
        model = build(name)
    side = model.codec.input_size
    if name in COUNTED:
        counted = count_complexity(model, (side, side))
        fact = rival_data.facts()[COUNTED[name]]
        assert fact["eval_side"] == side
        # Half of the rows of the last hourglass' output are not computed, as nothing uses them.
        rows = 34 if name == "hourglass_coco-512" else 0
        assert counted.params == fact["params"] - rows * 257
        assert counted.macs == fact["macs"] - rows * 256 * (side // 4) ** 2
    if name in PRINTED:
        printed = count_complexity(model, (side, side), paper_counting=True)
        gmacs, params = PRINTED[name]
        assert round(printed.params / 1e6, 1) == params
        assert gmacs is None or round(printed.macs / 1e9, 1) == gmacs


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_every_config_is_whole_and_named_after_its_size_and_data(path):
    cfg = resolve(load_config(path))
    network, data = path.stem.split("_")
    assert data == f"{cfg.keypoints.dataset_name}-{cfg.codec.input_size}"
    assert cfg.codec.unbiased is True if network.endswith("-udp") else not cfg.codec.get("unbiased")
    assert cfg.codec.mode == ("fast" if network == "posenet" else "paper")
    assert cfg.model.flip_test != network.startswith(("lwopenpose", "posenet"))
    assert cfg.default_hooks.checkpoint.save_best == f"{cfg.keypoints.dataset_name}/AP"


def train_two_steps(model, side=64):
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    k = model.codec.num_keypoints
    targets = model.codec.encode(rng.uniform(5, side - 5, (2, k, 2)), np.full((2, k), 2))
    sample = PoseDataSample(gt_targets={key: torch.from_numpy(value) for key, value in targets.items()})
    images = torch.randn(2, 3, side, side)
    optimizer = torch.optim.Adam(model.train().parameters(), lr=1e-3)
    before = {name: value.clone() for name, value in model.named_parameters()}
    for _ in range(2):
        losses = model(images, [sample, sample], mode="loss")
        assert set(losses) == losses_of(model)
        total = sum(losses.values())
        assert torch.isfinite(total)
        optimizer.zero_grad()
        total.backward()
        assert [name for name, p in model.named_parameters() if p.grad is None] == []
        optimizer.step()
    return [name for name, value in model.named_parameters() if torch.equal(value, before[name])]


def losses_of(model):
    if hasattr(model.head, "training_maps"):
        stages = range(1 + len(model.head.refinement_stages))
        return {f"loss_{name}_{stage}" for name in ("heat", "field") for stage in stages}
    return {f"loss_heat{s}" for s in model.codec.strides} | {"loss_pull", "loss_push"}


@pytest.mark.parametrize("name", SMALL)
def test_a_small_form_trains(name):
    torch.manual_seed(0)
    assert train_two_steps(build(name, small_options(name))) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", FULL_SIZE)
def test_a_network_trains_at_its_size(name):
    torch.manual_seed(0)
    assert train_two_steps(build(name, {"codec.input_size": 64})) == []


def test_gradient_checkpointing_changes_nothing():
    for name in ("higherhrnet-w32_coco-512", "litepose-xs_coco-256", "res50_coco-512", "hourglass_coco-512"):
        gradients = []
        for with_cp in (False, True):
            torch.manual_seed(0)
            model = build(name, {**small_options(name), "model.backbone.with_cp": with_cp}).train()
            image = torch.randn(2, 3, 64, 64, requires_grad=True, generator=torch.Generator().manual_seed(1))
            maps = model(image)
            (maps.heat4.square().mean() + maps.tag4.mean()).backward()
            gradients.append(image.grad)
        assert gradients[0].abs().sum() > 0
        torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-9)


def test_hourglasses_ask_for_larger_multiples():
    model = build("hourglass_coco-512", small_options("hourglass_coco-512"))
    assert model.side_multiple == 64
    with pytest.raises(ValueError, match=r"multiples of 64, got \(64, 96\)"):
        model(torch.zeros(1, 3, 64, 96))
    assert model(torch.zeros(1, 3, 64, 128)).heat4.shape == (1, 17, 16, 32)
    assert build("litepose-xs_coco-256", small_options("litepose-xs_coco-256")).side_multiple == 32


def test_no_neck_is_a_neck_that_passes_maps_on():
    torch.manual_seed(0)
    name = "higherhrnet-w32_coco-512"
    model = build(name, small_options(name)).eval()
    cfg = resolve(load_config(FOLDER / f"{name}.py", small_options(name), parts=INFERENCE_PARTS)).model
    cfg.neck = None
    other = MODELS.build(cfg).eval()
    other.load_state_dict(model.state_dict())
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(model(image).heat2, other(image).heat2)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("higherhrnet-w32_coco-512", {"model.neck.type": "HighResolutionNeck", "model.neck.phi": 0},
         r"expects four maps at strides \(4, 8, 16, 32\), got channels \(4,\)"),
        ("higherhrnet-w32_coco-512", {"model.neck.type": "DeconvNeck"},
         "3 transposed convolutions lead from stride 4"),
        ("higherhrnet-w32_coco-512", {"model.backbone.width": 0}, "width and num_blocks of at least 1"),
        ("higherhrnet-w32_coco-512", {"model.head.type": "FusionDeconvHead", "model.head.num_blocks": None},
         "num_blocks"),
        ("litepose-xs_coco-256", {"model.head._delete_": True, "model.head.type": "AEHead",
                                  "model.head.codec": "$codec"}, "the head expects one map at stride 4"),
        ("litepose-xs_coco-256", {"model.backbone.channels": (8, 8)}, "expected four channels"),
        ("litepose-xs_coco-256", {"codec.strides": (4,)}, "FusionDeconvHead needs strides"),
        ("litepose-xs_coco-256", {"model.head.channels": (8, 8)}, "five maps and three channels"),
        ("res50_coco-512", {"model.backbone.depth": 18}, "depth must be one of 50, 101, 152, got 18"),
        ("res50_coco-512", {"model.neck._delete_": True, "model.neck.type": "PassThroughNeck"},
         "only one has stride 32"),
        ("hourglass_coco-512", {"model.backbone.num_stacks": 0}, "at least 1 stack"),
    ],
)  # fmt: skip
def test_parts_that_do_not_fit_are_refused(name, options, message):
    small = small_options(name)
    if "model.neck._delete_" in options:
        del small["model.neck.channels"]
    with pytest.raises((ValueError, TypeError), match=message):
        build(name, {**small, **options})
