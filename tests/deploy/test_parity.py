"""The check of an export against the model: it refuses wrong maps and accepts right ones, whatever their size."""

from __future__ import annotations

import re

import cv2
import numpy as np
import onnx
import pytest
import torch

from ehrpose.deploy.export import onnx as export_onnx_module
from ehrpose.deploy.export import parity, precision
from ehrpose.deploy.export.onnx import DeployNetwork, torch_maps, torch_peaks
from ehrpose.deploy.export.options import ExportOptions
from ehrpose.deploy.export.quantization import relative_error
from ehrpose.deploy.export.torch_program import export_torch
from ehrpose.deploy.pipeline import export
from ehrpose.deploy.runtime import PoseRuntime
from ehrpose.deploy.sidecar import DeployError
from ehrpose.models.loading import init_model
from ehrpose.structures import Maps, People


@pytest.fixture
def scaled(demo_config, lively_checkpoint, small_options, tmp_path):
    """Export the small network, its maps multiplied by a number."""

    def run(factor, **options):
        model = init_model(demo_config, lively_checkpoint, cfg_options=small_options)
        with torch.no_grad():
            # The second output sees the first, and one factor must not count twice.
            first = model.head.output4
            model.head.deconv[0].weight[-first.out_channels :] /= factor
            for layer in (first, model.head.output2):
                layer.weight *= factor
                layer.bias *= factor
        torch.save({"state_dict": model.state_dict()}, tmp_path / "scaled.pth")
        options = ExportOptions(**options)
        return export(
            str(demo_config), str(tmp_path / "scaled.pth"), tmp_path / "out", options, (), small_options
        )

    return run


@pytest.fixture
def wrong_colors(monkeypatch):
    """Make exports read the channels in the wrong order."""
    right = export_onnx_module.normalisation

    def wrong(preprocessor):
        conv = right(preprocessor)
        conv.weight.data = conv.weight.data.flip(1)
        return conv

    monkeypatch.setattr(export_onnx_module, "normalisation", wrong)


EXPORTS = [
    *((factor, options) for factor in (1e-11, 1e6) for options in ({}, {"decode": "peaks"})),
    (1e-11, {"backend": "torch", "input_wh": (64, 64)}),
]


@pytest.mark.parametrize(("factor", "options"), EXPORTS, ids=str)
def test_right_exports_are_accepted(scaled, factor, options):
    errors = scaled(factor, **options).errors
    assert 0 < errors["map_error"] < 1e-4
    assert errors["pixel_error"] < 0.1


@pytest.mark.parametrize(("factor", "options"), EXPORTS, ids=str)
def test_wrong_exports_are_refused(scaled, wrong_colors, tmp_path, factor, options):
    what = "candidates" if "decode" in options else "maps"
    with pytest.raises(
        DeployError, match=rf"{what} of .* differ from the model's by .* of their range|same pixels"
    ):
        scaled(factor, **options)
    assert list((tmp_path / "out").iterdir()) == []


def random_maps(seed=0, images=2):
    rng = np.random.default_rng(seed)
    shapes = ((17, 16, 24), (17, 16, 24), (17, 32, 48))
    return Maps(*(rng.normal(size=(images, *shape)).astype(np.float32) for shape in shapes))


@pytest.mark.parametrize("factor", [1e-30, 1e-11, 1.0, 1e11, 1e30])
@pytest.mark.parametrize("name", Maps._fields[:3])
def test_the_error_of_maps_does_not_depend_on_their_size(factor, name):
    wanted = Maps(*(None if part is None else part * np.float32(factor) for part in random_maps()))
    part = getattr(wanted, name)
    spread = float(np.ptp(part.astype(np.float64)))
    for error in (1e-5, 1e-3, 0.5):
        changed = part.copy()
        changed[1, 3, 4, 5] += error * spread
        found = parity.compare_maps(wanted._replace(**{name: changed}), wanted)
        assert found == pytest.approx(error, rel=0.02)
    assert parity.compare_maps(wanted, wanted) == 0


def test_maps_of_equal_values():
    zeros = Maps(*(np.zeros((17, 8, 8), np.float32) for _ in range(3)))
    assert parity.compare_maps(zeros, zeros) == 0
    assert parity.compare_maps(zeros._replace(heat4=zeros.heat4 + 1e-30), zeros) == np.inf
    ones = Maps(*(np.ones_like(part) for part in zeros[:3]))
    rounded = ones._replace(heat2=np.nextafter(ones.heat2, np.float32(2)))
    assert parity.compare_maps(rounded, ones) < parity.MAX_MAP_ERROR
    assert parity.compare_maps(ones._replace(heat2=ones.heat2 + 1e-5), ones) > parity.MAX_MAP_ERROR


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_fail_the_check(value):
    right = random_maps()
    broken = right._replace(tag4=np.full_like(right.tag4, value))
    with pytest.raises(DeployError, match=r"^tag4 contains NaN or infinity"):
        parity.compare_maps(broken, right)
    with pytest.raises(DeployError, match=r"^the model's tag4 contains NaN or infinity"):
        parity.compare_maps(right, broken)


@pytest.fixture
def candidates(lively_model):
    codec, maps = lively_model.codec, random_maps(images=1)
    return torch_peaks(maps.image(0), codec), maps.image(0)


def batched(*items):
    return [parity._stacked([item]) for item in items]


@pytest.mark.parametrize("name", ["peak_scores", "peak_cross", "peak_heat", "peak_tags"])
def test_each_part_of_the_candidates_is_compared(candidates, name):
    wanted, maps = candidates
    assert parity.compare_peaks(*batched(wanted, wanted, maps)) == 0
    changed = getattr(wanted, name).copy()
    changed[(..., 2, 3) if name == "peak_scores" else (..., 2, 3, 1)] += 1.0
    changed = wanted._replace(**{name: changed})
    assert parity.compare_peaks(*batched(changed, wanted, maps)) > parity.MAX_MAP_ERROR


def test_the_order_of_equal_candidates_is_harmless_and_other_pixels_are_not(candidates):
    wanted, maps = candidates
    kinds = wanted.peak_scores.shape[0]
    order = np.arange(wanted.peak_scores.shape[1])
    order[[4, 5]] = order[[5, 4]]
    tie = wanted.peak_scores.copy()
    tie[:, 5] = tie[:, 4]
    wanted = wanted._replace(peak_scores=tie)
    swapped = wanted._replace(
        peak_pixels=wanted.peak_pixels[:, order], peak_cross=wanted.peak_cross[:, order],
        peak_heat=wanted.peak_heat[:, order], peak_tags=wanted.peak_tags[:, :, order],
    )  # fmt: skip
    assert parity.compare_peaks(*batched(swapped, wanted, maps)) == 0
    elsewhere = wanted._replace(peak_pixels=wanted.peak_pixels + 10**6)
    with pytest.raises(
        DeployError, match=rf"0 of the model's {kinds * len(order)} candidates are at the same pixels"
    ):
        parity.compare_peaks(*batched(elsewhere, wanted, maps))


def test_people_with_large_scores_are_matched(lively_model):
    rng = np.random.default_rng(0)
    from ehrpose.structures import People

    points = rng.uniform(0, 64, (3, 17, 2)).astype(np.float32)
    people = People(points, np.full((3, 17), 1e6, np.float32), np.array([3e6, 2e6, 1e6], np.float32))
    close = People(points, people.keypoint_scores, people.scores * np.float32(1 + 1e-6))
    assert parity.compare_people(close, people) == 0
    moved = People(points + 3, people.keypoint_scores, people.scores)
    assert parity.compare_people(moved, people) == pytest.approx(3 * 2**0.5, rel=1e-4)


# What other engines cannot run, though ONNX Runtime can.


def test_integer_clips_have_both_bounds(exported):
    graph = onnx.shape_inference.infer_shapes(onnx.load(str(exported(decode="peaks")))).graph
    kinds = {value.name: value.type.tensor_type.elem_type for value in graph.value_info}
    clips = [
        node
        for node in graph.node
        if node.op_type == "Clip" and kinds[node.input[0]] == onnx.TensorProto.INT64
    ]
    assert len(clips) >= 4
    assert [node.name for node in clips if len(node.input) < 3 or not all(node.input)] == []


@pytest.mark.parametrize("decode", ["none", "peaks"])
def test_no_slice_keeps_everything(exported, demo_config, decode):
    graph = onnx.shape_inference.infer_shapes(onnx.load(str(exported(decode=decode)))).graph
    shapes = {
        v.name: [d.dim_value for d in v.type.tensor_type.shape.dim]
        for v in [*graph.value_info, *graph.output]
    }
    slices = [node for node in graph.node if node.op_type == "Slice"]
    assert slices
    assert [node.name for node in slices if shapes[node.input[0]] == shapes[node.output[0]]] == []
    model = init_model(demo_config)
    program = torch.export.load(_file_of(export_torch(DeployNetwork(model, decode=decode), (64, 64))))
    assert [str(node.target) for node in program.graph.nodes if "alias" in str(node.target)] == []


def _file_of(content):
    import io

    return io.BytesIO(content)


@pytest.mark.skipif(
    int(cv2.__version__.split(".")[0]) < 5, reason="older versions cannot run the candidate search"
)
def test_opencv_runs_the_candidate_search(exported):
    path = exported(decode="peaks")
    pixels = np.random.default_rng(0).integers(0, 256, (1, 3, 128, 128), np.uint8)
    with PoseRuntime(path) as runtime:
        wanted = runtime.backend.run(pixels)
    network = cv2.dnn.readNetFromONNX(str(path))
    network.setInput(pixels, "input")
    found = dict(zip(wanted, network.forward(list(wanted))))
    np.testing.assert_allclose(found["peak_scores"], wanted["peak_scores"], atol=1e-5)
    np.testing.assert_allclose(
        np.sort(found["peak_cross"], axis=2), np.sort(wanted["peak_cross"], axis=2), atol=1e-5
    )


def crowd(seed=0, people=8):
    rng = np.random.default_rng(seed)
    keypoints = (rng.random((people, 17, 2)) * 320).astype(np.float32)
    return People(keypoints, np.full((people, 17), 0.5, np.float32), np.linspace(0.9, 0.5, people))


def part_of(people, kept):
    return People(people.keypoints[kept], people.keypoint_scores[kept], people.scores[kept])


def test_people_are_compared_as_people():
    wanted = crowd()
    order = np.random.default_rng(1).permutation(8)
    moved = part_of(wanted, order)
    moved.keypoints += 1.5  # 2.1 px
    change = parity.change_of_people([(moved, wanted)] * 2, (320, 192))
    assert change == (2, 16, 16, 0, 0, pytest.approx(3.2))
    assert change.describe() == "16 of 16 people in 2 images found within 3.2 px"
    # One without half of its keypoints, one elsewhere, one found twice.
    changed = part_of(wanted, [*range(8), 0])
    changed.keypoint_scores[3, :9] = 0
    changed.keypoints[5] += 3
    change = parity.change_of_people([(changed, wanted), (wanted, wanted)], (320, 192))
    assert change[:5] == (2, 16, 17, 2, 3)
    assert change.share == pytest.approx(5 / 33)
    assert change.describe() == "14 of 16 people in 2 images found within 3.2 px, 3 found in addition"


def test_weak_people_do_not_count():
    wanted, none = crowd(), part_of(crowd(), [])
    wanted.scores[5:] = 0.17  # less than a fifth of the best
    change = parity.change_of_people([(part_of(wanted, slice(5)), wanted)], (320, 320))
    assert change[:5] == (1, 5, 5, 0, 0)
    # A person may be weak in one of the two only.
    weaker = part_of(wanted, [*range(8)])
    weaker.scores[4] = 0.17
    assert parity.change_of_people([(weaker, wanted)], (320, 320))[:5] == (1, 5, 4, 0, 0)
    assert parity.change_of_people([(none, wanted)], (320, 320)).share == 1
    change = parity.change_of_people([(none, none)], (320, 320))
    assert change.share == 0
    assert change.describe() == "no people in 1 image to compare"


@pytest.fixture
def other_network(demo_config, lively_checkpoint, small_options, tmp_path, monkeypatch):
    """Make the float16 form another network's, with the channels in the wrong order."""
    options = ExportOptions(backend="tensorrt", decode="peaks")
    with monkeypatch.context() as patched:
        right = export_onnx_module.normalisation
        patched.setattr(export_onnx_module, "normalisation", lambda part: swapped(right(part)))
        patched.setattr(parity, "MAX_MAP_ERROR", np.inf)
        patched.setattr(parity, "MAX_PIXEL_ERROR", np.inf)
        patched.setattr(parity, "_MIN_COMMON", 0)
        patched.setattr(parity, "compare_people", lambda ours, wanted: 0.0)
        path = export(
            str(demo_config), str(lively_checkpoint), tmp_path / "other", options, (), small_options
        ).path
    monkeypatch.setattr(precision, "float16_onnx", lambda content: path.read_bytes())


def swapped(conv):
    conv.weight.data = conv.weight.data.flip(1)
    return conv


@pytest.fixture
def half(demo_config, lively_checkpoint, small_options, tmp_path):
    """Export candidates in float16."""

    def run(photos=(), **options):
        options = ExportOptions("tensorrt", "fp16", typed=True, decode="peaks", **options)
        return export(
            str(demo_config), str(lively_checkpoint), tmp_path / "out", options, photos, small_options
        )

    return run


def test_candidates_are_judged_by_the_people(half, scene_photos):
    report = half(calib_data=str(scene_photos)).report
    found = re.fullmatch(
        r"float16 in the file: (\d+) of (\d+) people in 3 images found within .* px.*"
        r"computed in fp16 on this machine",
        report,
    )
    assert found, report
    # In a float16 file whose maxima are rounded and whose pixels are not, no pixel is a candidate.
    assert int(found[1]) > 0.6 * int(found[2]) > 5


def test_a_form_that_finds_other_people_is_told_or_refused(half, other_network, scene_photos, tmp_path):
    warning = r"\(warning: \d+% differ, more than 4%; give photos with `calib_data` to be sure\)"
    assert re.search(warning, half().report)
    for path in (tmp_path / "out").iterdir():
        path.unlink()
    message = (
        r"^fp16 changes the people too much \(\d+ of \d+ people in 3 images found within .* at most 50% of"
    )
    with pytest.raises(DeployError, match=message):
        half(sorted(scene_photos.glob("*.png")))
    assert list((tmp_path / "out").iterdir()) == []


def test_the_order_of_candidates_is_no_error(lively_model):
    maps = torch_maps(lively_model, np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8))
    wanted = [part[None] for part in torch_peaks(maps.image(0), lively_model.codec)]
    scores, pixels, cross, heat, tags = (part.copy() for part in wanted)
    scores[:, :, 1] = wanted[0][:, :, 1] = scores[:, :, 2]  # equal candidates may come in any order
    order = [0, 2, 1, *range(3, scores.shape[2])]
    shuffled = [scores, pixels[:, :, order], cross[:, :, order], heat[:, :, order], tags[:, :, :, order]]
    assert relative_error([shuffled], [wanted]) == 0
    changed = [scores, *shuffled[1:4], shuffled[4] + 0.1 * tags.std()]
    assert relative_error([changed], [wanted]) == pytest.approx(0.1, rel=0.2)
