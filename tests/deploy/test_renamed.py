"""Files of an exported network under other names."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from ehrpose.deploy import pipeline
from ehrpose.deploy.export.options import ExportOptions
from ehrpose.deploy.pipeline import export
from ehrpose.deploy.runtime import PoseRuntime
from ehrpose.deploy.sidecar import DeployError, read_sidecar, sidecar_path

PHOTO = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)


@pytest.fixture
def small(exported_small):
    """Export the small network and return the path."""
    return lambda **options: exported_small(**options).path


@pytest.fixture
def renamed(tmp_path):
    """Copy a network's files to ``tmp_path`` under another stem, except those of the given suffixes."""

    def run(source, stem="pose", not_renamed=()):
        for path in source.parent.iterdir():
            suffix = path.name[len(source.stem) :]
            shutil.copy(path, tmp_path / (path.name if suffix in not_renamed else stem + suffix))
        return tmp_path / f"{stem}{source.suffix}"

    return run


FORMS = {
    "onnx": {},
    "torch": {
        "backend": "torch",
        "input_wh": (64, 64),
    },  # exported and opened three times as fast as other sizes
    "two files": {"backend": "openvino", "precision": "fp16"},
}


@pytest.mark.parametrize("stem", ["pose", "my model.v2"])
@pytest.mark.parametrize("form", FORMS)
def test_all_files_renamed_run_as_before(small, renamed, form, stem):
    if form == "two files":
        pytest.importorskip("openvino")
    source = small(**FORMS[form])
    path = renamed(source, stem)
    with PoseRuntime(source, trust_pt2=True) as before, PoseRuntime(path, trust_pt2=True) as after:
        np.testing.assert_array_equal(before(PHOTO).keypoints, after(PHOTO).keypoints)


def test_a_renamed_network_of_another_model_is_refused(small, renamed):
    path = renamed(small())
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DeployError, match=r"pose\.onnx is not the file that pose\.onnx\.json describes"):
        PoseRuntime(path)


def test_the_json_alone_not_renamed_is_named(small, renamed):
    path = renamed(small(), not_renamed=[".onnx.json"])
    (path.parent / "other.onnx.json").write_text("[]")
    with pytest.raises(
        FileNotFoundError, match=r"end2end\.onnx\.json describes it, rename that to pose\.onnx\.json"
    ):
        PoseRuntime(path)
    (path.parent / "end2end.onnx.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"pose\.onnx\.json, .* copy it there, or export again"):
        PoseRuntime(path)


def test_one_of_two_files_not_renamed_is_named(small, renamed):
    pytest.importorskip("openvino")
    path = renamed(small(**FORMS["two files"]), not_renamed=[".bin"])
    with pytest.raises(
        FileNotFoundError, match=r"pose\.xml was renamed but end2end\.bin was not: rename that to pose\.bin"
    ):
        PoseRuntime(path)
    (path.parent / "end2end.bin").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"lists it \(as end2end\.bin\): copy it there under the name pose\.bin"
    ):
        PoseRuntime(path)


@pytest.mark.parametrize("form", FORMS)
def test_exports_have_the_name_asked_for(
    small, demo_config, lively_checkpoint, small_options, tmp_path, monkeypatch, form
):
    if form == "two files":
        pytest.importorskip("openvino")
    # The network is the one exported before; only its name is new.
    same = small(**FORMS["torch" if form == "torch" else "onnx"]).read_bytes()
    monkeypatch.setattr(pipeline, "export_torch" if form == "torch" else "_checked_onnx", lambda *_: same)
    options = ExportOptions(**FORMS[form], name="pose.v2")
    path = export(str(demo_config), str(lively_checkpoint), tmp_path, options, (), small_options).path
    names = {file.name for file in path.parent.iterdir()}
    assert path.stem == "pose.v2"
    assert names == {*read_sidecar(path).sha256, sidecar_path(path).name}
    assert all(name.startswith("pose.v2.") for name in names)
    with PoseRuntime(path, trust_pt2=True) as runtime:
        runtime(PHOTO)


@pytest.mark.parametrize(
    "name", ["", "a/b", "a\\b", "..", ".hidden", "a b", "pose.onnx", "pose.json", "a:b", "a\n"]
)
def test_bad_names_are_refused(name):
    with pytest.raises(ValueError, match="expected `name` to be a file name"):
        ExportOptions(name=name)


def test_the_command_passes_the_name_on(demo_config, tmp_path):
    from ehrpose.cli import run_command
    from ehrpose.commands import deploy

    arguments = [
        str(demo_config),
        "none",
        "--input-size",
        "32",
        "--work-dir",
        str(tmp_path),
        "--name",
        "pose",
    ]
    run_command("", deploy, arguments)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pose.onnx", "pose.onnx.json"]
    assert json.loads((tmp_path / "pose.onnx.json").read_text())["sha256"].keys() == {"pose.onnx"}
