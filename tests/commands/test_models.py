"""The command ``ehrpose models``."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from ehrpose.__main__ import main as ehrpose
from ehrpose.model_zoo import list_models

CONTENT = b"not really weights"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty cache, and no network."""
    monkeypatch.setenv("EHRPOSE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("EHRPOSE_OFFLINE", "1")
    monkeypatch.delenv("EHRPOSE_DEBUG", raising=False)
    return tmp_path / "home"


@pytest.fixture
def folder(home, tmp_path, monkeypatch):
    """The folder of the model ``mine`` in the cache, with its file, of a zoo with that one model."""
    (tmp_path / "model-index.yml").write_text("Import: [metafile.yml]\n")
    (tmp_path / "metafile.yml").write_text(
        "Models:\n  - {Name: mine_coco-512, Alias: [mine], Config: a.py, Weights: 'https://a.invalid/a.pth', "
        f"Remote: {{SHA256: {hashlib.sha256(CONTENT).hexdigest()}, Bytes: {len(CONTENT)}}}}}\n"
    )
    monkeypatch.setattr("ehrpose.model_zoo.zoo_root", lambda: tmp_path)
    found = home / "models/mine_coco-512"
    found.mkdir(parents=True)
    (found / "a.pth").write_bytes(CONTENT)
    return found


def told(capsys, *words, code=None):
    """Return stdout, or stderr if the command is to fail."""
    if code is None:
        ehrpose(["models", *words])
        return capsys.readouterr().out
    with pytest.raises(SystemExit) as exit_:
        ehrpose(["models", *words])
    assert exit_.value.code == code
    return capsys.readouterr().err


def test_the_list_has_every_model_and_where_it_is(home, capsys):
    lines = told(capsys).splitlines()
    by_name = {line.split()[0]: line for line in lines if line}
    for model in list_models():
        assert model.short_name in by_name
    assert by_name["ehrnet-small"].endswith("included")
    assert "0.2612" in by_name["ehrnet-small"]
    assert by_name["h-4"].endswith("no weights")
    assert by_name["litepose-l"].endswith("MIT         by hand")
    assert "115.2 MB" in by_name["higherhrnet-w32-official"]
    assert "0.677" in by_name["higherhrnet-w32"]
    assert by_name["higherhrnet-w32"].endswith("Apache-2.0  not fetched")
    assert f"cache: {home}" in lines
    assert not home.exists()  # looking changes nothing


def test_the_list_as_json(home, capsys):
    content = json.loads(told(capsys, "--json"))
    assert content["cache"] == str(home)
    rows = {row["name"]: row for row in content["models"]}
    assert rows["omz-hpe-0007"]["bytes"] == 850306 + 32601720
    assert rows["omz-hpe-0007"]["published"][0]["AP"] == 54.3
    assert rows["omz-hpe-0007"]["config"] is None
    assert rows["ehrnet-small"]["state"] == "included"


def test_states_of_the_cache(folder, capsys):
    assert "  fetched" in told(capsys)
    (folder / "a.pth").rename(folder / "a.pth.part")
    assert "partly fetched, 0 MB" in told(capsys)
    assert told(capsys, "remove", "mine", "mine_coco-512") == "mine: removed\n"
    assert not folder.exists()
    assert told(capsys, "remove", "mine") == "mine: nothing was kept\n"
    assert "not fetched" in told(capsys)


def test_verify_names_what_is_damaged(folder, capsys):
    assert told(capsys, "verify") == "mine: good\n"
    (folder / "a.pth").write_bytes(CONTENT[:-1] + b"x")
    lines = told(capsys, "verify", "mine", code=2).splitlines()
    assert lines[0].startswith(f"mine: {folder}/a.pth has SHA-256")
    assert lines[1].startswith("error: 1 of the models are damaged or missing")


def test_included_weights_are_verified_and_not_removed(home, capsys):
    assert "ehrnet-small: good" in told(capsys, "verify")
    assert "ehrnet-small: included, " in told(capsys, "fetch", "ehrnet-small")
    assert "ehrnet-small: only fetched weights can be removed" in told(
        capsys, "remove", "ehrnet-small", code=2
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fetch"], "error: fetch needs the names of models"),
        (["remove"], "error: remove needs the names of models"),
        (["list", "h-4"], "error: list takes no names, got h-4"),
        (["fetch", "../../x"], "no config file or zoo model named '../../x'"),
        (["remove", "../models"], "no config file or zoo model named '../models'"),
        (["fetch", "higherhrnet-w31"], "did you mean higherhrnet-w32"),
        (
            ["fetch", "litepose-s"],
            "get the file yourself, as no hash of it is published (https://drive.google.com",
        ),
        (["fetch", "h-4"], "has no weights: give a checkpoint, or train"),
        (
            ["fetch", "higherhrnet-w32"],
            "EHRPOSE_OFFLINE forbids to fetch it; by hand: get higher_hrnet32_coco_512",
        ),
        (
            ["fetch", "omz-hpe-0007"],
            "and human-pose-estimation-0007.bin from https://storage.openvinotoolkit.org",
        ),
    ],
)
def test_mistakes_are_one_line(home, capsys, words, message):
    line = told(capsys, *words, code=2)
    assert message in line
    assert line.count("\n") == 1
    assert not home.exists() or list((home / "models").iterdir())  # at most an empty lock


def test_predict_takes_such_names(home, capsys, scene_photos):
    for name in ("higherhrnet-w32", "omz-hpe-0007"):
        with pytest.raises(SystemExit) as exit_:
            ehrpose(["predict", str(scene_photos / "0.png"), "--model", name, "--out-dir", str(home)])
        assert exit_.value.code == 2
        assert f"error: {name} is not in the cache, and EHRPOSE_OFFLINE forbids" in capsys.readouterr().err


def test_without_torch_models_are_listed_and_files_fetched(folder):
    root = Path(__file__).resolve().parents[2]
    code = (
        "import sys; sys.modules.update(torch=None, mmcv=None); import ehrpose.model_zoo; from pathlib import Path\n"
        f"ehrpose.model_zoo.zoo_root = lambda: Path({str(folder.parents[2])!r})\n"
        "from ehrpose.__main__ import main; main(['models']); main(['models', 'fetch', 'mine'])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert f"mine: {folder}/a.pth; its first use converts it, which needs torch" in done.stdout
