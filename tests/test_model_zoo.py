from __future__ import annotations

import hashlib
import re

import pytest
import torch

from ehrpose.config import load_config
from ehrpose.model_zoo import ZooModel, find_model, is_model_name, list_models, zoo_root
from ehrpose.models.loading import init_model
from ehrpose.zoo_card import CARD, weights_card
from ehrpose.zoo_tables import OTHERS, others_table, with_table, zoo_table

INDEX = "Import: [metafile.yml]\n"
METAFILE = """
Models:
  - Name: tiny_synthetic-64
    Alias: [tiny, smallest]
    Config: tiny.py
    Weights: tiny.pth
    SHA256: {sha256}
    Metadata: {{Seed: 0}}
  - Name: bare
    Config: tiny.py
"""


@pytest.fixture
def zoo(tmp_path, demo_config, lively_checkpoint):
    """A zoo of one model with weights and one without."""
    data = lively_checkpoint.read_bytes()
    (tmp_path / "tiny.pth").write_bytes(data)
    (tmp_path / "tiny.py").write_text(demo_config.read_text())
    (tmp_path / "model-index.yml").write_text(INDEX)
    (tmp_path / "metafile.yml").write_text(METAFILE.format(sha256=hashlib.sha256(data).hexdigest()))
    return tmp_path


def test_models_are_found_by_name_and_by_alias(zoo):
    assert [model.name for model in list_models(zoo)] == ["tiny_synthetic-64", "bare"]
    for name in ("tiny_synthetic-64", "tiny", "smallest"):
        model = find_model(name, zoo)
        assert model.config == zoo / "tiny.py"
        assert model.checkpoint == zoo / "tiny.pth"
        assert model.metadata == {"Seed": 0}
        model.check()


def test_an_unknown_name_lists_those_with_weights(zoo):
    with pytest.raises(ValueError, match=r"named 'h9'; models with weights: tiny, smallest$"):
        find_model("h9", zoo)


def test_damaged_and_missing_weights_are_named(zoo):
    with pytest.raises(ValueError, match="has no weights"):
        find_model("bare", zoo).check()
    data = (zoo / "tiny.pth").read_bytes()
    (zoo / "tiny.pth").write_bytes(data.replace(b"FB", b"BF", 1))
    with pytest.raises(ValueError, match=r"checksum mismatch of .*tiny\.pth: expected SHA-256 .*, got "):
        find_model("tiny", zoo).check()
    for content, kind in (
        (data[:-1], r"is truncated or damaged \(\d+ bytes\)"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
            r"is a Git-LFS pointer .* git lfs pull",
        ),
        (b"<!DOCTYPE html><html>404</html>", "is a web page"),
        (b"404: Not Found", "is text, it begins with '404: Not Found'"),
        (b"", "is empty"),
    ):
        (zoo / "tiny.pth").write_bytes(content)
        with pytest.raises(
            ValueError, match=rf"weights of the model 'tiny_synthetic-64': .*tiny\.pth {kind}"
        ):
            find_model("tiny", zoo).check()
    (zoo / "tiny.pth").unlink()
    with pytest.raises(FileNotFoundError, match=r"tiny\.pth not found"):
        find_model("tiny", zoo).check()


def test_names_are_told_from_files(tmp_path):
    assert is_model_name("ehrnet-small")
    assert not is_model_name("configs/ehrnet/h-4_coco-384.py")
    assert not is_model_name("missing.py")
    assert not is_model_name(str(tmp_path))
    assert not is_model_name(tmp_path / "a")


def test_init_model_takes_a_name_and_loads_its_weights(zoo, monkeypatch, lively_model, small_options, root):
    base = str(root / "configs/_base_").replace("\\", "/")
    (zoo / "tiny.py").write_text((zoo / "tiny.py").read_text().replace("../_base_", base))
    monkeypatch.setattr("ehrpose.model_zoo.zoo_root", lambda: zoo)
    model = init_model("tiny", cfg_options=small_options)
    for name, tensor in lively_model.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name]), name
    with pytest.raises(ValueError, match="has no weights"):
        init_model("bare")


def test_every_model_of_the_project_is_whole():
    models = list_models()
    names = [alias for model in models for alias in (model.name, *model.aliases)]
    assert len(names) == len(set(names))
    for model in models:
        assert (model.config is None) == model.is_exported
        if model.config is not None:
            load_config(model.config)
            assert model.remote is not None or model.name == model.config.stem
        if model.checkpoint is not None:
            model.check()


def test_page_of_the_docs_is_what_the_metafiles_say(root):
    page = (root / "docs/model_zoo.md").read_text(encoding="utf-8")
    assert with_table(page, zoo_table(list_models(), zoo_root())) == page
    assert with_table(page, others_table(list_models(), zoo_root()), OTHERS) == page


def test_the_card_of_the_weights_is_what_the_metafiles_and_files_say(root):
    card = (root / "checkpoints/README.md").read_text(encoding="utf-8")
    assert with_table(card, weights_card(list_models(), zoo_root()), CARD) == card


def test_the_card_names_every_included_file_with_its_hash(root):
    card = (root / "checkpoints/README.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| `(checkpoints/[^`]+)` \| ([\d,]+) \| `([0-9a-f]{64})` \|$", card, re.MULTILINE)
    files = [path for path in sorted((root / "checkpoints").iterdir()) if path.name != "README.md"]
    assert len(files) == 6
    contents = {f"checkpoints/{path.name}": path.read_bytes() for path in files}
    assert sorted(named) == sorted(
        (name, f"{len(content):,}", hashlib.sha256(content).hexdigest()) for name, content in contents.items()
    )


def test_what_a_metafile_does_not_say_is_unknown(tmp_path):
    weights = tmp_path / "checkpoints" / "bare.pth"
    weights.parent.mkdir()
    weights.write_bytes(b"weights")
    card = weights_card([ZooModel("bare", None, weights), ZooModel("none", None)], tmp_path)
    assert f"| `checkpoints/bare.pth` | 7 | `{hashlib.sha256(b'weights').hexdigest()}` |" in card
    for name in (
        "trained on",
        "started from",
        "licence of the start",
        "licence of these files",
        "parameters",
    ):
        assert f"- {name}: unknown\n" in card
    assert "- measured: nothing\n" in card
    assert "none" not in card.split("config: none")[1]


def test_a_page_without_marks_is_refused():
    with pytest.raises(ValueError, match="needs the lines"):
        with_table("# Zoo", "| a |")
