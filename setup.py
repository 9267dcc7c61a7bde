"""Packaging. Requirements live in requirements/*.txt, the tools' settings in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


def read_requirements(name):
    """Return the lines of requirements/<name>.txt without comments."""
    lines = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return [line.split(" #")[0].strip() for line in lines if line.strip() and not line.startswith("#")]


version = {}
exec((ROOT / "ehrpose" / "version.py").read_text(encoding="utf-8"), version)
extras = {
    name: read_requirements(name)
    for name in ("train", "deploy", "pretrained", "speed", "tracking", "tests", "docs")
}
extras["all"] = sorted(set().union(*extras.values()))

readme = ROOT / "README.md"

setup(
    name="ehrpose",
    version=version["__version__"],
    description="Real-time multi-person 2D human pose estimation with EfficientHRNet, for small devices",
    long_description=readme.read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["ehrpose", "ehrpose.*"]),
    # The runtime part (structures, codecs, tracking, deploy) runs on 3.8; the extra "train" wants 3.10.
    python_requires=">=3.8",
    install_requires=read_requirements("runtime"),
    extras_require=extras,
)
