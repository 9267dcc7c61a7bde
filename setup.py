"""Packaging. Requirements are in requirements/*.txt, tool settings in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent


def read_requirements(name):
    """Return the lines of requirements/<name>.txt without comments."""
    lines = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return [line.split(" #")[0].strip() for line in lines if line.strip() and not line.startswith("#")]


class BuildWithZoo(build_py):
    """Copy the configs and the weights into the package, where ``ehrpose.model_zoo`` finds them."""

    def run(self):
        super().run()
        if getattr(self, "editable_mode", False):  # found in the repository instead
            return
        target = Path(self.build_lib) / "ehrpose" / "zoo"
        for name in ("configs", "checkpoints"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, target / name, dirs_exist_ok=True, ignore=ignored)
        shutil.copy2(ROOT / "model-index.yml", target)


version = {}
exec((ROOT / "ehrpose" / "version.py").read_text(encoding="utf-8"), version)
extras = {
    name: read_requirements(name)
    for name in (
        "train",
        "video",
        "deploy",
        "web",
        "pretrained",
        "speed",
        "heic",
        "completion",
        "labels",
        "tracking",
        "ray",
        "cloud",
        "experiments",
        "tune",
        "tests",
        "docs",
    )
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
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: OS Independent",
        "Programming Language :: Python :: 3",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in range(8, 15)),
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Recognition",
        "Typing :: Typed",
    ],
    cmdclass={"build_py": BuildWithZoo},
    packages=find_packages(include=["ehrpose", "ehrpose.*"]),
    # The runtime part (structures, codecs, tracking, deploy) runs on 3.8; the extra "train" needs 3.10.
    python_requires=">=3.8",
    package_data={
        "ehrpose": ["py.typed"],
        "ehrpose.analysis.reliability": ["write_faults.c"],
        "ehrpose.deploy": ["sidecar.schema.json"],
        "ehrpose.web": ["browser/*", "static/*"],
    },
    entry_points={
        "console_scripts": ["ehrpose=ehrpose.__main__:main", "ehrpose-web=ehrpose.web.server:main"]
    },
    install_requires=read_requirements("runtime"),
    extras_require=extras,
)
