"""Threads that the command line sets up: a container's share, short waits, and the user's own wishes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from ehrpose import threads
from ehrpose.machine_info import threads_in_use
from ehrpose.threads import default_threads, prepare_process, spins_long, wait_policy


@pytest.fixture
def machine(monkeypatch):
    """Return a function that sets the cores of the machine, those that the process may use, and the load."""

    def set_cores(all_cores, usable, load=0.1):
        monkeypatch.setattr(threads, "load_average", lambda: load)
        monkeypatch.setattr(threads, "machine_cores", lambda: all_cores)
        monkeypatch.setattr(threads, "available_cores", lambda: usable)

    return set_cores


def test_a_whole_machine_keeps_the_libraries_own_numbers(machine):
    machine(8, 8)
    env = {}
    prepare_process(env)
    assert env == {"GOMP_SPINCOUNT": "3000"}


@pytest.mark.parametrize(("load", "sleeps"), [(0.9, False), (1.1, True), (None, False)])
def test_threads_that_cannot_spin_briefly_sleep_on_a_busy_machine(machine, load, sleeps):
    machine(2, 2, load)
    env = {}
    prepare_process(env)
    assert env == {"GOMP_SPINCOUNT": "3000", **({"KMP_BLOCKTIME": "0"} if sleeps else {})}


def test_a_containers_share_is_the_number_of_threads(machine):
    machine(64, 2)
    env = {}
    prepare_process(env)
    assert env == {
        "GOMP_SPINCOUNT": "3000", "KMP_BLOCKTIME": "0", "OMP_NUM_THREADS": "2", "OPENCV_FOR_THREADS_NUM": "2",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "changed"),
    [
        ({"OMP_WAIT_POLICY": "active"}, {"OMP_NUM_THREADS"}),
        ({"GOMP_SPINCOUNT": "100"}, {"OMP_NUM_THREADS"}),
        ({"KMP_BLOCKTIME": "200"}, {"OMP_NUM_THREADS"}),
        ({"OMP_NUM_THREADS": "7"}, {"GOMP_SPINCOUNT", "KMP_BLOCKTIME"}),
        ({"MKL_NUM_THREADS": "7"}, {"GOMP_SPINCOUNT", "KMP_BLOCKTIME"}),
        ({"OPENCV_FOR_THREADS_NUM": "7"}, {"GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OMP_NUM_THREADS"}),
    ],
)
def test_what_the_user_has_set_stays(machine, given, changed):
    machine(64, 2)
    env = dict(given)
    prepare_process(env)
    assert {name: env[name] for name in given} == given
    assert set(env) - set(given) - {"OPENCV_FOR_THREADS_NUM"} == changed


@pytest.mark.parametrize(
    ("value", "cores", "expected"),
    [
        ("3", (8, 8), 3),
        ("4,2", (8, 8), 4),
        ("", (8, 8), None),
        ("0", (8, 2), 2),
        ("many", (8, 2), 2),
        (None, (8, 2), 2),
    ],
)
def test_threads_of_libraries_that_do_not_ask_openmp(machine, monkeypatch, value, cores, expected):
    machine(*cores)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if value is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert default_threads() == expected


def test_the_policy_is_one_of_openmps(monkeypatch):
    for value, expected in (("passive", "passive"), (" ACTIVE", "active"), ("", ""), ("sometimes", "")):
        monkeypatch.setenv("OMP_WAIT_POLICY", value)
        assert wait_policy() == expected


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, True),
        ({"OMP_WAIT_POLICY": "passive"}, False),
        ({"OMP_WAIT_POLICY": "active", "GOMP_SPINCOUNT": "0"}, True),
        ({"GOMP_SPINCOUNT": "3000"}, False),
        ({"GOMP_SPINCOUNT": "300000"}, True),
        ({"GOMP_SPINCOUNT": "infinity"}, True),
    ],
)
def test_threads_that_spin_for_milliseconds(monkeypatch, settings, expected):
    for name in threads.SETTINGS:
        monkeypatch.delenv(name, raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert spins_long() is expected


def run(root, code, **settings):
    kept = {name: value for name, value in os.environ.items() if name not in threads.SETTINGS}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**kept, "PYTHONPATH": str(root), **settings},
        capture_output=True, text=True, check=True, cwd=root,
    )  # fmt: skip
    return done.stdout.split()


def test_importing_the_library_sets_nothing(root):
    pytest.importorskip("torch")
    code = (
        "import os; from ehrpose.threads import SETTINGS\n"
        "import ehrpose, ehrpose.cli, ehrpose.__main__, ehrpose.apis, ehrpose.engine, ehrpose.inferencers\n"
        "print(*[name for name in SETTINGS if name in os.environ])"
    )
    assert run(root, code, OMP_NUM_THREADS="1") == ["OMP_NUM_THREADS"]


def test_a_command_sets_them_up_for_itself_and_its_processes(root):
    code = (
        "import os, subprocess, sys\nfrom ehrpose.cli import run_cli\n"
        "show = \"import os; print(os.environ.get('GOMP_SPINCOUNT'))\"\n"
        "run_cli(lambda: subprocess.run([sys.executable, '-c', show], check=True))"
    )
    assert run(root, code) == ["3000"]
    assert run(root, code, OMP_WAIT_POLICY="active") == ["None"]


def test_info_says_what_decides_about_threads(monkeypatch):
    monkeypatch.setattr("ehrpose.machine_info.available_cores", lambda: 3)
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert threads_in_use() == "3 cores may be used, OMP_NUM_THREADS not set, OMP_WAIT_POLICY passive"


def test_no_script_loads_torch_before_its_threads_are_set_up(root):
    code = """
import runpy, sys
from pathlib import Path
import ehrpose.__main__, ehrpose.web.server
# It draws with NumPy; its data set is one of MMEngine's, which loads torch.
DRAWS = "synthetic_to_coco.py"
scripts = sorted([*Path("demo").glob("*.py"), *Path("tools").rglob("*.py")])
for name in (None, *scripts):
    if name is not None and name.name != DRAWS and "run_c" in name.read_text():
        runpy.run_path(str(name))
    if "torch" in sys.modules:
        print(name)
        break
else:
    print("none of", len(scripts))
"""
    found = run(root, code)
    assert found[:2] == ["none", "of"]
    assert int(found[2]) > 30
