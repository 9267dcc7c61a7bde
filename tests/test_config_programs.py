"""Configs are Python files; what only looks like data does not run."""

from __future__ import annotations

import os
import subprocess
import sys

import mmengine
import pytest
import yaml

from ehrpose import model_zoo
from ehrpose.config import load_config, read_config
from ehrpose.keypoint_files import load_keypoints

# Makes a folder when YAML's tags may call functions.
TAG = "model: !!python/object/apply:os.mkdir [{marker!r}]\n"


@pytest.mark.parametrize("read", [load_config, read_config, load_keypoints])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.yaml", TAG),
        ("a.yml", TAG),
        ("a.json", '{{"custom_imports": {{"imports": ["of_marker"]}}, "model": {{}}}}'),
        ("b.json", '{{"_base_": "base.py", "model": {{}}}}'),
    ],
)  # fmt: skip
def test_configs_that_look_like_data_are_refused(tmp_path, monkeypatch, read, name, content):
    marker = tmp_path / "code_ran"
    monkeypatch.syspath_prepend(tmp_path)
    program = f"open({str(marker)!r}, 'w').close()\n"
    for module in ("of_marker.py", "base.py"):
        (tmp_path / module).write_text(program)
    path = tmp_path / name
    path.write_text(content.format(marker=str(marker)))
    with pytest.raises(
        ValueError, match=r"expected a Python file \(\.py\); YAML and JSON configs are not read"
    ):
        read(path)
    assert not marker.exists()


def test_yaml_below_a_python_config_is_plain_data(tmp_path):
    marker, path = tmp_path / "code_ran", tmp_path / "a.py"
    path.write_text("_base_ = 'base.yaml'\nwork_dir = 'here'\n")
    (tmp_path / "base.yaml").write_text("data_root: there\n")
    assert read_config(path).to_dict() == {"data_root": "there", "work_dir": "here"}
    (tmp_path / "base.yaml").write_text(TAG.format(marker=str(marker)))
    with pytest.raises(ValueError, match=r"a\.py cannot be read: ConstructorError"):
        read_config(path)
    with pytest.raises(yaml.YAMLError, match="could not determine a constructor"):
        mmengine.load(tmp_path / "base.yaml")
    assert not marker.exists()


def test_a_config_from_elsewhere_is_named_once(tmp_path, monkeypatch, capsys, demo_config):
    path = tmp_path / "a.py"
    path.write_text("work_dir = 'here'\n")
    read_config(demo_config)
    assert capsys.readouterr().err == ""
    for _ in range(2):
        read_config(path)
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"{path.resolve()} runs as a program: use configs of sources that you trust"
    monkeypatch.setattr(model_zoo, "_NAMED", set())
    monkeypatch.chdir(tmp_path)
    read_config("a.py")
    assert capsys.readouterr().err == ""


def test_reading_runs_it(tmp_path):
    """Which the docs say; a reader who expects data would be surprised."""
    marker, path = tmp_path / "code_ran", tmp_path / "a.py"
    path.write_text(f"open({str(marker)!r}, 'w').close()\n")
    code = f"from ehrpose.config import read_config; read_config({str(path)!r})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr
    assert "runs as a program" in done.stderr
    assert marker.exists()
