from __future__ import annotations

import getpass
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from ehrpose.__main__ import COMMANDS, main


def run(root, *words, **env):
    """Run the command as its users do, in its own process."""
    settings = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", **env}
    return subprocess.run(
        [sys.executable, "-m", "ehrpose", *words],
        capture_output=True,
        text=True,
        timeout=300,
        env=settings,
        check=False,
    )


def test_help_lists_the_commands(root):
    done = run(root, "--help")
    assert done.returncode == 0
    assert all(f"{name} " in done.stdout or f"{name}\n" in done.stdout for name in COMMANDS)
    bare = run(root)
    assert (bare.returncode, bare.stdout) == (0, done.stdout)
    assert "no command 'trian'; did you mean train?" in run(root, "trian").stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_loads_nothing_heavy(root, name):
    code = (
        f"import sys; sys.argv = ['ehrpose', {name!r}, '--help']\nfrom ehrpose.__main__ import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "assert not {'torch', 'mmengine', 'cv2', 'numpy'} & set(sys.modules), sorted(sys.modules)"
    )
    env = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr
    assert f"usage: ehrpose {name}" in done.stdout


@pytest.mark.parametrize(
    ("name", "script"),
    [
        ("train", "tools/train.py"),
        ("test", "tools/test.py"),
        ("deploy", "tools/deploy.py"),
        ("benchmark", "tools/analysis_tools/benchmark.py"),
    ],
)
def test_a_command_takes_what_its_script_takes(root, name, script):
    told = subprocess.run(
        [sys.executable, str(root / script), "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    ).stdout
    from_command = run(root, name, "--help").stdout
    parts = [text[text.index("positional arguments:") :].split() for text in (told, from_command)]
    assert parts[0] == parts[1]


def test_mistakes_end_in_one_line(tmp_path, capsys, monkeypatch):
    missing = ["train", str(tmp_path / "missing.py")]
    with pytest.raises(SystemExit) as exit_:
        main(missing)
    assert exit_.value.code == 2
    assert capsys.readouterr().err.startswith("error: config file not found")
    with pytest.raises(SystemExit):
        main(["test", "a.py", "b.pth", "--cfg-options", "phi"])
    assert "expected KEY=VALUE, got 'phi'" in capsys.readouterr().err
    monkeypatch.setenv("EHRPOSE_DEBUG", "1")
    with pytest.raises(FileNotFoundError):
        main(missing)


def test_options_reach_the_script_s_function(monkeypatch):
    seen = []
    monkeypatch.setattr("ehrpose.commands.test.run", lambda args: seen.append(args))
    main(
        [
            "test",
            "a.py",
            "b.pth",
            "--no-flip-test",
            "--cfg-options",
            "phi=-3",
            "codec.input_size=64",
            "c=[1,2]",
        ]
    )
    assert (seen[0].config, seen[0].checkpoint, seen[0].flip_test) == ("a.py", "b.pth", False)
    # As typed: what they mean depends on the config.
    assert seen[0].cfg_options == {"phi": "-3", "codec.input_size": "64", "c": "[1,2]"}


def test_info_names_versions_and_neither_paths_nor_users(capsys):
    main(["info"])
    text = capsys.readouterr().out
    for wanted in ("ehrpose ", "python ", "numpy ", "torch ", "backends ", platform.python_version()):
        assert wanted in text
    for secret in (str(Path.home()), os.getcwd(), sys.prefix, platform.node()):
        assert len(secret) < 3 or secret not in text
    assert getpass.getuser() not in text.split()
    assert not [word for word in text.split() if word.startswith("/")]
    assert "ehrnet-small (small_coco-320), ehrnet-medium (medium_coco-384)" in text  # as in the README
    main(["info", "--json"])
    assert set(json.loads(capsys.readouterr().out)) >= {
        "ehrpose",
        "system",
        "cuda devices",
        "models with weights",
    }


def test_info_works_without_anything_installed(root):
    code = (
        "import sys; sys.modules.update(torch=None, cv2=None, numpy=None, mmengine=None, yaml=None)\n"
        "from ehrpose.__main__ import main; main(['info', '--json'])"
    )
    env = {**os.environ, "PYTHONPATH": str(root), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr
    info = json.loads(done.stdout)
    assert info["ffmpeg"] == "not on the PATH"
    assert "torch" not in info["backends"]


def test_the_shell_completes_commands_options_and_choices(root, tmp_path):
    pytest.importorskip("argcomplete")

    def complete(line):
        found = tmp_path / "found"
        run(root, _ARGCOMPLETE="1", COMP_LINE=line, COMP_POINT=str(len(line)), _ARGCOMPLETE_IFS="\n",
            _ARGCOMPLETE_STDOUT_FILENAME=str(found))  # fmt: skip
        return {word.strip() for word in found.read_text().split("\n")}

    assert complete("ehrpose de") == {"deploy"}
    assert {"--max-frames", "--mode"} <= complete("ehrpose predict --m")
    assert complete("ehrpose deploy a b --precision b") == {"bf16"}
