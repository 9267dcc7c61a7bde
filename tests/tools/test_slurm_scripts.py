"""The Slurm scripts with stand-ins for srun and scontrol, which start the processes here, as a cluster would."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import pytest

SRUN = """#!{python}
import json, os, subprocess, sys
words = sys.argv[1:]
start = words.index({python!r})
json.dump(words[:start], open("srun.json", "w"))
print("srun", *words[start:], flush=True)
if "FAIL_ONCE" in os.environ and not os.path.exists("failed"):
    open("failed", "w").close()
    sys.exit(1)
number = int(next(w for w in words if w.startswith("--ntasks=")).split("=")[1])
tasks = [subprocess.Popen(words[start:], env=dict(os.environ, SLURM_PROCID=str(rank), SLURM_NTASKS=str(number),
         SLURM_LOCALID=str(rank), SLURM_NODELIST="node[1-2]")) for rank in range(number)]
sys.exit(max(task.wait() for task in tasks))
"""
SBATCH = """#!{python}
import json, os, subprocess, sys
words = sys.argv[1:]
json.dump(words, open("sbatch.json", "w"))
first, last = map(int, next((w for w in words if w.startswith("--array=")), "=1-1").split("=")[1].split("-"))
job = dict(os.environ, SLURM_JOB_ID="77", SLURM_NODELIST="node[1-2]")
codes = [subprocess.run(["sh", "-c", words[-1]], env=dict(job, SLURM_ARRAY_TASK_ID=str(task))).returncode
         for task in range(first, last + 1)]
sys.exit(max(codes))
"""
SCONTROL = """#!/bin/sh
[ "$*" = "show hostname node[1-2]" ] && printf 'localhost\\nnode2\\n'
"""


@pytest.fixture
def cluster(root, tmp_path):
    """Run a script of tools/ with two processes; return the finished process."""
    commands = tmp_path / "bin"
    commands.mkdir()
    python = sys.executable
    programs = {
        "srun": SRUN.format(python=python),
        "sbatch": SBATCH.format(python=python),
        "scontrol": SCONTROL,
    }
    for name, text in programs.items():
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])

    def run(script, *words, **environment):
        places = os.pathsep.join([str(root), str(root / "tests/engine")])
        settings = {
            **{
                "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
                "PYTHONPATH": places,
                "PYTHON": sys.executable,
            },
            **{"GPUS": "2", "GPUS_PER_NODE": "1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1", "PORT": port},
            **environment,
        }
        return subprocess.run(
            ["bash", str(root / "tools" / script), *words],
            cwd=tmp_path, env={**os.environ, **settings}, capture_output=True, text=True, check=False, timeout=240,
        )  # fmt: skip

    return run


@pytest.fixture
def toy_config(root, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(root / "tests/engine"))
    import toy_parts

    cfg = toy_parts.toy_config(tmp_path / "unused", max_epochs=1)
    cfg.pop("work_dir")
    cfg.custom_imports = {"imports": ["toy_parts"]}
    cfg.dump(str(tmp_path / "toy.py"))
    return "toy.py"


@pytest.mark.slow
def test_training_and_testing_on_two_tasks(cluster, toy_config, tmp_path):
    result = cluster(
        "slurm_train.sh",
        "gpu",
        "pose",
        toy_config,
        "run",
        SRUN_ARGS="--time=1:00 --qos=low",
        CPUS_PER_TASK="3",
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert json.loads((tmp_path / "srun.json").read_text()) == [
        *("-p", "gpu", "--job-name=pose", "--ntasks=2", "--ntasks-per-node=1", "--gres=gpu:1"),
        *("--cpus-per-task=3", "--kill-on-bad-exit=1", "--time=1:00", "--qos=low"),
    ]
    assert (tmp_path / "run/epoch_1.pth").is_file()
    result = cluster("slurm_test.sh", "gpu", "pose", toy_config, "run/epoch_1.pth", "--dump", "all.pkl")
    assert result.returncode == 0, result.stderr[-2000:]
    assert (tmp_path / "all.pkl").is_file()


@pytest.mark.slow
def test_agents_that_ended_are_started_again_on_two_nodes(cluster, toy_config, tmp_path):
    words = ("gpu", "pose", toy_config, "my run", "--amp")
    result = cluster("slurm_torchrun.sh", *words, CPUS_PER_TASK="3", RESTARTS="1", FAIL_ONCE="1")
    assert result.returncode == 0, result.stderr[-2000:]
    assert json.loads((tmp_path / "sbatch.json").read_text())[:-2] == [
        *(
            "-p",
            "gpu",
            "--job-name=pose",
            "--nodes=2",
            "--ntasks-per-node=1",
            "--gres=gpu:1",
            "--cpus-per-task=3",
        ),
        *("--requeue", "--open-mode=append"),
    ]
    assert json.loads((tmp_path / "srun.json").read_text()) == [
        *("--ntasks=2", "--ntasks-per-node=1", "--cpus-per-task=3", "--kill-on-bad-exit=1"),
    ]
    lines = [line.split() for line in result.stdout.splitlines() if line.startswith("srun")]
    assert [word for line in lines for word in line if word.startswith("--rdzv-id")] == [
        "--rdzv-id=77.0",
        "--rdzv-id=77.1",
    ]
    assert any(word.startswith("--rdzv-endpoint=localhost:") for word in lines[1])
    assert lines[1][-2:] == ["--resume", "--amp"]
    assert (tmp_path / "my run/epoch_1.pth").is_file()


@pytest.mark.slow
def test_an_array_of_tasks_does_all_photos(cluster, scene_photos, exported_small, tmp_path):
    scene_photos.rename(tmp_path / "my photos")
    words = [
        "cpu",
        "pose",
        "my out",
        "my photos",
        "--model",
        str(exported_small().path),
        "--item-photos",
        "1",
    ]
    result = cluster("slurm_batch.sh", *words, "--format", "jsonl", TASKS="3", SBATCH_ARGS="--time=1:00")
    assert result.returncode == 0, result.stderr[-2000:]
    given = json.loads((tmp_path / "sbatch.json").read_text())
    assert given[:6] == ["-p", "cpu", "--job-name=pose", "--array=1-3", "--cpus-per-task=4", "--requeue"]
    assert given[6:8] == ["--time=1:00", "--wrap"]
    assert result.stdout.count("1 of 1 item done") == 3
    assert len((tmp_path / "my out/table.jsonl").read_text().splitlines()) == 3


@pytest.mark.parametrize("script", ["slurm_train.sh", "slurm_test.sh", "slurm_batch.sh", "slurm_torchrun.sh"])
def test_too_few_words_show_the_usage(cluster, script):
    result = cluster(script, "gpu", "pose")
    assert result.returncode == 2
    assert "usage:" in result.stderr


def test_a_mistake_ends_the_job(cluster, toy_config):
    result = cluster("slurm_test.sh", "gpu", "pose", toy_config, "absent.pth")
    assert result.returncode == 2
    assert "checkpoint not found: absent.pth" in result.stderr
