"""Exported networks whose input follows the photo, or is one of several shapes."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from fake_tensorrt import PLAN, write_onnx
from test_tensorrt import Device

from ehrpose.apis import inference
from ehrpose.commands.deploy import _input_sizes
from ehrpose.config import INFERENCE_PARTS, load_config
from ehrpose.deploy.export.input_form import input_form
from ehrpose.deploy.export.options import ExportOptions
from ehrpose.deploy.export.parity import compare_people
from ehrpose.deploy.network_input import input_plan
from ehrpose.deploy.pipeline import drawn_scene
from ehrpose.deploy.runtime import PoseRuntime
from ehrpose.deploy.sidecar import DeployError, Sidecar, file_hash, read_sidecar, sidecar_path
from ehrpose.image_warp import plan_inputs
from ehrpose.models.loading import init_model
from ehrpose.registry import BACKENDS
from ehrpose.structures import People

SIZES_WH = [(160, 90), (90, 160), (128, 128), (333, 100), (64, 200)]


@pytest.fixture(scope="module")
def model(demo_config, lively_checkpoint, small_options):
    return init_model(load_config(str(demo_config), small_options, INFERENCE_PARTS), str(lively_checkpoint))


@pytest.fixture(scope="module")
def photos(model):
    return [np.ascontiguousarray(drawn_scene(model.codec.meta, (w, h))[:h, :w]) for w, h in SIZES_WH]


@pytest.mark.parametrize(
    ("backend", "options"),
    [
        ("onnxruntime", {}),
        ("onnxruntime", {"decode": "peaks", "dynamic_batch": True}),
        ("onnxruntime", {"layout": "NHWC", "input_dtype": "float32", "batch_size": 2}),
        ("openvino", {}),
        ("torch", {}),
    ],
    ids=["onnxruntime", "peaks", "NHWC", "openvino", "torch"],
)
def test_photos_of_any_shape_give_the_models_people(exported_small, model, photos, backend, options):
    if backend == "openvino":
        pytest.importorskip("openvino")
    path, _, report = exported_small(backend=backend, **options)
    assert "letterboxed" not in report
    found = json.loads(sidecar_path(path).read_text())
    assert found["format"] == 2
    assert found["input"]["sides"] == {"short": 64, "divisor": 32, "max_aspect": 8.0}
    wanted = [inference(model, photo)[0].pred_instances for photo in photos]
    with PoseRuntime(path, trust_pt2=True) as runtime:
        together = runtime.predict(photos)
        for photo, people, expected in zip(photos, together, wanted):
            assert abs(len(people) - len(expected.keypoints)) <= 0.1 * len(expected.keypoints)
            if options.get("decode") != "peaks":  # which leave no maps to search for missing keypoints
                model_people = People(
                    expected.keypoints, expected.keypoint_scores, np.asarray(expected.bbox_scores)
                )
                assert compare_people(people, model_people) < 0.5
            height, width = photo.shape[:2]
            plan = input_plan((width, height), runtime.sidecar)
            assert min(plan.size_wh) == 64
    assert sum(len(people) for people in together) > 3


def test_the_best_of_several_shapes_is_taken(exported_small, photos):
    path, _, report = exported_small(shapes_wh=((96, 64), (64, 96), (64, 64)))
    assert report == ""
    sidecar = read_sidecar(path)
    assert sidecar.shapes_wh == [(96, 64), (64, 96), (64, 64)]
    chosen = [input_plan(photo.shape[1::-1], sidecar).size_wh for photo in photos]
    assert chosen == [(96, 64), (64, 96), (64, 64), (96, 64), (64, 96)]
    with PoseRuntime(path) as runtime:
        assert len(runtime.predict(photos)) == len(photos)
        with pytest.raises(
            ValueError, match=r"\[1, 3, 64, 96\] or \[1, 3, 96, 64\] or \[1, 3, 64, 64\], got .*32"
        ):
            runtime.run(np.zeros((1, 3, 32, 96), np.uint8))


def test_a_fixed_size_says_what_it_costs(exported_small, photos):
    path, _, report = exported_small(input_wh=(96, 64))
    assert "every photo is letterboxed into 96 x 64 px" in report
    assert json.loads(sidecar_path(path).read_text())["format"] == 1  # as earlier versions read it
    with PoseRuntime(path) as runtime:
        assert {input_plan(photo.shape[1::-1], runtime.sidecar).size_wh for photo in photos} == {(96, 64)}
        with pytest.raises(ValueError, match=r"expected uint8 images of shape \[1, 3, 64, 96\], got"):
            runtime.run(np.zeros((1, 3, 64, 64), np.uint8))


@pytest.mark.parametrize(
    "shape", [(1, 3, 64, 90), (1, 3, 0, 64), (2, 3, 64, 64), (1, 1, 64, 64), (3, 64, 64)]
)
def test_inputs_that_no_photo_has_are_refused(exported_small, shape):
    with (
        PoseRuntime(exported_small(backend="onnxruntime").path) as runtime,
        pytest.raises(
            ValueError, match=r"expected uint8 images of shape \[1, 3, height, width\], multiples of 32 px"
        ),
    ):
        runtime.run(np.zeros(shape, np.uint8))


def test_the_size_is_that_of_the_configs_test(demo_config, small_options):
    def form(**options):
        changed = {**small_options, **options}
        return input_form(
            init_model(load_config(str(demo_config), changed, INFERENCE_PARTS)), ExportOptions()
        )

    step = "test_dataloader.dataset.pipeline.1"
    assert form().varying == {"sides": {"short": 64, "divisor": 32, "max_aspect": 8.0}}
    assert form(**{f"{step}.input_size": 96, f"{step}.size_divisor": 64}).varying["sides"] == {
        "short": 128, "divisor": 64, "max_aspect": 8.0
    }  # fmt: skip
    lost = form(**{f"{step}.scales": (0.5, 1.0), "model.flip_test": True}).losses
    assert lost == (
        "the file sees each photo once, without the mirrored photo (`flip_test`) and other scales (`scales`) of the "
        "config's test",
    )


def test_tensorrt_gets_two_shapes_by_default(demo_config, small_options):
    model = init_model(load_config(str(demo_config), small_options, INFERENCE_PARTS))
    form = input_form(model, ExportOptions(backend="tensorrt"))
    assert (form.size_wh, form.varying) == ((96, 64), {"shapes": [[64, 96], [96, 64]]})
    one = input_form(model, ExportOptions(backend="tensorrt", shapes_wh=((96, 64),)))
    assert (one.size_wh, one.varying) == ((96, 64), {})
    assert "letterboxed into 96 x 64 px" in one.losses[0]


@pytest.mark.parametrize(("divisor", "short"), [(32, 64), (64, 64), (128, 128)])
def test_shapes_are_no_smaller_than_the_configs_test(demo_config, small_options, divisor, short):
    changed = {**small_options, "test_dataloader.dataset.pipeline.1.size_divisor": divisor}
    model = init_model(load_config(str(demo_config), changed, INFERENCE_PARTS))
    for backend in ("onnxruntime", "tensorrt"):
        form = input_form(model, ExportOptions(backend=backend))
        tested = plan_inputs((640, 480), model.codec.input_size, divisor)[0].size_wh
        assert min(form.size_wh) == min(tested) == short


def test_a_config_without_a_limit_of_the_aspect_can_be_exported(demo_config, small_options):
    changed = {**small_options, "test_dataloader.dataset.pipeline.1.max_aspect": 1e6}
    form = input_form(init_model(load_config(str(demo_config), changed, INFERENCE_PARTS)), ExportOptions())
    assert form.varying["sides"]["max_aspect"] == 100


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (None, (None, ())),
        (["320"], ((320, 320), ())),
        (["288", "384"], ((384, 288), ())),
        (["288x384"], ((384, 288), ())),
        (["320x480", "480X320"], (None, ((480, 320), (320, 480)))),
    ],
)
def test_sizes_on_the_command_line(words, found):
    assert _input_sizes(words) == found


@pytest.mark.parametrize("words", [["1", "2", "3"], ["a"], ["320x"], ["320x480", "480"], ["-32"], ["1x2x3"]])
def test_wrong_sizes_on_the_command_line(words):
    with pytest.raises(ValueError, match="--input-size takes a side, or height and width, or shapes such as"):
        _input_sizes(words)


@pytest.mark.parametrize(
    "options", [{"input_wh": (32, 32), "shapes_wh": ((32, 32),)}, {"shapes_wh": ((32, 36),)}]
)
def test_wrong_sizes_in_options(options):
    with pytest.raises(
        ValueError, match=r"expected (one fixed size or several|an input size in multiples of 32)"
    ):
        ExportOptions(**options)


def test_openvino_keeps_an_instance_of_the_first_sizes_only(exported_small, photos):
    pytest.importorskip("openvino")
    path = exported_small(backend="openvino").path
    found = {}
    for most in (0, 2, 99):
        with PoseRuntime(path, max_shapes=most) as runtime:
            found[most] = runtime.predict(photos)
            own = [shape for shape in runtime.backend._instances if shape is not None]
            assert len(own) == min(most, 6)  # and that of the example
            assert (None in runtime.backend._instances) == (most < 99)
    for most in (2, 99):
        for one, other in zip(found[0], found[most]):
            np.testing.assert_array_equal(one.keypoints, other.keypoints)
    with pytest.raises(ValueError, match="max_shapes must be at least 0, got -1"):
        PoseRuntime(path, max_shapes=-1)


SEVERAL = {
    "tensors": [[n, m, [s[0], s[1], *(-side for side in sides)], d] for (n, m, s, d), sides in
                zip([*PLAN["tensors"][:2], ["tag4", *PLAN["tensors"][1][1:]]], ((1, 1), (4, 4), (4, 4)))],
    "max": 1, "sizes": [[32, 64], [64, 32]],
}  # fmt: skip


@pytest.fixture
def device(tmp_path, monkeypatch):
    return Device(tmp_path, monkeypatch)


def several(device, plan=SEVERAL):
    """Write an engine for two sizes; return it."""
    path = device.write(plan)
    sidecar = read_sidecar(path)
    sidecar.input["shapes"] = [[32, 64], [64, 32]]
    outputs = {name: [1, 17, 8, 16] for name in ("heat4", "tag4")}
    replace(sidecar, outputs=outputs, sha256={path.name: file_hash(path)}).write(path)
    return path


@pytest.mark.parametrize("cuda_graph", [False, True])
def test_an_engine_runs_each_size_in_its_own_profile(device, cuda_graph):
    path = several(device)
    with BACKENDS.build({"type": device.name, "path": str(path), "cuda_graph": cuda_graph}) as backend:
        assert device.calls("IExecutionContext.set_optimization_profile_async()")[0][0] == 1
        for value, (height, width) in enumerate([(32, 64), (64, 32), (32, 64), (64, 32)], 5):
            found = backend.run(np.full((1, 3, height, width), value, np.float32))["heat4"]
            assert found.shape == (1, 17, height // 4, width // 4)
            assert (found == value + 1).all()
        with pytest.raises(
            ValueError, match=r"\[1, 3, 32, 64\] or \[1, 3, 64, 32\], got float32 \[1, 3, 64, 64\]"
        ):
            backend.run(np.zeros((1, 3, 64, 64), np.float32))
    assert device.is_clean()


@pytest.mark.parametrize(
    ("sizes", "fail", "message"),
    [
        ([[32, 64], [64, 64]], (), r"expected images of \[\(64, 32\), \(32, 64\)\] px as in its JSON, got"),
        ([[32, 64]], (), "expected images of"),
        ([[32, 64], [64, 32]], ("no_profile",), "TensorRT rejected profile 1"),
    ],
)
def test_an_engine_of_other_sizes_is_refused(device, sizes, fail, message):
    device.use(trt_fail=fail)
    path = several(device, {**SEVERAL, "sizes": sizes})
    with pytest.raises(DeployError, match=message):
        BACKENDS.build({"type": device.name, "path": str(path)})
    assert device.is_clean()


def with_shapes(machine, batch=1, **changes):
    onnx = write_onnx(machine.folder, shape=[batch, 3, -1, -1])
    sidecar = read_sidecar(onnx)
    changed = {**sidecar.input, "shape": [1, 3, 32, 64], "dynamic_batch": batch < 0, **changes}
    replace(sidecar, input=changed).write(onnx)
    return onnx


@pytest.mark.parametrize(("batch", "options"), [(1, {}), (-1, {"max_batch": 4})])
def test_a_profile_is_built_for_each_size(machine, batch, options):
    onnx = with_shapes(machine, batch, shapes=[[32, 64], [64, 32]])
    machine.build(onnx, **options)
    most = options.get("max_batch", 1)
    assert machine.calls("IOptimizationProfile.set_shape()") == [
        ("input", (1, 3, h, w), (most, 3, h, w), (most, 3, h, w)) for h, w in ((32, 64), (64, 32))
    ]
    assert len(machine.calls("IBuilderConfig.add_optimization_profile()")) == 2


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        ({"sides": {"short": 64, "divisor": 32, "max_aspect": 8.0}}, {}, "takes inputs of any size"),
        (
            {"shapes": [[32, 64], [64, 32]]},
            {"dla_core": 0, "precision": "fp16"},
            "the DLA takes one input size",
        ),
    ],
)
def test_networks_that_an_engine_cannot_have_the_sizes_of(machine, given, options, message):
    onnx = with_shapes(machine, **given)
    with pytest.raises(DeployError, match=message):
        machine.build(onnx, **options)
    assert not list(machine.folder.glob("*.engine"))


def test_of_equal_shapes_the_smallest(tmp_path):
    sidecar = Sidecar(
        "x",
        "onnxruntime",
        "fp32",
        {"shape": [1, 3, 64, 64], "layout": "NCHW", "shapes": [[128, 64], [64, 64]]},
        {},
        {},
    )
    assert input_plan((50, 50), sidecar).size_wh == (64, 64)
