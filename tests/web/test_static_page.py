"""The page without a server: what is written, and what is refused."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import sys
import tarfile
from pathlib import Path

import pytest
from js_decoder import BROWSER

from ehrpose.deploy.sidecar import DeployError
from ehrpose.files import WriteError
from ehrpose.model_zoo import find_model
from ehrpose.web import static_page
from ehrpose.web.server import serve
from ehrpose.web.static_page import ORT_FILES, ORT_PACKAGE, write_page


@pytest.fixture
def ort(tmp_path, monkeypatch):
    """Small files in place of ONNX Runtime Web's, laid out as in its package."""
    folder = tmp_path / "package" / "dist"
    folder.mkdir(parents=True)
    for name in ORT_FILES:
        (folder / name).write_text(f"// {name}", encoding="utf-8")
    hashes = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in ORT_FILES}
    monkeypatch.setattr(static_page, "ORT_FILES", hashes)
    return tmp_path / "package"


def test_all_files_of_the_page_are_written(tmp_path, ort, capsys):
    folder = tmp_path / "new" / "page"
    serve(["--static", str(folder), "--ort-dir", str(ort), "--model", "mine=ehrnet-small"])
    assert "mine" in capsys.readouterr().out
    content = json.loads((folder / "models.json").read_text(encoding="utf-8"))
    (model,) = content["models"]
    network = find_model("ehrnet-small").network
    assert model["name"] == "mine"
    assert (folder / model["network"]).read_bytes() == network.read_bytes()
    assert (folder / model["sidecar"]).read_bytes() == network.with_suffix(".onnx.json").read_bytes()
    (external,) = model["external"]
    assert external["path"] == network.with_suffix(".pth").name
    assert (folder / external["file"]).read_bytes() == network.with_suffix(".pth").read_bytes()
    for name in ORT_FILES:
        assert (folder / "ort" / name).read_text(encoding="utf-8") == f"// {name}"
    assert "MIT License" in (folder / "ort" / "LICENSE.txt").read_text(encoding="utf-8")
    assert sorted(path.name for path in folder.parent.iterdir()) == ["page"]


def test_what_the_page_loads_is_there(tmp_path, ort):
    """Every file that the scripts and the HTML name exists, and none is from elsewhere."""
    import re

    write_page(tmp_path / "page", ["ehrnet-small"], ort)
    for path in [*(tmp_path / "page").glob("*.mjs"), *(tmp_path / "page").glob("*.html")]:
        text = path.read_text(encoding="utf-8")
        assert not re.findall(r"(?:https?|wss?)://[a-z]", text.replace("https:// addresses", "")), path
        for name in re.findall(r"(?:from|href=|src=|import) ?\"(?:\./)?([\w./-]+)\"", text):
            assert (tmp_path / "page" / name).is_file(), (path.name, name)


def test_the_policy_allows_the_pages_own_files_alone():
    text = (BROWSER / "index.html").read_text(encoding="utf-8")
    policy = text.split('http-equiv="Content-Security-Policy" content="')[1].split('"')[0]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["connect-src"] == "'self'"
    allowed = {"'self'", "'none'", "blob:", "'wasm-unsafe-eval'"}
    assert {source for sources in rules.values() for source in sources.split()} <= allowed
    assert "<script>" not in text
    assert "style=" not in text


def test_a_renamed_network_keeps_the_name_of_its_weights(tmp_path, ort):
    network = find_model("ehrnet-small").network
    for suffix in (".onnx", ".onnx.json", ".pth"):
        (tmp_path / f"other{suffix}").write_bytes(network.with_suffix(suffix).read_bytes())
    write_page(tmp_path / "page", [str(tmp_path / "other.onnx")], ort)
    (model,) = json.loads((tmp_path / "page" / "models.json").read_text(encoding="utf-8"))["models"]
    assert model["external"][0]["path"] == network.with_suffix(".pth").name


def test_a_folder_with_files_is_left_alone(tmp_path, ort):
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(FileExistsError, match="expected a new or an empty folder"):
        write_page(tmp_path / "page", ["ehrnet-small"], ort)
    assert [path.name for path in (tmp_path / "page").iterdir()] == ["mine.txt"]
    (tmp_path / "page" / "mine.txt").unlink()
    assert write_page(tmp_path / "page", ["ehrnet-small"], ort) == ["ehrnet-small"]


def test_nothing_is_left_of_a_failed_page(tmp_path, ort, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(static_page, "_copy_models", full)
    with pytest.raises(WriteError, match="page could not be written"):
        write_page(tmp_path / "page", ["ehrnet-small"], ort)
    assert [path.name for path in tmp_path.iterdir()] == ["package"]


def exported(folder, **changes):
    """Write a copy of the tiny network with a changed sidecar; return its path."""
    source = Path(__file__).resolve().parents[1] / "data/tiny_network.onnx"
    content = json.loads(source.with_name(f"{source.name}.json").read_text(encoding="utf-8"))
    content.update(changes)
    path = folder / source.name
    path.write_bytes(source.read_bytes())
    path.with_name(f"{path.name}.json").write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backend": "openvino"}, "backend 'onnxruntime'"),
        ({"codec": {"type": "PartAffinity"}}, "'AssociativeEmbedding'"),
    ],
)
def test_networks_that_the_page_cannot_run_are_refused(tmp_path, ort, changes, message):
    with pytest.raises(DeployError, match=message):
        write_page(tmp_path / "page", [str(exported(tmp_path, **changes))], ort)
    assert not (tmp_path / "page").exists()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("end2end.xml", r"runs \.onnx files only"),
        ("configs/ehrnet/small_coco-320.py:a.pth", "is a config"),
        ("no-such-model", "no config file or zoo model"),
        ("h0_coco-512", r"no \.onnx beside"),
    ],
)
def test_models_without_a_network_are_refused(tmp_path, ort, model, message):
    with pytest.raises(ValueError, match=message):
        write_page(tmp_path / "page", [model], ort)


def test_two_models_of_one_name_are_refused(tmp_path, ort):
    with pytest.raises(ValueError, match="two models are named 'ehrnet-small'"):
        write_page(tmp_path / "page", ["ehrnet-small", "ehrnet-small"], ort)


def test_another_version_of_onnxruntime_web_is_refused(tmp_path, ort):
    changed = ort / "dist" / next(iter(ORT_FILES))
    changed.write_text("// another", encoding="utf-8")
    with pytest.raises(ValueError, match=f"as in the npm package {ORT_PACKAGE}"):
        write_page(tmp_path / "page", ["ehrnet-small"], ort)
    changed.unlink()
    with pytest.raises(FileNotFoundError, match="not found: expected the files of the npm package"):
        write_page(tmp_path / "page", ["ehrnet-small"], ort)
    assert not (tmp_path / "page").exists()


def fake_npm(folder, monkeypatch, script):
    """Put a program called npm first on the path."""
    if os.name == "nt":
        pytest.skip("a shell script")
    folder.mkdir()
    program = folder / "npm"
    program.write_text(f"#!{sys.executable}\nimport shutil, sys\n{script}\n", encoding="utf-8")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("EHRPOSE_OFFLINE", raising=False)


def packed(path, ort, names):
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            content = (ort / "dist" / name).read_bytes()
            member = tarfile.TarInfo(f"package/dist/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def test_npm_fetches_the_pinned_version(tmp_path, ort, monkeypatch):
    archive = packed(tmp_path / "a.tgz", ort, ORT_FILES)
    script = f"assert sys.argv[1:3] == ['pack', {ORT_PACKAGE!r}]\nshutil.copy({str(archive)!r}, sys.argv[-1])"
    fake_npm(tmp_path / "bin", monkeypatch, script)
    assert write_page(tmp_path / "page", ["ehrnet-small"]) == ["ehrnet-small"]
    assert (tmp_path / "page" / "ort" / "ort.wasm.min.mjs").is_file()


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("sys.exit('npm error 404 Not Found')", "npm error 404 Not Found"),
        ("open(sys.argv[-1] + '/a.tgz', 'w').write('no archive')", "another package"),
        ("", "exit code 0"),
    ],
)
def test_failures_of_npm_say_what_to_do(tmp_path, ort, monkeypatch, script, message):
    fake_npm(tmp_path / "bin", monkeypatch, script)
    with pytest.raises(ValueError, match=f"{message}.*by hand: run `npm pack {ORT_PACKAGE}`"):
        write_page(tmp_path / "page", ["ehrnet-small"])


def test_offline_and_without_npm_nothing_is_fetched(tmp_path, ort, monkeypatch):
    fake_npm(tmp_path / "bin", monkeypatch, "open(sys.argv[-1] + '/touched', 'w')")
    monkeypatch.setenv("EHRPOSE_OFFLINE", "1")
    with pytest.raises(ValueError, match="EHRPOSE_OFFLINE forbids"):
        write_page(tmp_path / "page", ["ehrnet-small"])
    monkeypatch.delenv("EHRPOSE_OFFLINE")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="is not installed; by hand"):
        write_page(tmp_path / "page", ["ehrnet-small"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--ort-dir", "a"], "`ort_dir` belongs to"),
        (["--static", "a", "--stream", "webcam:0"], "`stream` needs the server"),
        (["--static", ""], "got an empty name"),
    ],
)
def test_options_that_do_not_go_together_are_refused(words, message):
    with pytest.raises(ValueError, match=message):
        serve(words)


def test_writing_the_page_needs_neither_torch_nor_the_server():
    import subprocess

    heavy = ("torch", "starlette", "uvicorn", "mmengine")
    script = f"import sys, ehrpose.web.static_page\nprint([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
