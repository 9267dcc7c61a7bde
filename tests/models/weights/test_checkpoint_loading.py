"""Reading checkpoints: every form in circulation, no code execution, and errors that say what is wrong."""

from __future__ import annotations

import builtins
import copy
import io
import pickle
import sys

import numpy as np
import pytest
import torch
from mmengine.hooks import EMAHook
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.model import ExponentialMovingAverage
from torch import nn

from ehrpose.model_zoo import find_model
from ehrpose.models import EfficientNet
from ehrpose.models.weights.checkpoint import (
    checkpoint_bytes,
    load_checkpoint,
    load_pretrained,
    read_checkpoint,
    read_state_dict,
)


def network(seed=0, width=4):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.Conv2d(width, 2, 1))


def assert_same(a, b):
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


def save(path, content):
    torch.save(content, path)
    return path


def training_checkpoint():
    """Return what MMEngine's Runner saves, and the trained and the averaged model."""
    model = network()
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 3, 5, 5)).sum().backward()
    optimizer.step()
    hub = MessageHub("test_checkpoint_loading")
    for value in (1.0, 0.5):
        hub.update_scalar("train/loss", value)
    hub.update_info("best", np.float64(0.5))
    average = ExponentialMovingAverage(network(1))
    average.update_parameters(model)
    checkpoint = {
        "meta": {"epoch": 1, "dataset_meta": {"sigmas": np.ones(3, np.float32)}},
        "state_dict": copy.deepcopy(model.state_dict()),
        "message_hub": hub.state_dict(),
        "optimizer": optimizer.state_dict(),
        "param_schedulers": [{"last_step": 1, "base_values": [0.1]}],
    }
    return checkpoint, model, average


FORMS = {
    "plain": lambda t: t,
    "state_dict": lambda t: {"state_dict": t, "epoch": 3},
    "model": lambda t: {"model": t, "optimizer": {"lr": 0.1}},
    "module": lambda t: {"state_dict": {f"module.{k}": v for k, v in t.items()}},
    "module twice": lambda t: {f"module.module.{k}": v for k, v in t.items()},
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_forms(form, tmp_path):
    expected = network().state_dict()
    path = save(tmp_path / "a.pth", form(expected))
    assert_same(read_state_dict(path), expected)
    other = network(1)
    assert not load_checkpoint(other, path)
    assert_same(other.state_dict(), expected)


def test_old_file_format(tmp_path):
    expected = network().state_dict()
    torch.save(expected, tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    assert_same(read_state_dict(str(tmp_path / "a.pth")), expected)


def test_safetensors(tmp_path):
    pytest.importorskip("safetensors", reason="safetensors is optional")
    path, expected = tmp_path / "a.safetensors", network().state_dict()
    meta = {"phi": -4, "tag_strides": [4, 2], "kind": "pose"}
    path.write_bytes(checkpoint_bytes(expected, meta, path.suffix))
    assert_same(read_state_dict(path), expected)
    assert read_checkpoint(path)["meta"] == meta
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ValueError, match=r"a\.safetensors is not a safetensors file, or is truncated"):
        read_state_dict(path)


def test_safetensors_is_optional(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"\x02" + b"\0" * 7 + b"{}")
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    with pytest.raises(ValueError, match="pip install safetensors"):
        read_state_dict(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_training_checkpoint(zipped, tmp_path):
    checkpoint, model, _ = training_checkpoint()
    path = tmp_path / "epoch_1.pth"
    torch.save(checkpoint, path, _use_new_zipfile_serialization=zipped)
    before = set(torch.serialization.get_safe_globals())
    read = read_checkpoint(path)
    assert set(torch.serialization.get_safe_globals()) == before
    assert_same(read_state_dict(path), model.state_dict())
    history = read["message_hub"]["log_scalars"]["train/loss"]
    assert history.mean() == 0.75
    assert history.statistics("max") == 1.0
    assert read["message_hub"]["runtime_info"]["best"] == 0.5
    np.testing.assert_array_equal(read["meta"]["dataset_meta"]["sigmas"], np.ones(3, np.float32))


def test_what_was_allowed_before_stays_allowed(tmp_path):
    path = save(tmp_path / "a.pth", training_checkpoint()[0])
    torch.serialization.add_safe_globals([HistoryBuffer])
    try:
        read_checkpoint(path)
        assert HistoryBuffer in torch.serialization.get_safe_globals()
    finally:
        torch.serialization._weights_only_unpickler._remove_safe_globals([HistoryBuffer])


def test_averaged_weights(tmp_path):
    checkpoint, model, average = training_checkpoint()
    plain = save(tmp_path / "plain.pth", checkpoint)
    with pytest.raises(ValueError, match=r"plain\.pth has no averaged weights"):
        read_state_dict(plain, ema=True)
    # In other projects ema_state_dict are the averaged weights.
    elsewhere = {"state_dict": model.state_dict(), "ema_state_dict": average.module.state_dict()}
    path = save(tmp_path / "elsewhere.pth", elsewhere)
    assert_same(read_state_dict(path), model.state_dict())
    assert_same(read_state_dict(path, ema=True), average.module.state_dict())
    # MMEngine's hook swaps them: its state_dict already is the average.
    hook = EMAHook()
    hook.ema_model = average
    hook.before_save_checkpoint(None, checkpoint)
    path = save(tmp_path / "mmengine.pth", checkpoint)
    for ema in (True, False):
        weights = read_state_dict(path, ema=ema)
        parameters = dict(average.module.named_parameters())
        assert_same({name: weights[name] for name in parameters}, parameters)


# ---- untrusted files


class Harmful:
    """Pickles as a call that would create a file."""

    def __init__(self, call, *args):
        self.call = (call, args)

    def __reduce__(self):
        return self.call


def write_harmful(path, content, form):
    if form == "pickle":
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    return path


@pytest.mark.parametrize("form", ["zip", "old", "pickle"])
@pytest.mark.parametrize("nested", [True, False])
def test_code_in_a_pickle_does_not_run(form, nested, tmp_path):
    made = tmp_path / "made"
    harmful = Harmful(builtins.open, str(made), "w")
    content = {"state_dict": {"weight": 1.0, "bias": harmful}} if nested else harmful
    path = write_harmful(tmp_path / "a.pth", content, form)
    with pytest.raises(
        ValueError, match=r"a\.pth is refused: it refers to (io|_io|builtins)\.open, .* could run code"
    ):
        read_state_dict(path)
    assert not made.exists()
    if form == "zip":  # the file really is harmful
        torch.load(path, weights_only=False)
        assert made.exists()


def test_methods_beyond_the_logs_are_refused(tmp_path):
    for name, owner in (("mro", HistoryBuffer), ("__init__", HistoryBuffer), ("sum", np.ndarray)):
        path = save(tmp_path / f"{name}.pth", {"a": torch.ones(1), "b": Harmful(getattr, owner, name)})
        if name == "mro":  # a public attribute of HistoryBuffer is found, but never called
            with pytest.raises(ValueError, match="contains no weights"):
                read_state_dict(path)
            continue
        with pytest.raises(ValueError, match=r"is refused: it refers to builtins\.getattr"):
            read_state_dict(path)
    call = Harmful(HistoryBuffer.register_statistics, print)
    with pytest.raises(ValueError, match=r"is refused|is not a checkpoint"):
        read_state_dict(save(tmp_path / "call.pth", {"a": call}))


def test_whole_models_are_refused(tmp_path):
    path = save(tmp_path / "model.pth", {"model": EfficientNet(phi=-7)})
    with pytest.raises(ValueError, match=r"model\.pth is refused: .*EfficientNet.*state_dict\(\)"):
        read_state_dict(path)


def test_a_zoo_model_is_found_by_its_name():
    assert_same(read_state_dict("ehrnet-small"), read_state_dict(find_model("ehrnet-small").checkpoint))
    with pytest.raises(ValueError, match=r"zoo model named 'ehrnet-smal'.*ehrnet-small"):
        read_state_dict("ehrnet-smal")
    with pytest.raises(ValueError, match="'h0_coco-512' has no weights"):
        read_state_dict("h0")


def test_missing_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"checkpoint not found: .*none\.pth"):
        read_state_dict(tmp_path / "none.pth")
    with pytest.raises(ValueError, match="is a folder"):
        read_state_dict(tmp_path)
    with pytest.raises(ValueError, match="not a local file: download"):
        read_state_dict("https://example.com/a.pth")


NO_CHECKPOINT = {
    "cut early": lambda whole: whole[:100],
    "cut in the middle": lambda whole: whole[: len(whole) // 2],
    "cut at the end": lambda whole: whole[:-10],
}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("change", NO_CHECKPOINT.values(), ids=NO_CHECKPOINT)
def test_broken_files(change, zipped, tmp_path):
    buffer = io.BytesIO()
    torch.save(network(width=64).state_dict(), buffer, _use_new_zipfile_serialization=zipped)
    path = tmp_path / "broken.pth"
    path.write_bytes(change(buffer.getvalue()))
    with pytest.raises(
        ValueError, match=r"broken\.pth is (not a checkpoint, or is truncated|truncated or damaged|refused)"
    ) as error:
        read_state_dict(path)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.ones(1)], "contains a list"),
        ({}, "no entries"),
        ({"epoch": 3, "optimizer": {}}, "got a dict with epoch, optimizer"),
        ({"state_dict": {}}, "no entries"),
    ],
)
def test_files_without_weights(content, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        read_state_dict(save(tmp_path / "a.pth", content))


# ---- mismatches


def test_another_size_names_the_first_tensor(tmp_path):
    path = save(tmp_path / "a.pth", network(width=8).state_dict())
    model = network(1)
    before = copy.deepcopy(model.state_dict())
    for strict in (True, False):
        with pytest.raises(
            ValueError, match=r"0\.weight has shape \(8, 3, 3, 3\), expected \(4, 3, 3, 3\) \(6 more"
        ):
            load_checkpoint(model, path, strict=strict)
    assert_same(model.state_dict(), before)


def test_another_phi(tmp_path):
    path = save(tmp_path / "a.pth", EfficientNet(phi=-4).state_dict())
    first = r"fit the model: stages\.1\.0\.project\.conv\.weight has shape \(16, 96, 1, 1\), expected \(24, 96, 1, 1\)"
    with pytest.raises(ValueError, match=first):
        load_checkpoint(EfficientNet(phi=-3), path)


def test_missing_and_unexpected(tmp_path):
    tensors = network().state_dict()
    del tensors["2.bias"]
    tensors["extra"] = torch.ones(1)
    path = save(tmp_path / "a.pth", tensors)
    with pytest.raises(ValueError, match=r"1 missing: 2\.bias; 1 unexpected: extra"):
        load_checkpoint(network(1), path)
    model = network(1)
    differences = load_checkpoint(model, path, strict=False)
    assert (differences.missing, differences.unexpected) == (("2.bias",), ("extra",))
    assert torch.equal(model[0].weight, tensors["0.weight"])


def test_unconverted_weights_are_told_apart(tmp_path):
    path = save(tmp_path / "a.pth", {"features.0.1.weight": torch.ones(1)})
    with pytest.raises(ValueError, match=r"convert it with tools/misc/convert_checkpoint\.py"):
        load_checkpoint(network(), path)


def test_pretrained_with_prefix(tmp_path):
    expected = network().state_dict()
    path = save(
        tmp_path / "a.pth", {f"backbone.{k}": v for k, v in expected.items()} | {"head.w": torch.ones(1)}
    )
    for prefix in ("backbone.", "backbone"):
        model = network(1)
        assert not load_pretrained(model, path, prefix)
        assert_same(model.state_dict(), expected)
    with pytest.raises(ValueError, match=r"names start with backbone\., head\.: set prefix"):
        load_pretrained(network(1), path)
    with pytest.raises(
        ValueError, match=r"no tensors with the prefix 'neck\.'; available: backbone\., head\."
    ):
        load_pretrained(network(1), path, "neck")


def test_pretrained_share(tmp_path):
    tensors = network().state_dict()
    tensors["2.weight"], tensors["2.bias"] = torch.ones(5, 4, 1, 1), torch.ones(5)
    path = save(tmp_path / "a.pth", tensors)
    model = network(1)
    kept = model[2].weight.clone()
    with pytest.raises(
        ValueError, match=r"only 6 of 8 tensors .* match, expected 90%: 2\.weight has shape \(5, 4, 1, 1\)"
    ):
        load_pretrained(model, path)
    differences = load_pretrained(model, path, min_match=0.7)
    assert [name for name, _, _ in differences.misshaped] == ["2.weight", "2.bias"]
    assert torch.equal(model[0].weight, tensors["0.weight"])
    assert torch.equal(model[2].weight, kept)
