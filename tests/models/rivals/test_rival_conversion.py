"""Weights of other projects' networks are told apart by name and converted whole; the fitting config is named."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import rival_data
import torch
from rival_shapes import names_and_shapes

from ehrpose.cli import run_cli
from ehrpose.config import INFERENCE_PARTS, load_config, resolve
from ehrpose.models.loading import init_model
from ehrpose.models.weights.conversion import convert
from ehrpose.models.weights.fitting_config import fitting_config
from ehrpose.models.weights.rival_layouts import LAYOUTS, RIVAL_KINDS
from ehrpose.registry import MODELS

ROOT = Path(__file__).parents[3]
CONFIGS = {
    "higherhrnet_w32_official": "higherhrnet-w32_coco-512",
    "higherhrnet_w32_mmpose0": "higherhrnet-w32_coco-512",
    "higherhrnet_w32_udp_mmpose0": "higherhrnet-w32-udp_coco-512",
    "higherhrnet_w48_official": "higherhrnet-w48_coco-512",
    "higherhrnet_w48_mmpose0": "higherhrnet-w48_coco-512",
    "hrnet_w32_mmpose0": "hrnet-w32_coco-512",
    "hrnet_w32_mmpose1": "hrnet-w32_coco-512",
    "hrnet_w48_mmpose0": "hrnet-w48_coco-512",
    "hrnet_w48_mmpose1": "hrnet-w48_coco-512",
    "litepose_XS": "litepose-xs_coco-256",
    "litepose_S": "litepose-s_coco-448",
    "litepose_M": "litepose-m_coco-448",
    "litepose_L": "litepose-l_coco-512",
    "mobilenetv2_mmpose0": "mobilenetv2_coco-512",
    "res50_mmpose0": "res50_coco-512",
    "res101_mmpose0": "res101_coco-512",
    "res152_mmpose0": "res152_coco-512",
    "hourglass_official": "hourglass_coco-512",
    "hourglass_mmpose0": "hourglass-mmpose_coco-512",
    "lwopenpose": "lwopenpose_coco-368",
    "lwopenpose_3stages": "lwopenpose-3stages_coco-368",
    "efficienthrnet_h0": "h0_coco-512",
    "efficienthrnet_h-1": "h-1_coco-480",
    "efficienthrnet_h-2": "h-2_coco-448",
    "efficienthrnet_h-3": "h-3_coco-416",
    "efficienthrnet_h-4": "h-4_coco-384",
}
KINDS = {"efficienthrnet": "pose", "res50": "resnet", "res101": "resnet", "res152": "resnet"}
# Rows of the output of the last hourglass that nothing uses.
CUT = {"hourglass_official": ("outs.3.conv.weight", "outs.3.conv.bias")}


def test_every_network_is_listed():
    assert set(CONFIGS) == set(rival_data.NETWORKS)
    assert len(CONFIGS) == 26


@pytest.mark.parametrize("network", rival_data.NETWORKS)
def test_the_named_config_builds_a_model_with_just_these_tensors(network):
    tensors = names_and_shapes(network)
    converted = convert(tensors, refinements=3 if network.endswith("_3stages") else None)
    family = network.split("_")[0]
    assert converted.kind == KINDS.get(family, family)
    assert ("mmpose" in network) == ("mmpose" in converted.seen)
    assert len(converted.state_dict) == len(tensors)
    assert converted.cut == CUT.get(network, ())
    config, _ = fitting_config(converted, f"{network}.pth")
    assert config == f"configs/{'ehrnet' if family == 'efficienthrnet' else 'rivals'}/{CONFIGS[network]}.py"
    cfg = resolve(load_config(ROOT / config, parts=INFERENCE_PARTS))
    with torch.device("meta"):
        model = MODELS.build(cfg.model)
    own = {name: tensor.shape for name, tensor in model.state_dict().items() if "data_pre" not in name}
    assert own == {name: tensor.shape for name, tensor in converted.state_dict.items()}


def test_a_file_without_counters_can_be_written(tmp_path):
    tensors = {
        name: torch.from_numpy(value) for name, value in rival_data.draw_weights("lwopenpose_3stages").items()
    }
    content = {name: value for name, value in tensors.items() if not name.endswith(rival_data.COUNTER)}
    source, out = tmp_path / "in.pth", tmp_path / "out.pth"
    torch.save({"state_dict": content, "optimizer": {}, "iter": 1, "current_epoch": 1}, source)
    load_tool().main([str(source), str(out)])
    written = torch.load(out, weights_only=True)["state_dict"]
    assert len(written) == 250
    assert all(int(value) == 0 for name, value in written.items() if name.endswith(rival_data.COUNTER))


def test_one_refinement_stage_is_kept_of_three_unless_asked_otherwise():
    tensors = names_and_shapes("lwopenpose_3stages")
    assert len(tensors) == 426
    converted = convert(tensors)
    assert converted.sizes["num_refinements"] == 1
    assert len(converted.state_dict) == 250
    assert len(converted.dropped) == 176
    assert {name.split(".")[1] for name in converted.dropped} == {"1", "2"}
    assert fitting_config(converted, "x.pth")[0] == "configs/rivals/lwopenpose_coco-368.py"
    two = convert(tensors, refinements=2)
    assert fitting_config(two, "x.pth")[0] is None
    for count in (0, 4):
        with pytest.raises(ValueError, match="expected 1 to 3, the refinement stages in the file, got"):
            convert(tensors, refinements=count)
    with pytest.raises(ValueError, match="litepose has no refinement stages: omit refinements=1"):
        convert(names_and_shapes("litepose_S"), refinements=1)
    tensors["initial_stage.heatmaps.1.0.weight"] = torch.empty(20, 512, 1, 1, device="meta")
    with pytest.raises(ValueError, match="has 20 rows, expected 19"):
        convert(tensors)


@pytest.mark.parametrize(
    ("network", "prefix"),
    [
        ("higherhrnet_w32_official", "1."),
        ("higherhrnet_w32_official", "module.1."),
        ("litepose_S", "module."),
        ("hourglass_official", "model.module."),
    ],
)
def test_prefixes_of_wrappers_are_removed(network, prefix):
    tensors = names_and_shapes(network)
    wrapped = convert({prefix + name: tensor for name, tensor in tensors.items()})
    assert wrapped.state_dict.keys() == convert(tensors).state_dict.keys()


@pytest.mark.parametrize(
    "network", ["higherhrnet_w32_official", "res50_mmpose0", "hourglass_mmpose0", "lwopenpose"]
)
def test_missing_counters_are_added(network):
    tensors = names_and_shapes(network)
    without = {name: value for name, value in tensors.items() if not name.endswith(rival_data.COUNTER)}
    converted = convert(without)
    assert converted.state_dict.keys() == convert(tensors).state_dict.keys()
    assert converted.counters == len(tensors) - len(without) > 0


@pytest.mark.parametrize(
    ("network", "keypoints", "filename", "config"),
    [
        ("higherhrnet_w32_official", 17, "pose_higher_hrnet_w32_512.pth", "higherhrnet-w32_coco-512"),
        ("higherhrnet_w32_official", 17, "pose_higher_hrnet_w32_640.pth", "higherhrnet-w32_coco-640"),
        ("higherhrnet_w48_official", 17, "pose_higher_hrnet_w48_640.pth.tar", "higherhrnet-w48_coco-640"),
        ("higherhrnet_w32_official", 17, "a.pth", "higherhrnet-w32_coco-512"),
        ("higherhrnet_w32_mmpose0", 17, "higher_hrnet32_coco_640x640-a22fe938_20200712.pth",
         "higherhrnet-w32_coco-640"),
        ("higherhrnet_w32_mmpose0", 17, "higher_hrnet32_coco_512x512_udp-8cc64794_20210222.pth",
         "higherhrnet-w32-udp_coco-512"),
        ("hrnet_w48_mmpose0", 17, "hrnet_w48_coco_512x512_udp-de08fd8c_20210222.pth", "hrnet-w48-udp_coco-512"),
        ("res50_mmpose0", 17, "res50_coco_640x640-2046f9cb_20200822.pth", "res50_coco-640"),
        ("higherhrnet_w32_official", 14, "a_640.pth", "higherhrnet-w32_crowdpose-512"),
        ("litepose_S", 14, "a.pth", "litepose-s_crowdpose-448"),
    ],
)  # fmt: skip
def test_keypoints_and_the_files_name_choose_the_config(network, keypoints, filename, config):
    converted = convert(names_and_shapes(network, keypoints))
    assert converted.sizes["num_keypoints"] == keypoints
    assert fitting_config(converted, f"folder_1/{filename}")[0] == f"configs/rivals/{config}.py"
    assert (ROOT / f"configs/rivals/{config}.py").is_file()


def test_without_a_fitting_config_the_reason_is_given():
    config, reason = fitting_config(convert(names_and_shapes("higherhrnet_w32_official", 5)), "a.pth")
    assert config is None
    assert "none of the configs has 5 keypoints" in reason
    config, reason = fitting_config(convert(names_and_shapes("litepose_L", 14)), "a.pth")
    assert config is None
    assert "litepose-l with 14 keypoints" in reason


def test_higherhrnet_is_not_taken_for_efficienthrnet():
    # Both have final_layers.0 and stage2.0.branches.
    assert convert(names_and_shapes("higherhrnet_w32_official")).seen.startswith("HigherHRNet")
    ours = convert(names_and_shapes("efficienthrnet_h-4"))
    assert (ours.kind, ours.sizes["phi"]) == ("pose", -4)
    assert fitting_config(ours, "a.pth")[0] == "configs/ehrnet/h-4_coco-384.py"


@pytest.mark.parametrize(("network", "name"), [("dekr_w32_official", "DEKR"), ("cid_w32_mmpose1", "CID")])
def test_networks_that_only_share_parts_are_refused(network, name):
    with pytest.raises(ValueError, match=f"unknown layout: .*{name}"):
        convert(names_and_shapes(network))


def changed(network, **changes):
    tensors = names_and_shapes(network)
    for name, shape in changes.items():
        if shape is None:
            del tensors[name]
        else:
            tensors[name] = torch.empty(shape, device="meta")
    return tensors


@pytest.mark.parametrize(
    ("tensors", "options", "message"),
    [
        (changed("higherhrnet_w32_official", **{"stage4.2.branches.3.0.bn1.bias": None}), {},
         r"HigherHRNet.*1 missing: stage4\.2\.branches\.3\.0\.bn1\.bias"),
        (changed("hrnet_w32_mmpose0", **{"backbone.incre_modules.0": (1,)}), {},
         r"1 unexpected: backbone\.incre_modules\.0"),
        (changed("litepose_M", **{"deconv_raw.1.weight": (48, 41, 4, 4)}), {},
         r"LitePose.*deconv_raw\.1\.weight has shape"),
        (changed("res50_mmpose0", **{"keypoint_head.final_layer.weight": (33, 256, 1, 1)}), {}, "33 rows, expected 2"),
        (changed("res50_mmpose0", **{"keypoint_head.final_layer.weight": (34,)}), {}, "a convolution with 4 axes"),
        (changed("res50_mmpose0", **{"backbone.layer3.6.conv1.weight": (1,)}), {}, "not supported: expected ResNet-50"),
        (changed("hourglass_official", **{"outs.3.conv.weight": (70, 256, 1, 1)}), {}, "70 rows, expected 4"),
        (changed("litepose_XS"), {"kind": "hrnet"}, "expected the names of hrnet, got those of LitePose"),
        (changed("efficienthrnet_h-4"), {"kind": "hrnet"}, "expected the names of hrnet, got unknown ones"),
        (changed("litepose_XS"), {"phi": -1}, "litepose has no phi"),
        (changed("litepose_XS"), {"keep_classifier": True}, "no classifier"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(tensors, options, message):
    with pytest.raises(ValueError, match=message):
        convert(tensors, **options)


@pytest.mark.parametrize("width", [4, 32])
def test_of_an_imagenet_hrnet_the_backbone_is_kept(width, tmp_path):
    backbone = MODELS.build({"type": "HRNet", "width": width})
    layout = next(row for row in LAYOUTS if row.kind == "hrnet_imagenet")
    tensors = {layout.renamed(f"backbone.{k}", {}): v for k, v in backbone.state_dict().items()}
    if width == 32:
        theirs = rival_data.all_shapes()["higherhrnet_w32_official"]
        assert {k: v.shape for k, v in tensors.items()} == {
            name: shape for name, shape in theirs.items() if not name.startswith(("final", "deconv"))
        }
    others = (
        "incre_modules.0.0.conv1",
        "downsamp_modules.0.0",
        "final_layer.0",
        "stage4.2.fuse_layers.3.0.0.0",
    )
    extra = {f"{name}.weight": torch.zeros(8, 8, 1, 1) for name in others}
    converted = convert({**tensors, **extra, "classifier.weight": torch.zeros(1000, 8)})
    assert converted.sizes == {"width": width}
    assert set(converted.dropped) == {*extra, "classifier.weight"}
    config, note = fitting_config(converted, "hrnet.pth")
    assert config == (None if width == 4 else "configs/rivals/higherhrnet-w32_coco-512.py")
    assert ("width 4" in note) == (width == 4)
    torch.save(converted.state_dict, tmp_path / "backbone.pth")
    init_cfg = {"type": "Pretrained", "checkpoint": str(tmp_path / "backbone.pth")}
    loaded = MODELS.build({"type": "HRNet", "width": width, "init_cfg": init_cfg})
    loaded.init_weights()
    name = "stages.2.2.fuse.0.3.0.weight"
    assert torch.equal(loaded.state_dict()[name], backbone.state_dict()[name])


def load_tool():
    spec = importlib.util.spec_from_file_location("tool", ROOT / "tools/misc/convert_checkpoint.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool


def run_tool(*args):
    tool = load_tool()
    run_cli(lambda: tool.main([str(arg) for arg in args]))


def test_the_tool_says_what_it_saw_and_last_the_config(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("EHRPOSE_DEBUG", raising=False)
    tensors = {k: torch.from_numpy(v) for k, v in rival_data.draw_weights("litepose_XS").items()}
    source, target = tmp_path / "theirs.pth", tmp_path / "ours.pth"
    torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in tensors.items()}}, source)
    run_tool(source, target)
    lines = capsys.readouterr().out.splitlines()
    assert any("LitePose, its authors' names: litepose" in line for line in lines)
    assert any(f"{len(tensors)} of {len(tensors)} tensors" in line for line in lines)
    assert lines[-1] == "config: configs/rivals/litepose-xs_coco-256.py"
    model = init_model(ROOT / lines[-1].removeprefix("config: "), str(target))
    name = "backbone.stages.0.0.expand.0.weight"
    assert torch.equal(model.state_dict()[name], tensors["stage.0.0.inv.0.weight"])
    assert set(load_tool().KINDS) == {"pose", "classification", "lite", *RIVAL_KINDS}
    with pytest.raises(ValueError, match=r"convert it with tools/misc/convert_checkpoint\.py"):
        init_model(ROOT / lines[-1].removeprefix("config: "), str(source))


# The largest have files of 250 to 560 MB.
LARGE = ("w48", "res101", "res152", "hourglass", "w32")


@pytest.mark.parametrize(
    "network",
    [
        pytest.param(name, marks=pytest.mark.slow) if any(size in name for size in LARGE) else name
        for name in rival_data.NETWORKS
    ],
)
def test_the_tools_last_line_names_the_config_of_every_network(network, tmp_path, capsys):
    tensors = {
        name: torch.zeros_like(value, device="cpu") for name, value in names_and_shapes(network).items()
    }
    prefix = "model.module." if "official" in network else "module."
    source = tmp_path / f"{network}.pth"
    torch.save({"state_dict": {prefix + k: v for k, v in tensors.items()}, "epoch": 1}, source)
    run_tool(source, tmp_path / "ours.pth")
    lines = capsys.readouterr().out.splitlines()
    folder = "ehrnet" if network.startswith("efficienthrnet") else "rivals"
    # Of three refinement stages one is kept unless asked otherwise.
    config = CONFIGS[network].replace("-3stages", "")
    assert lines[-1] == f"config: configs/{folder}/{config}.py"
    assert any(line.startswith(f"{source.name}: ") for line in lines)
    kept = len(names_and_shapes(network.replace("_3stages", "")))
    assert any(f"{kept} of {len(tensors)} tensors" in line for line in lines)


@pytest.mark.parametrize(
    ("names", "filename", "said"),
    [
        ("higherhrnet_w32_mmpose0", "higher_hrnet32_512.pth", True),
        ("higherhrnet_w32_mmpose0", "higher_hrnet32_512_udp.pth", False),
        ("higherhrnet_w32_official", "pose_higher_hrnet_w32_512.pth", False),
    ],
)
def test_mmposes_higherhrnet_is_to_be_resized_in_one_step(names, filename, said):
    _, note = fitting_config(convert(names_and_shapes(names)), filename)
    assert ("set codec.resize=direct" in note) == said
