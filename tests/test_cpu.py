"""Cores that a container really has."""

from __future__ import annotations

import os

import pytest

from ehrpose.cpu import available_cores, cpu_quota


def write(root, name, text):
    path = root / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="ascii")


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, None),
        ({"cpu.max": "max 100000"}, None),
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "broken"}, None),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 0.5),
        ({"cpu/cpu.cfs_quota_us": "50000\n"}, None),
    ],
)
def test_both_versions_of_control_groups_are_read(tmp_path, monkeypatch, files, quota):
    for name, text in files.items():
        write(tmp_path, name, text)
    assert cpu_quota(tmp_path) == quota
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert available_cores(tmp_path) == {None: 8, 1.5: 2, 0.5: 1}[quota]
