"""The entries of configs/rivals/metafile.yml fit the configs, the conversion and the rules for sources."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import rival_data
import torch
from rival_shapes import names_and_shapes

from ehrpose.model_zoo import find_model, list_models
from ehrpose.models.loading import init_model
from ehrpose.models.weights.conversion import convert
from ehrpose.models.weights.fitting_config import fitting_config
from ehrpose.zoo_tables import is_of_others

ROOT = Path(__file__).resolve().parents[2]
OTHERS = [model for model in list_models() if is_of_others(model)]
CHECKPOINTS = [model for model in OTHERS if model.remote is not None and not model.is_exported]
HOSTS = {"download.openmmlab.com", "storage.openvinotoolkit.org"}


def network_of(model):
    """The network of rival_data whose names the model's file has, and its number of keypoints."""
    stem = model.config.stem
    keypoints = 14 if "crowdpose" in stem else 17
    if "official" in model.name:
        return "higherhrnet_w32_official", keypoints
    if keypoints == 14:  # names_and_shapes knows the authors' names only; the heads are the same
        return "higherhrnet_w32_official", keypoints
    return stem.split("_")[0].replace("-udp", "").replace("-mmpose", "").replace(
        "-", "_"
    ) + "_mmpose0", keypoints


def test_every_config_has_an_entry():
    configs = {path for path in (ROOT / "configs/rivals").glob("*.py")}
    assert {model.config for model in OTHERS if model.config is not None} == configs
    assert len(configs) == 30


@pytest.mark.parametrize("model", OTHERS, ids=lambda model: model.short_name)
def test_an_entry_says_where_it_is_from_and_what_is_not_known(model):
    facts = model.metadata
    assert {"Trained By", "Training Data", "Input Size", "Licence", "Verified"} <= facts.keys()
    assert set(facts["Licence"]) == {"Code", "Weights"}
    assert model.results == []  # nothing was measured here
    assert all(set(each) == {"AP", "Protocol"} and 30 < each["AP"] < 75 for each in model.published)
    assert model.remote is None or model.manual is None
    said = ("not the published file", "never seen", "AP measured on 391 photos")
    assert any(words in facts["Verified"] for words in said)


@pytest.mark.parametrize("model", [m for m in OTHERS if m.remote], ids=lambda model: model.short_name)
def test_sources_are_known_hosts_with_hashes(model):
    for file in model.remote.files:
        assert urlsplit(file.url).hostname in HOSTS
        named = re.search(r"-([0-9a-f]{8})_\d{8}\.pth$", file.name)
        if named is not None:
            assert file.digests == {"sha256": named[1]}
        else:
            assert len(file.digests["sha384"]) == 96
            assert file.size is not None


@pytest.mark.parametrize("model", CHECKPOINTS, ids=lambda model: model.short_name)
def test_the_entrys_config_is_the_one_that_conversion_names(model):
    converted = convert(names_and_shapes(*network_of(model)))
    assert fitting_config(converted, model.remote.files[0].name)[0] == f"configs/rivals/{model.config.name}"


def test_one_weight_file_serves_three_sizes():
    bins = {find_model(f"omz-hpe-000{n}").remote.files[1].digests["sha384"] for n in (5, 6, 7)}
    assert len(bins) == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["higherhrnet-w32", "higherhrnet-w32-official", "hrnet-w32-udp", "res50"])
def test_the_zoos_own_names_work_with_a_file_of_that_form(name, server, tmp_path, monkeypatch):
    """The published file is replaced by drawn weights under its name, on a local server, with their hash."""
    monkeypatch.setenv("EHRPOSE_HOME", str(tmp_path))
    monkeypatch.delenv("EHRPOSE_OFFLINE", raising=False)
    model = find_model(name)
    drawn = {k: torch.from_numpy(v) for k, v in rival_data.draw_weights(network_of(model)[0]).items()}
    buffer = io.BytesIO()
    torch.save({"state_dict": drawn, "meta": {"epoch": 300}}, buffer)
    content, file = buffer.getvalue(), model.remote.files[0]
    server.files[f"/{file.name}"] = content
    server.faults = [len(content) // 3, len(content) // 3]
    algorithm = next(iter(file.digests))
    digest = hashlib.new(algorithm, content).hexdigest()[: len(file.digests[algorithm])]
    local = file._replace(url=f"{server.url}/{file.name}", digests={algorithm: digest}, size=len(content))
    local_model = dataclasses.replace(model, remote=model.remote._replace(files=(local,)))
    monkeypatch.setattr("ehrpose.models.loading.find_model", lambda name: local_model)
    monkeypatch.setattr("ehrpose.fetching.fetch._WAIT", 0.01)
    built = init_model(name)
    ours = convert(drawn).state_dict
    assert all(torch.equal(built.state_dict()[key], value) for key, value in ours.items())
    assert len(server.requests) == 3
