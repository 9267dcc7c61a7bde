"""Build the sdist and the wheel, check their contents, and use both in clean environments (make dist)."""

from __future__ import annotations

import argparse
import contextlib
import glob
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RUNTIME_PYTHONS = ("3.8", "3.10", "3.12", "3.13")
NETWORK = ROOT / "tests" / "data" / "tiny_network.onnx"
PROGRAM = ROOT / "tests" / "data" / "typed_program.py"
# setuptools is already installed, with the pip options given to make.
BUILD = (sys.executable, "-m", "build", "--no-isolation", "--outdir")
# Public signatures do not use these; following them would only take time.
MYPY_CONFIG = "[mypy]\nstrict = True\n[mypy-torch.*,mmcv.*,scipy.*]\nfollow_imports = skip\n"
DRAW_NOISE = """
import cv2, numpy, sys
noise = numpy.random.default_rng(3).integers(0, 256, (48, 80, 3)).astype(numpy.uint8)
cv2.imwrite(sys.argv[1], cv2.resize(noise, (320, 192), interpolation=cv2.INTER_CUBIC))
"""
DRAW_PEOPLE = """
import sys
from ehrpose.config import load_config
from ehrpose.datasets.synthetic import SyntheticPeople
from ehrpose.model_zoo import find_model
from ehrpose.visualization.drawing import write_picture
keypoints = load_config(find_model("ehrnet-small").config).keypoints
scenes = SyntheticPeople(keypoints, length=8, image_size=384, num_people=(2, 3))
write_picture(sys.argv[1], scenes.get_data_info(3)["img"])
"""


class CheckError(Exception):
    """A check that failed; the message is one line."""


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--python", default=sys.executable, help="Python for the part with torch, 3.10 or newer"
    )
    parser.add_argument(
        "--runtime-pythons", nargs="*", default=list(RUNTIME_PYTHONS), metavar="PYTHON",
        help="versions or programs for the part without torch; those that are not found are skipped",
    )  # fmt: skip
    parser.add_argument("--pip-args", default="", help="extra arguments of pip install")
    parser.add_argument("--out-dir", default="dist", help="folder for the sdist and the wheel")
    return parser.parse_args(argv)


def main() -> None:
    args = parse_args()
    pip_args = shlex.split(args.pip_args)
    out_dir = Path(args.out_dir).resolve()
    start = time.perf_counter()
    try:
        with tempfile.TemporaryDirectory(prefix="ehrpose-dist-") as folder:
            scratch = Path(folder)
            check_files(out_dir, scratch)
            skipped = check_runtime(built(out_dir), args.runtime_pythons, pip_args, scratch)
            check_training(out_dir, args.python, pip_args, scratch)
    except CheckError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    note = f"; skipped, not found: Python {', '.join(skipped)}" if skipped else ""
    print(f"dist is good ({time.perf_counter() - start:.0f} s){note}")


def run(what: str, *command: str | Path, cwd: Path | None = None) -> str:
    """Return the output of a command; if it fails, raise CheckError with its last line."""
    hidden = ("PYTHONPATH", "MYPYPATH", "PYTHONHOME")
    env = {name: value for name, value in os.environ.items() if name not in hidden}
    result = subprocess.run(
        command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if result.returncode != 0:
        lines = [line for line in result.stdout.splitlines() if line.strip()] or ["no output"]
        print(*lines[-30:-1], sep="\n", file=sys.stderr)
        raise CheckError(f"{what}: {command[0]} exited with {result.returncode}: {lines[-1].strip()}")
    return result.stdout


@contextlib.contextmanager
def step(what: str) -> Iterator[None]:
    """Print a step and how long it took."""
    print(f"{what} ...", end=" ", flush=True)
    start = time.perf_counter()
    try:
        yield
    except CheckError:
        print("failed", flush=True)
        raise
    print(f"{time.perf_counter() - start:.0f} s", flush=True)


def check_files(out_dir: Path, scratch: Path) -> None:
    """Build both, and check metadata, file lists, and that the sdist builds the same wheel as the checkout."""
    checkout, direct = scratch / "checkout", scratch / "direct"
    tracked = copy_tracked(checkout)
    for suffix in (".whl", ".tar.gz", ".cdx.json"):
        for old in out_dir.glob(f"ehrpose-*{suffix}"):
            old.unlink()
    with step("build the sdist, and the wheel from it"):
        run("build", *BUILD, out_dir, checkout)
    with step("build the wheel from the checkout"):
        run("build", *BUILD, direct, "--wheel", checkout)
    wheel, sdist = built(out_dir), built(out_dir, ".tar.gz")
    with step("metadata and file lists"):
        run("metadata", sys.executable, "-m", "twine", "check", "--strict", wheel, sdist)
        run("wheel contents", sys.executable, "-m", "check_wheel_contents", wheel, cwd=ROOT)
        compare("the wheel", packaged(wheel), expected_files(tracked))
        compare("the sdist's wheel", digests(wheel), digests(built(direct)))
    print(*(f"  {path.name}: {path.stat().st_size / 1e6:.1f} MB" for path in (wheel, sdist)), sep="\n")


def copy_tracked(target: Path) -> list[str]:
    """Copy what git tracks or would track, so that no stale build folder is included; return the paths."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=False,
    )  # fmt: skip
    if listing.returncode != 0:
        raise CheckError(f"expected a git checkout at {ROOT}, got: {listing.stderr.decode().strip()}")
    names = [os.fsdecode(name) for name in listing.stdout.split(b"\0") if name]
    names = sorted(name for name in names if (ROOT / name).is_file())
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target / name)
    return names


def expected_files(tracked: list[str]) -> set[str]:
    """Return the files that the wheel must contain: the package, and configs and weights as its zoo."""
    package = {name for name in tracked if name.startswith("ehrpose/")}
    zoo = {f"ehrpose/zoo/{name}" for name in tracked if name.startswith(("configs/", "checkpoints/"))}
    for name in ("ehrpose/py.typed", "ehrpose/deploy/sidecar.schema.json", "ehrpose/web/static/index.html"):
        if name not in package:
            raise CheckError(f"expected {name} in the checkout, got none")
    return package | zoo | {"ehrpose/zoo/model-index.yml"}


def packaged(wheel: Path) -> set[str]:
    """Return a wheel's files except its metadata."""
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name and not name.endswith("/")}


def digests(wheel: Path) -> set[str]:
    """Return name and checksum of each file in a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        entries = archive.infolist()
    return {f"{e.filename} ({e.CRC:08x})" for e in entries if not e.filename.endswith("/RECORD")}


def compare(what: str, got: set[str], expected: set[str]) -> None:
    """Raise CheckError if two file lists differ."""
    for verb, names in (("lacks", expected - got), ("must not contain", got - expected)):
        if names:
            some = ", ".join(sorted(names)[:5])
            files = "1 file" if len(names) == 1 else f"{len(names)} files"
            raise CheckError(f"{what} {verb} {files}: {some}{' ...' if len(names) > 5 else ''}")


def check_runtime(wheel: Path, wanted: list[str], pip_args: list[str], scratch: Path) -> list[str]:
    """Use the wheel without torch on several Python versions; return those that were not found."""
    skipped = []
    network = Path(shutil.copy(NETWORK, scratch))
    shutil.copy(f"{NETWORK}.json", scratch)
    for name in wanted:
        python = find_python(name)
        if python is None:
            skipped.append(name)
            continue
        with step(f"Python {name} without torch: install the wheel, find people"):
            env = Environment(python, scratch / f"runtime-{name.replace(os.sep, '_')}", pip_args)
            env.install(str(wheel))
            env.check_command(wheel)
            env.run_code(
                "import importlib.util, sys; sys.exit(importlib.util.find_spec('torch') is not None)"
            )
            env.run_code(DRAW_NOISE, "picture.png")
            env.predict(network)
            shutil.copy(ROOT / "docs" / "images" / "portraits.jpg", env.work / "picture.png")
            env.predict("ehrnet-small")  # by its own .onnx, which reads the weights of the .pth beside it
            shutil.rmtree(env.folder)
    return skipped


def check_training(out_dir: Path, python: str, pip_args: list[str], scratch: Path) -> None:
    """Use a zoo model by name from the wheel and from the sdist, with torch."""
    wheel, constraints = built(out_dir), ROOT / "requirements" / "constraints.txt"
    env = Environment(python, scratch / "training", [*pip_args, "-c", str(constraints)])
    with step("wheel with torch: install, find people with ehrnet-small"):
        env.install(f"{wheel}[train]")
        env.check_command(wheel)
        env.run_code(DRAW_PEOPLE, "picture.png")
        env.predict("ehrnet-small")
    with step("mypy --strict on a program that uses the wheel"):
        (env.work / "mypy.ini").write_text(MYPY_CONFIG, encoding="utf-8")
        program = shutil.copy(PROGRAM, env.work)
        options = ("--config-file", "mypy.ini", "--python-executable", env.python)
        run("types", sys.executable, "-m", "mypy", *options, program, cwd=env.work)
    with step("sdist with torch: install, find people with ehrnet-small"):
        run("uninstall", env.python, "-m", "pip", "uninstall", "--yes", "--quiet", "ehrpose")
        env.install("--no-deps", str(built(out_dir, ".tar.gz")))
        env.check_command(wheel)
        env.predict("ehrnet-small")


def write_materials(wheel: Path, python: Path) -> Path:
    """Write a CycloneDX bill of materials of an environment next to the wheel installed in it; return its path."""
    path = wheel.with_name(f"{'-'.join(wheel.name.split('-')[:2])}.cdx.json")
    options = ("--of", "JSON", "--sv", "1.6", "--mc-type", "library", "--output-reproducible")
    raw = path.with_suffix(".part")
    try:
        run(
            "bill of materials",
            sys.executable,
            "-m",
            "cyclonedx_py",
            "environment",
            *options,
            "-o",
            raw,
            python,
        )
        materials = json.loads(raw.read_text(encoding="utf-8"))
    finally:
        raw.unlink(missing_ok=True)
    with zipfile.ZipFile(wheel) as archive:
        name = next(entry for entry in archive.namelist() if entry.endswith(".dist-info/METADATA"))
        metadata = archive.read(name).decode("utf-8")
    publish_materials(materials, wheel)
    check_materials(materials, metadata)
    path.write_text(json.dumps(materials, indent=1) + "\n", encoding="utf-8")
    print(f"{len(materials['components'])} packages", end=", ", flush=True)
    return path


def publish_materials(materials: dict, wheel: Path) -> None:
    """Make ehrpose the subject of a bill of materials, with its wheel's hash, and leave out this machine's paths."""
    parts = materials["components"]
    for part in parts:
        links = [link for link in part.get("externalReferences", []) if not link["url"].startswith("file:")]
        part["externalReferences"] = links
    own = [part for part in parts if part["name"] == "ehrpose"]
    if len(own) != 1:
        raise CheckError(f"bill of materials: expected ehrpose once, got it {len(own)} times")
    version = wheel.name.split("-")[1]
    if own[0].get("version") != version:
        raise CheckError(f"bill of materials: expected ehrpose {version}, got {own[0].get('version')}")
    materials["components"] = [part for part in parts if part is not own[0]]
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    materials["metadata"]["component"] = {**own[0], "hashes": [{"alg": "SHA-256", "content": digest}]}


def check_materials(materials: dict, metadata: str) -> None:
    """Raise CheckError unless a bill of materials has every requirement of the wheel, with version and PURL."""
    parts = {re.sub(r"[-_.]+", "-", part["name"]).lower(): part for part in materials["components"]}
    wanted = set()
    for line in metadata.partition("\n\n")[0].splitlines():
        found = re.match(r"Requires-Dist: ([\w.-]+)", line)
        if found and ("extra ==" not in line or re.search(r"extra == .train", line)):
            wanted.add(re.sub(r"[-_.]+", "-", found[1]).lower())
    if not wanted:
        raise CheckError("bill of materials: expected requirements in the wheel's metadata, got none")
    missing = sorted(wanted - set(parts))
    if missing:
        raise CheckError(f"the bill of materials lacks {', '.join(missing)}")
    bad = sorted(name for name, part in parts.items() if not part.get("version") or not part.get("purl"))
    if bad:
        raise CheckError(
            f"bill of materials: expected a version and a PURL of each package, got none of {bad[0]}"
        )
    if '"file:' in json.dumps(materials):
        raise CheckError("bill of materials: expected no paths of this machine, got a file: address")


class Environment:
    """A new virtual environment and an empty working folder, both outside the checkout."""

    def __init__(self, python: str, folder: Path, pip_args: list[str]):
        self.folder, self.pip_args, self.work = folder, pip_args, folder / "work"
        run("virtual environment", python, "-m", "venv", folder)
        self.work.mkdir()
        self.python = folder / "bin" / "python"
        self.command = folder / "bin" / "ehrpose"

    def install(self, *what: str) -> None:
        """Install packages with pip."""
        quiet = ("--disable-pip-version-check", "--quiet", "--quiet")
        run("install", self.python, "-m", "pip", *quiet, "install", "--no-compile", *self.pip_args, *what)

    def run_code(self, code: str, *args: str) -> None:
        """Run a few lines of Python."""
        run("code in the environment", self.python, "-c", code, *args, cwd=self.work)

    def check_command(self, wheel: Path) -> None:
        """Check the version and the report of the installed command."""
        told = run("version", self.command, "--version", cwd=self.work).strip()
        expected = f"ehrpose {wheel.name.split('-')[1]}"
        if told != expected:
            raise CheckError(f"ehrpose --version: expected {expected!r}, got {told!r}")
        info = run("info", self.command, "info", cwd=self.work)
        if not re.search(r"^models with weights +\w", info, re.M):
            raise CheckError("ehrpose info: expected models with weights, got none")

    def predict(self, model: str | Path) -> None:
        """Find people on the drawn picture and read the JSON."""
        shutil.rmtree(self.work / "out", ignore_errors=True)
        run(
            "predict",
            self.command,
            "predict",
            "picture.png",
            "--model",
            model,
            "--out-dir",
            "out",
            cwd=self.work,
        )
        files = glob.glob(str(self.work / "out" / "**" / "*.json"), recursive=True)
        people = json.loads(Path(files[0]).read_text(encoding="utf-8")) if len(files) == 1 else []
        if not people or any(len(person["keypoints"]) == 0 for person in people):
            raise CheckError(
                f"predict with {model}: expected people in one JSON, got {len(people)} in {files}"
            )


def find_python(name: str) -> str | None:
    """Return a working interpreter of a Python version (or path): from the PATH, else from pyenv."""
    is_version = name.replace(".", "").isdigit()
    candidates = [f"python{name}" if is_version else name]
    if is_version:
        root = os.environ.get("PYENV_ROOT", str(Path.home() / ".pyenv"))
        candidates += sorted(glob.glob(f"{root}/versions/{name}.*/bin/python"))
    for candidate in candidates:
        program = shutil.which(candidate)
        # pyenv's shims are on the PATH even for versions that are not selected.
        if (
            program
            and subprocess.run([program, "-c", "import venv"], capture_output=True, check=False).returncode
            == 0
        ):
            return program
    return None


def built(folder: Path, suffix: str = ".whl") -> Path:
    """Return the only wheel or sdist of a folder."""
    pattern = f"ehrpose-*{suffix}"
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise CheckError(f"expected one {pattern} in {folder}, got {len(found)}")
    return found[0]


if __name__ == "__main__":
    main()
