"""make audit: what fails, what is only printed, and that a missing network never fails."""

from __future__ import annotations

import importlib.util
import json

import pytest


@pytest.fixture(scope="module")
def judge(root):
    spec = importlib.util.spec_from_file_location("audit", root / ".ci/audit.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.judge


def report(*packages):
    return json.dumps({"dependencies": packages, "fixes": []})


def package(name, *vulnerabilities):
    return {"name": name, "version": "1.0", "vulns": list(vulnerabilities)}


UNKNOWN = {"name": "ours", "skip_reason": "Dependency not found on PyPI and could not be audited: ours (1.0)"}


@pytest.mark.parametrize(
    ("output", "errors", "reason"),
    [
        ("", "Traceback\n  ...\nConnectionError: no route\n", "ConnectionError: no route"),
        ("", "", "no answer"),
        ("<html>", "a proxy's page", "a proxy's page"),
        (report(UNKNOWN, UNKNOWN), "", "the service knows none of 2 packages (Dependency not found"),
        (report(), "", "no packages"),
    ],
)
def test_without_an_answer_the_audit_is_skipped_with_one_line(judge, output, errors, reason):
    lines, fails = judge(output, errors)
    assert not fails
    assert len(lines) == 1
    assert lines[0].startswith("audit skipped: ")
    assert reason in lines[0]


def test_only_a_vulnerability_with_a_fix_fails(judge):
    fixed, unfixed = {"id": "A-1", "fix_versions": ["1.1"]}, {"id": "B-2", "fix_versions": []}
    assert judge(report(package("a"), UNKNOWN), "") == (
        ["audit: 1 packages, 1 unknown, 0 vulnerabilities"],
        False,
    )
    lines, fails = judge(report(package("a", unfixed)), "")
    assert (lines[0], fails) == ("a 1.0: B-2, no fix", False)
    lines, fails = judge(report(package("a", fixed, unfixed)), "")
    assert (lines[0], fails) == ("a 1.0: A-1, fixed in 1.1", True)
    assert lines[-1] == "audit: 1 packages, 2 vulnerabilities"
