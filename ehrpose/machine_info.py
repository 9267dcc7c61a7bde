"""System information for bug reports: versions, devices and models, but no paths and no user name."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from importlib import metadata, util
from pathlib import Path
from typing import Any

from ehrpose.backend_table import BACKEND_TABLE
from ehrpose.counted import counted
from ehrpose.cpu import available_cores
from ehrpose.threads import NUM_THREADS, WAIT_POLICY
from ehrpose.version import __version__

ABSENT = "not installed"
# Import name of each package whose version matters, and its possible distribution names.
_PACKAGES = {
    "torch": ("torch",),
    "mmengine": ("mmengine", "mmengine-lite"),
    "mmcv": ("mmcv", "mmcv-lite"),
    "numpy": ("numpy",),
    "scipy": ("scipy",),
    "cv2": (
        "opencv-python",
        "opencv-contrib-python",
        "opencv-python-headless",
        "opencv-contrib-python-headless",
    ),
    "numba": ("numba",),
    "av": ("av",),
    "pycocotools": ("pycocotools",),
    "onnx": ("onnx",),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "openvino": ("openvino",),
    "tensorrt": ("tensorrt",),
    "tensorrt_rtx": ("tensorrt_rtx", "tensorrt-rtx"),
}


def collect_info() -> dict[str, Any]:
    """Return the facts by name, each a string or a list of strings; no optional package is needed."""
    info: dict[str, Any] = {
        "ehrpose": __version__,
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        "system": _system(),
        "processor": f"{processor_name()}, {counted(os.cpu_count() or 1, 'core')}",
    }
    info["threads"] = threads_in_use()
    info.update({name: _version(name, names) for name, names in _PACKAGES.items()})
    info["cv2 has"] = _opencv_parts()
    info["ffmpeg"] = _ffmpeg()
    info["cuda devices"] = _cuda_devices()
    info["backends"] = [name for name, engine in BACKEND_TABLE.items() if _is_there(engine.module)]
    info["models with weights"] = _models()
    return info


def _version(name: str, distributions: tuple[str, ...]) -> str:
    for distribution in distributions:
        try:
            return f"{metadata.version(distribution)}" + (
                "" if distribution == name else f" ({distribution})"
            )
        except metadata.PackageNotFoundError:
            continue
    return "installed, version unknown" if _is_there(name) else ABSENT


def _is_there(package: str) -> bool:
    try:
        return util.find_spec(package) is not None
    except (ImportError, ValueError):  # ValueError: a module that was blocked or has no spec
        return False


def _system() -> str:
    name = ""
    try:
        lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
        name = next(
            (line.split("=", 1)[1].strip('"') for line in lines if line.startswith("PRETTY_NAME=")), ""
        )
    except OSError:
        pass
    return f"{name}, {platform.platform()}" if name else platform.platform()


def threads_in_use() -> str:
    """Return what decides about CPU threads: the cores that may be used, and OpenMP's settings."""
    settings = [f"{name} {os.environ.get(name) or 'not set'}" for name in (NUM_THREADS, WAIT_POLICY)]
    return f"{counted(available_cores(), 'core')} may be used, {', '.join(settings)}"


def processor_name() -> str:
    """Return the processor's name, or at least its architecture."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    found = re.search(r"^(?:model name|Model|Hardware)\s*:\s*(.+)$", text, re.MULTILINE)
    return found.group(1).strip() if found else platform.machine()


def _opencv_parts() -> list[str]:
    """Return the optional parts for videos and windows that OpenCV was built with."""
    try:
        import cv2
    except ImportError:
        return []
    text = cv2.getBuildInformation()
    wanted = {"FFMPEG": "FFmpeg", "GStreamer": "GStreamer", "v4l/v4l2": "V4L", "GTK": "GTK", "QT": "Qt",
              "QT5": "Qt", "QT6": "Qt", "Win32 UI": "Win32", "Cocoa": "Cocoa"}  # fmt: skip
    lines = re.findall(r"^\s*([\w/ ]+?):\s+YES", text, re.MULTILINE)
    return sorted({wanted[line] for line in lines if line in wanted})


def _ffmpeg() -> str:
    program = shutil.which("ffmpeg")
    if program is None:
        return "not on the PATH"
    try:
        told = subprocess.run(
            [program, "-version"], capture_output=True, text=True, timeout=10, check=False
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return "does not run"
    found = re.match(r"ffmpeg version (\S+)", told)
    return found.group(1) if found else "version unknown"


def _cuda_devices() -> list[str]:
    """Return the GPUs that torch sees, or without torch those that the driver lists."""
    try:
        import torch

        return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    except (ImportError, RuntimeError, OSError):
        pass
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    try:
        query = [program, "--query-gpu=name", "--format=csv,noheader"]
        told = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in told.stdout.splitlines() if line.strip()] if told.returncode == 0 else []


def _names(model: Any) -> str:
    """Return a model's name as the documentation and the command line have it, and its config's name."""
    return f"{', '.join(model.aliases)} ({model.name})" if model.aliases else model.name


def _models() -> list[str]:
    try:
        from ehrpose.fetching.cache import is_fetched
        from ehrpose.model_zoo import list_models

        return [_names(m) for m in list_models() if m.checkpoint is not None or is_fetched(m)]
    except (ImportError, FileNotFoundError):
        return []
