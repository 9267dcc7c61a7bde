"""The rules of CONTRIBUTING.md that a machine can check."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # comes with pytest there

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "ehrpose"
MAX_LINES = 350


def expand(patterns: list[str]) -> set[Path]:
    """Return the Python files of patterns with braces, relative to the project; a folder stands for all in it."""
    found: set[Path] = set()
    for pattern in patterns:
        parts = re.split(r"\{(.*)\}", pattern)
        names = (
            [pattern] if len(parts) == 1 else [f"{parts[0]}{name}{parts[2]}" for name in parts[1].split(",")]
        )
        for name in names:
            listed = [[match] if match.is_file() else match.rglob("*.py") for match in ROOT.glob(name)]
            matches = [path for paths in listed for path in paths]
            assert matches, f"pyproject.toml, tool.ehrpose: nothing matches {name!r}"
            found.update(matches)
    return found


HOUSE = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ehrpose"]
# Without torch and on Python 3.8: what a device runs.
RUNTIME_FILES = sorted(expand(HOUSE["torch-free"]) - expand(HOUSE["needs-torch"]))
SCRIPTS = sorted(
    path
    for folder in ("tools", "demo")
    for path in (ROOT / folder).rglob("*.py")
    if path.name != "__init__.py"
)
# Written in halves, so that this file does not break its own rule.
MACHINE_PATHS = ["/wor" + "k/", "/roo" + "t/", "/tm" + "p/bash"]
REGISTRY_HOSTS = ["pypi" + ".org", "pythonhosted" + ".org", "download.py" + "torch.org", "npmjs" + ".org"]


def tracked_files() -> list[Path]:
    """Return what git tracks or would track; without git, what is outside of hidden and generated folders."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listing.returncode == 0:
        paths = [ROOT / os.fsdecode(name) for name in listing.stdout.split(b"\0") if name]
    else:
        skipped = re.compile(r"(^|/)(\.(?!ci|github)[^/]+/|work_dirs/|build/|data/|[^/]*\.egg-info/)")
        paths = [p for p in ROOT.rglob("*") if not skipped.search(p.relative_to(ROOT).as_posix())]
    return [path for path in paths if path.is_file() and not path.is_symlink()]


def run_python(*args: str, timeout: int = 300) -> subprocess.CompletedProcess[str]:
    """Run this interpreter in the project's root, with the project importable."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *args],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_files_are_short():
    lengths = {p: len(p.read_text(encoding="utf-8").splitlines()) for p in PACKAGE.rglob("*.py")}
    assert lengths
    assert {str(p.relative_to(ROOT)): n for p, n in lengths.items() if n > MAX_LINES} == {}


def test_no_file_is_a_box_of_helpers():
    names = [p for p in tracked_files() if re.fullmatch(r"_?(utils?|misc|helpers?)\.py", p.name)]
    assert names == []


def test_no_machine_paths_or_registry_hosts():
    pattern = re.compile("|".join(rf"(?<![\w.]){re.escape(p)}" for p in MACHINE_PATHS) + "|" + "|".join(
        map(re.escape, REGISTRY_HOSTS)
    ))  # fmt: skip
    found = []
    for path in tracked_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {match.group()}" for match in pattern.finditer(text)]
    assert found == []


def test_runtime_part_imports_without_torch():
    modules = [module_name(path) for path in RUNTIME_FILES]
    blocked = "import sys; sys.modules.update(torch=None, torchvision=None, mmcv=None); import importlib\n"
    result = run_python("-c", f"{blocked}for m in {modules}: importlib.import_module(m); print(m)")
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == modules


def test_importing_the_package_is_cheap():
    result = run_python("-c", "import sys, ehrpose; print(*{'torch', 'cv2', 'mmengine'} & set(sys.modules))")
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == []


@pytest.mark.parametrize("path", RUNTIME_FILES, ids=module_name)
def test_runtime_part_is_python_38(path):
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 8))


def test_runtime_part_uses_no_newer_library_features():
    pytest.importorskip("vermin", reason="vermin is in the extra 'tests'")
    run_vermin = "import vermin; vermin.main()"
    result = run_python("-c", run_vermin, "--no-tips", "--violations", "-t=3.8-", *map(str, RUNTIME_FILES))
    assert result.returncode == 0, result.stdout


def test_imports_run_downward():
    pytest.importorskip("importlinter", reason="import-linter is in the extra 'tests'")
    result = run_python(
        "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()", "--no-cache"
    )
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_script_answers_help(path):
    result = run_python(str(path), "--help")
    assert result.returncode == 0, result.stderr
    assert "usage:" in result.stdout


def test_shell_scripts_parse():
    scripts = [ROOT / ".ci" / "run", *(ROOT / "tools").rglob("*.sh")]
    results = {p.name: subprocess.run(["bash", "-n", str(p)], check=False).returncode for p in scripts}
    assert set(results.values()) == {0}, results


def test_version_is_written_once():
    version: dict[str, str] = {}
    exec((PACKAGE / "version.py").read_text(encoding="utf-8"), version)
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"version: {version['__version__']}\n" in citation
    assert f"## {version['__version__']}" in (ROOT / "docs" / "changelog.md").read_text(encoding="utf-8")


def test_tests_do_not_fork_the_process_that_they_run_in():
    """After torch computed in it, which depends on the tests before, a forked process does not train."""
    forks = re.compile(r"os\.fork\(|(get_context|set_start_method)\(\s*[\"']fork")
    found = [p.name for p in (ROOT / "tests").rglob("*.py") if forks.search(p.read_text(encoding="utf-8"))]
    assert found == ["test_forked.py"]  # its forks are in processes of their own


def test_imports_name_modules_that_exist():
    """mypy leaves missing modules out, as most packages have no types; a renamed one of ours would go unnoticed."""
    missing = []
    for folder in ("ehrpose", "tools", "demo", "tests"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom) and not node.level and node.module:
                    names = [node.module]
                elif isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                else:
                    continue
                for name in names:
                    place = ROOT.joinpath(*name.split("."))
                    known = place.with_suffix(".py").is_file() or (place / "__init__.py").is_file()
                    if name.split(".")[0] == "ehrpose" and not known:
                        missing.append(f"{path.relative_to(ROOT)}: {name}")
    assert missing == []


def test_test_files_have_names_of_their_own():
    """pytest imports them by their name alone, so of two the second is an error, depending on the order."""
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []


def test_nothing_is_imported_from_a_conftest():
    """There are several, and the first one that a run has met is taken."""
    rule = re.compile(r"^\s*(from conftest import|import conftest)", re.MULTILINE)
    found = [
        path.name for path in (ROOT / "tests").rglob("*.py") if rule.search(path.read_text(encoding="utf-8"))
    ]
    assert found == []
