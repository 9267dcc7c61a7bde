"""Try the engines that are not in the test environment, each in an environment of its own on top of it.

Their converters want packages that clash with each other, and install gigabytes. The sections of
requirements/engines.txt are the environments; a section without packages of its own says why in its comment. The
converters in ALONE clash with the test environment too: the tests run in that, and start the converter in its own.

Usage: PIP_ARGS="..." python .ci/test_engines.py VENV [ENGINE ...]
"""

import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIST = ROOT / "requirements" / "engines.txt"
# Engine to the variable that names its converter's Python.
ALONE = {"rknn": "EHRPOSE_RKNN_PYTHON"}


def sections() -> dict[str, list[str]]:
    """Return the pinned requirements of each engine."""
    found: dict[str, list[str]] = {}
    for line in LIST.read_text(encoding="utf-8").splitlines():
        header = re.fullmatch(r"# \[(\w+)\]", line.strip())
        if header:
            found[header[1]] = []
        elif line.strip() and not line.startswith("#"):
            found[list(found)[-1]].append(line.split(" #")[0].strip())
    return found


def environment(venv: Path, engine: str, packages: list[str]) -> Path:
    """Return the Python of the engine's environment, made now unless it is there with these packages."""
    folder = venv.with_name(f"{venv.name}-{engine}")
    python, stamp = folder / "bin" / "python", folder / "installed.txt"
    if stamp.is_file() and stamp.read_text(encoding="utf-8").splitlines() == packages:
        return python
    subprocess.run([venv / "bin" / "python", "-m", "venv", "--clear", folder], check=True)
    (own,) = (folder / "lib").glob("python*/site-packages")
    (base,) = (venv / "lib").glob("python*/site-packages")
    if engine not in ALONE:
        # Behind the environment's own packages: what is there is not installed again.
        (own / "below.pth").write_text(f"{base.resolve()}\n", encoding="utf-8")
    pip = [python, "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    subprocess.run([*pip, *shlex.split(os.environ.get("PIP_ARGS", "")), *packages], check=True)
    stamp.write_text("\n".join(packages) + "\n", encoding="utf-8")
    return python


def main() -> None:
    """Install and test; exit code 1 if an engine fails."""
    venv, known = Path(sys.argv[1]), sections()
    wanted = sys.argv[2:] or list(known)
    unknown = sorted(set(wanted) - set(known))
    if unknown:
        sys.exit(f"expected engines of {', '.join(known)}, got {', '.join(unknown)}")
    failed = []
    for engine in wanted:
        start = time.monotonic()
        python = environment(venv, engine, known[engine])
        env = {**os.environ, "EHRPOSE_ENGINE": engine}
        if engine in ALONE:
            env[ALONE[engine]], python = str(python.absolute()), venv / "bin" / "python"
        tests = [python, "-m", "pytest", "-q", "tests/engines", "-p", "no:cacheprovider"]
        if subprocess.run(tests, cwd=ROOT, env=env).returncode:
            failed.append(engine)
        print(f"{engine}: {time.monotonic() - start:.0f} s", flush=True)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
