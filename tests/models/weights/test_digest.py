"""Published weights carry a digest: a damaged file does not load with other weights."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil

import numpy as np
import pytest
import torch
from torch import nn

from ehrpose.model_zoo import list_models
from ehrpose.models.weights.checkpoint import checkpoint_bytes, load_checkpoint, read_checkpoint
from ehrpose.models.weights.state_dict_diff import DIGEST, digest_of

FORMS = pytest.mark.parametrize("suffix", [".pth", ".safetensors"])


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 5))


@pytest.fixture(autouse=True)
def _needs(request):
    if ".safetensors" in request.node.name:
        pytest.importorskip("safetensors", reason="safetensors is optional")


def content_of(suffix, digest=True, monkeypatch=None):
    """A small checkpoint; without a digest, as files of other programs."""
    if not digest:
        monkeypatch.setattr("ehrpose.models.weights.checkpoint.DIGEST", "not_a_digest")
    return checkpoint_bytes(network().state_dict(), {"phi": -4, "epoch": 7}, suffix)


def silent_loads(content, path, number):
    """Return how many of the copies with one flipped bit load with other weights, and how many load at all."""
    wanted = network().state_dict()
    rng, other, loaded = np.random.default_rng(0), 0, 0
    for _ in range(number):
        damaged = bytearray(content)
        damaged[rng.integers(len(damaged))] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        model = network(1)
        try:
            load_checkpoint(model, path)
        except ValueError:
            continue
        loaded += 1
        other += any(not torch.equal(tensor, wanted[name]) for name, tensor in model.state_dict().items())
    return other, loaded


@FORMS
def test_no_damaged_copy_loads_with_other_weights(tmp_path, monkeypatch, suffix):
    number = 250
    other, loaded = silent_loads(content_of(suffix), tmp_path / f"a{suffix}", number)
    assert other == 0
    assert loaded < number
    without = content_of(suffix, digest=False, monkeypatch=monkeypatch)
    assert silent_loads(without, tmp_path / f"b{suffix}", number)[0] > 10  # what the digest prevents


@FORMS
def test_changed_weights_are_named(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    content = bytearray(content_of(suffix))
    place = content.index(network().state_dict()["2.weight"].numpy().tobytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"a\{suffix} is damaged, or was changed after it was published"):
        read_checkpoint(path)


@FORMS
def test_an_intact_file_loads_and_its_meta_is_as_given(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content_of(suffix))
    model = network(1)
    assert not load_checkpoint(model, path)
    assert all(
        torch.equal(model.state_dict()[name], tensor) for name, tensor in network().state_dict().items()
    )
    assert read_checkpoint(path)["meta"] == {"phi": -4, "epoch": 7}


@pytest.mark.parametrize("weights", [None, {}, {"w": "text"}, [1]])
def test_a_digest_without_weights_is_an_error(tmp_path, weights):
    torch.save({"state_dict": weights, "meta": {DIGEST: 64 * "0"}}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match="got no weights"):
        read_checkpoint(tmp_path / "a.pth")


def test_the_digest_covers_names_types_shapes_and_values():
    tensors = {
        "a": torch.arange(6, dtype=torch.float32).reshape(2, 3),
        "b": torch.tensor(3),
        "c": torch.ones(0),
    }
    again = {name: tensor.clone() for name, tensor in reversed(tensors.items())}
    again["a"] = again["a"].t().contiguous().t()
    assert digest_of(again) == digest_of(tensors)
    for changed in (
        {"a": tensors["a"].reshape(3, 2)}, {"a": tensors["a"].view(torch.int32)}, {"b": torch.tensor(4)},
        {"c": torch.ones(0, dtype=torch.float16)}, {"a": tensors["a"].bfloat16()}, {"d": torch.ones(0)},
    ):  # fmt: skip
        assert digest_of({**tensors, **changed}) != digest_of(tensors)
    header = json.dumps(["b", "torch.int64", []]).encode() + b"\n"
    expected = hashlib.sha256(header + (3).to_bytes(8, "little")).hexdigest()
    assert digest_of({"b": tensors["b"]}) == expected


def test_a_shipped_name_on_other_weights_is_an_error(tmp_path):
    shipped = next(model.checkpoint for model in list_models() if model.checkpoint is not None)
    path = tmp_path / shipped.name
    torch.save({"w": torch.ones(2)}, path)
    with pytest.raises(ValueError, match=r"has the name of the weights of model .* expected SHA-256"):
        read_checkpoint(path)
    shutil.copy(shipped, path)
    assert read_checkpoint(path)["state_dict"]


@pytest.mark.parametrize(
    ("name", "warns"),
    [("a-0123abcd.pth", True), ("run-20251128.pth", False), ("a-0123abc.pth", False), ("a.pth", False)],
)
def test_other_names_with_a_wrong_hash_are_a_warning(tmp_path, monkeypatch, name, warns):
    said = []
    monkeypatch.setattr(
        "ehrpose.models.weights.checkpoint.print_log", lambda text, logger, level: said.append((text, level))
    )
    torch.save({"w": torch.ones(2)}, tmp_path / name)
    assert list(read_checkpoint(tmp_path / name)) == ["w"]
    assert [level for _, level in said] == [logging.WARNING] * warns
    assert all("its name says 0123abcd" in text for text, _ in said)
    right = hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()[:8]
    (tmp_path / name).rename(tmp_path / f"a-{right}.pth")
    said.clear()
    read_checkpoint(tmp_path / f"a-{right}.pth")
    assert said == []
