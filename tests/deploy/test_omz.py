"""Importing networks of Open Model Zoo, tried on stand-ins with their inputs, outputs, ranks and sizes."""

from __future__ import annotations

import json
import runpy
import types

import cv2
import numpy as np
import pytest

from ehrpose.codecs import AssociativeEmbedding
from ehrpose.deploy import omz, omz_kinds
from ehrpose.deploy.arrival import import_arrived
from ehrpose.deploy.omz import KINDS, import_omz
from ehrpose.deploy.runtime import PoseRuntime
from ehrpose.deploy.sidecar import DeployError, read_sidecar
from ehrpose.registry import CODECS
from ehrpose.structures import Maps

openvino = pytest.importorskip("openvino")
opset = openvino.opset13

MEAN = np.array([123.675, 116.28, 103.53], np.float32).reshape(1, 3, 1, 1)
STD = np.array([58.395, 57.12, 57.375], np.float32).reshape(1, 3, 1, 1)


def conv(x, weight, stride):
    pad = weight.shape[2] // 2
    return opset.convolution(x, weight, [stride, stride], [pad, pad], [pad, pad], [1, 1])


def stand_in(
    folder, kind, suffix="", rank=5, fixed=False, half=False, channels=17, names=("heatmaps", "embeddings")
):
    """Write an IR like those of human-pose-estimation-0005 to 0007: peaks positive, other heatmap values negated."""
    rng = np.random.default_rng(0)
    short = KINDS[kind].short
    image = opset.parameter([1, 3, short, short], np.float32, name="image")
    image.output(0).set_names({"image"})
    centred = opset.divide(opset.subtract(image, MEAN), STD)
    features = opset.relu(conv(centred, rng.normal(0, 0.4, (8, 3, 3, 3)).astype(np.float32), 2))
    heat = opset.sigmoid(conv(features, rng.normal(0, 0.7, (channels, 8, 3, 3)).astype(np.float32), 1))
    pooled = opset.max_pool(heat, [1, 1], [1, 1], [2, 2], [2, 2], [5, 5]).output(0)
    heat = opset.select(opset.equal(heat, pooled), heat, opset.negative(heat))
    tags = conv(features, rng.normal(0, 0.5, (channels, 8, 3, 3)).astype(np.float32), 1)
    if rank == 5:
        tags = opset.unsqueeze(tags, np.array([4], np.int64))
    if fixed:  # a shape that is a constant, as some converters write it
        heat = opset.reshape(heat, np.array([1, channels, short // 2, short // 2], np.int64), False)
    results = []
    for node, name in zip((tags, heat), names[::-1]):  # in the order of Open Model Zoo's list
        node.output(0).set_names({name + suffix})
        results.append(opset.result(node))
    path = folder / f"{KINDS[kind].name}.xml"
    openvino.save_model(openvino.Model(results, [image], "net"), str(path), compress_to_fp16=half)
    return path


def raw_outputs(path, image):
    """Return what the original file computes for a (3, H, W) float32 BGR image, by name."""
    model = openvino.Core().read_model(str(path))
    model.reshape([1, *image.shape])
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = compiled([image[None].astype(np.float32)])
    return {name: np.array(found[output]) for output in compiled.outputs for name in output.get_names()}


def photo(height=200, width=300):
    small = np.random.default_rng(1).integers(0, 256, (13, 19, 3), np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize("kind", ["omz-hpe-0005", "omz-hpe-0006", "omz-hpe-0007", "omz-higherhrnet-w32"])
def test_people_are_those_of_the_raw_outputs(tmp_path, kind):
    rank = 4 if kind == "omz-higherhrnet-w32" else 5
    source = stand_in(tmp_path, kind, rank=rank, suffix="" if kind == "omz-hpe-0005" else "/sink_port_0")
    path = import_omz(source, kind, tmp_path / "out")
    assert sorted(file.name for file in path.parent.iterdir()) == [
        f"{kind}.bin",
        f"{kind}.xml",
        f"{kind}.xml.json",
    ]
    with PoseRuntime(path) as runtime:
        assert runtime.sidecar.input["sides"] == {
            "short": KINDS[kind].short,
            "divisor": 32,
            "max_aspect": 8.0,
        }
        pixels, warp = runtime.prepare(photo())
        assert pixels.dtype == np.uint8
        assert pixels.shape[1] == KINDS[kind].short < pixels.shape[2]
        raw = {name.split("/")[0]: value for name, value in raw_outputs(source, pixels).items()}
        assert (raw["heatmaps"] < 0).mean() > 0.5
        heat, tags = np.abs(raw["heatmaps"][0]), raw["embeddings"][0].reshape(raw["heatmaps"][0].shape)
        codec = AssociativeEmbedding(
            KINDS[kind].short, runtime.sidecar.codec["keypoints"], (2,), (2,), dist_reweight=True,
            cell_offset=0.5 if kind == "omz-higherhrnet-w32" else 0.0,
        )  # fmt: skip
        wanted = codec.decode(Maps(heat2=heat, tag2=tags)).warped(cv2.invertAffineTransform(warp))
        people = runtime(photo())
    assert len(people) == len(wanted) > 3
    np.testing.assert_allclose(people.scores, wanted.scores, atol=1e-4)
    np.testing.assert_allclose(people.keypoints, wanted.keypoints, atol=0.02)


def test_upright_photos_and_small_ones_run_too(tmp_path):
    path = import_omz(stand_in(tmp_path, "omz-hpe-0005"), "human-pose-estimation-0005", tmp_path / "out")
    with PoseRuntime(str(path), num_threads=1) as runtime:
        for size in ((300, 200), (20, 20), (64, 500)):
            runtime(photo(*size))


def test_the_onnx_form_takes_normalised_rgb(tmp_path):
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnx")

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 34, 3, 2, 1)

        def forward(self, image):
            both = self.conv(image)
            return both[:, 17:], torch.relu(both[:, :17])

    torch.manual_seed(0)
    path, net = tmp_path / "higher-hrnet.onnx", Net().eval()
    axes = {name: {2: f"{name}_h", 3: f"{name}_w"} for name in ("image", "embeddings", "heatmaps")}
    torch.onnx.export(
        net, (torch.zeros(1, 3, 64, 64),), str(path), dynamo=False, opset_version=13, input_names=["image"],
        output_names=["embeddings", "heatmaps"], dynamic_axes=axes,
    )  # fmt: skip
    with PoseRuntime(import_omz(path, "omz-higherhrnet-w32", tmp_path / "out")) as runtime:
        pixels, _ = runtime.prepare(photo())
        maps = runtime.run(pixels[None])
        with torch.no_grad():
            tags, heat = net(torch.from_numpy((pixels[None, ::-1].astype(np.float32) - MEAN) / STD))
    np.testing.assert_allclose(maps.heat2, heat.numpy(), atol=1e-4)
    np.testing.assert_allclose(maps.tag2, tags.numpy(), atol=1e-4)


def test_fixed_shapes_inside_keep_the_input_fixed(tmp_path):
    path = import_omz(stand_in(tmp_path, "omz-hpe-0005", fixed=True), "omz-hpe-0005", tmp_path / "out")
    sidecar = read_sidecar(path)
    assert "sides" not in sidecar.input
    assert sidecar.input["shape"] == [1, 3, 288, 288]
    with PoseRuntime(path) as runtime:
        assert len(runtime(photo())) > 3


def test_half_weights_are_kept_and_said(tmp_path):
    source = stand_in(tmp_path, "omz-hpe-0005", half=True)
    path = import_omz(source, "omz-hpe-0005", tmp_path / "out")
    assert read_sidecar(path).precision == "fp16"
    assert path.with_suffix(".bin").stat().st_size < 1.2 * source.with_suffix(".bin").stat().st_size
    with PoseRuntime(path) as runtime:
        runtime(photo())


def part_affinity_stand_in(folder):
    rng = np.random.default_rng(0)
    data = opset.parameter([1, 3, 256, 456], np.float32, name="data")
    data.output(0).set_names({"data"})
    features = conv(
        opset.divide(data, np.float32(255)), rng.normal(0, 0.5, (8, 3, 9, 9)).astype(np.float32), 8
    )
    results = []
    for name, channels in (("Mconv7_stage2_L1", 38), ("Mconv7_stage2_L2", 19)):
        node = conv(features, rng.normal(0, 0.3, (channels, 8, 1, 1)).astype(np.float32), 1)
        node.output(0).set_names({name})
        results.append(opset.result(node))
    path = folder / "human-pose-estimation-0001.xml"
    openvino.save_model(openvino.Model(results, [data], "pose"), str(path), compress_to_fp16=False)
    return path


def test_part_affinity_maps_come_out_under_our_names(tmp_path, monkeypatch):
    """The conversion alone; with the codec, PoseRuntime opens the file too."""
    source = part_affinity_stand_in(tmp_path)
    has_codec = CODECS.own("PartAffinity") is not None
    if not has_codec:
        with pytest.raises(
            DeployError, match="needs the codec PartAffinity, which this version of ehrpose does not"
        ):
            import_omz(source, "omz-hpe-0001", tmp_path / "out")
        monkeypatch.setattr(CODECS, "own", lambda name: dict)
        monkeypatch.setattr(omz, "build_codec", lambda *arguments: None)
    path = import_omz(source, "omz-hpe-0001", tmp_path / "out")
    sidecar = read_sidecar(path)
    assert sidecar.outputs == {"heat": [1, 19, 32, 32], "field": [1, 38, 32, 32]}
    assert sidecar.codec["parts"] == "coco-18"
    image = np.random.default_rng(2).integers(0, 256, (3, 256, 384), np.uint8)
    raw = raw_outputs(source, image)
    model = openvino.Core().read_model(str(path))
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = compiled([image[None]])
    np.testing.assert_allclose(found["heat"], raw["Mconv7_stage2_L2"], atol=1e-4)
    np.testing.assert_allclose(found["field"], raw["Mconv7_stage2_L1"], atol=1e-4)
    if has_codec:
        with PoseRuntime(path) as runtime:
            runtime(photo())


# Hashes.


def known_files(folder, monkeypatch, kind="omz-hpe-0006"):
    source = stand_in(folder, kind)
    monkeypatch.setattr(omz, "XML_HASHES", {omz._sha384(source): (kind, "fp32")})
    monkeypatch.setattr(omz, "BIN_HASHES", {omz._sha384(source.with_suffix(".bin")): "fp32"})
    return source


def test_a_known_file_needs_no_kind(tmp_path, monkeypatch):
    source = known_files(tmp_path, monkeypatch)
    path = import_omz(source, None, tmp_path / "out")
    assert path.name == "omz-hpe-0006.xml"
    assert json.loads((tmp_path / "out/omz-hpe-0006.xml.json").read_text())["precision"] == "fp32"
    again = import_omz([source.with_suffix(".bin"), source], "omz-hpe-0006", tmp_path)  # next to the original
    assert sorted(file.stem for file in tmp_path.glob("*.xml")) == [source.stem, "omz-hpe-0006"]
    assert read_sidecar(again).name == "omz-hpe-0006"


def test_a_known_file_is_not_taken_for_another(tmp_path, monkeypatch):
    source = known_files(tmp_path, monkeypatch)
    with pytest.raises(DeployError, match="is omz-hpe-0006 by its SHA-384, expected omz-hpe-0007"):
        import_omz(source, "omz-hpe-0007", tmp_path / "out")


def test_weights_of_a_known_file_are_checked(tmp_path, monkeypatch):
    source = known_files(tmp_path, monkeypatch)
    weights = source.with_suffix(".bin")
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    for kind in (None, "omz-hpe-0006"):
        with pytest.raises(
            DeployError, match=r"checksum mismatch: .*\.bin is not the fp32 weights of omz-hpe-0006"
        ):
            import_omz(source, kind, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_table_is_whole():
    assert {len(digest) for digest in (*omz_kinds.XML_HASHES, *omz_kinds.BIN_HASHES)} == {96}
    assert {kind for kind, _ in omz_kinds.XML_HASHES.values()} <= set(KINDS)
    assert sorted(omz_kinds.BIN_HASHES.values()) == ["fp16", "fp32"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, "known by their SHA-384 .*: say with `kind` which network it is: omz-hpe-0001"),
        ({"kind": "omz-hpe-0008"}, "unknown kind 'omz-hpe-0008', expected one of omz-hpe-0001"),
        (
            {"kind": "omz-hpe-0001"},
            "expected one output whose name begins with 'Mconv7_stage2_L2', got embeddings",
        ),
        ({"kind": "omz-hpe-0005", "channels": 16}, r"heatmaps: expected shape \(1, 17, h, w\), got .*16"),
        (
            {"kind": "omz-hpe-0005", "names": ("heatmaps", "heatmaps2")},
            "expected one output .* 'heatmaps', got",
        ),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, change, message):
    kind = change.pop("kind", None)
    source = stand_in(tmp_path, "omz-hpe-0005", **change)
    with pytest.raises(DeployError, match=message):
        import_omz(source, kind, tmp_path / "out")
    assert not list(tmp_path.glob("out/*"))


def test_files_that_are_none_are_refused(tmp_path):
    source = stand_in(tmp_path, "omz-hpe-0005")
    with pytest.raises(DeployError, match=r"expected one \.xml or \.onnx file, got none"):
        import_omz([], "omz-hpe-0005", tmp_path)
    weights = source.with_suffix(".bin")
    weights.rename(tmp_path / "away.bin")
    with pytest.raises(FileNotFoundError, match=r"human-pose-estimation-0005\.bin not found"):
        import_omz(source, "omz-hpe-0005", tmp_path / "out")
    weights.write_bytes(b"")
    with pytest.raises(DeployError, match="is empty"):
        import_omz(source, "omz-hpe-0005", tmp_path / "out")
    (tmp_path / "text.xml").write_text("<net>no network</net>")
    (tmp_path / "text.bin").write_bytes(b"12")
    with pytest.raises(DeployError, match=r"OpenVINO cannot load .*text\.xml"):
        import_omz(tmp_path / "text.xml", "omz-hpe-0005", tmp_path / "out")


def test_the_tool_imports_and_says_how_to_run_it(root, tmp_path, capsys):
    tool = runpy.run_path(str(root / "tools/misc/import_omz.py"))
    source = stand_in(tmp_path, "omz-hpe-0005")
    tool["main"]([str(source), "--kind", "omz-hpe-0005", "--out-dir", str(tmp_path / "out")])
    path = tmp_path / "out/omz-hpe-0005.xml"
    assert capsys.readouterr().out == f"{path}: ehrpose predict PHOTO --model {path}\n"
    assert read_sidecar(path).name == "omz-hpe-0005"
    with pytest.raises(DeployError, match="known by their SHA-384"):
        tool["main"]([str(source), "--out-dir", str(tmp_path / "out")])


@pytest.mark.parametrize("name", ["omz-hpe-0005", "omz-hpe-0005-fp16"])
def test_the_zoos_networks_are_imported_on_arrival(tmp_path, name):
    source = stand_in(tmp_path, "omz-hpe-0005")
    model = types.SimpleNamespace(short_name=name)
    network, weights, sidecar = import_arrived(model, [source, source.with_suffix(".bin")], tmp_path)
    assert network.parent == weights.parent == sidecar.parent == tmp_path
    with PoseRuntime(str(network), num_threads=1) as runtime:
        assert runtime(photo()).keypoints.shape[1:] == (17, 2)
