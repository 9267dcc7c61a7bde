"""A process that has loaded all libraries and forks for each run, so that a run of a command takes a second or less.

Runs are those of the command line: each forked process ends like a Python program of its own, with its exit code. The
calls that change files below a folder are counted, and one of them may fail or kill the process (``write_faults.c``).
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

_SOURCE = Path(__file__).with_name("write_faults.c")
_RUN = "import sys; from ehrpose.analysis.reliability.warm import serve; serve(*sys.argv[1:])"
# Loaded before the first fork. None of them computes anything on import: threads would not survive a fork.
LIBRARIES = (
    "cv2", "av", "numpy", "scipy.optimize", "torch", "torch._dynamo", "torch.onnx", "torch.utils.tensorboard",
    "onnx", "onnxruntime", "openvino", "PIL.Image", "mmengine.runner", "ehrpose.__main__", "ehrpose.engine",
    "ehrpose.evaluation", "ehrpose.deploy.pipeline", "ehrpose.inferencers.inferencer",
    "ehrpose.datasets.converters.command", "ehrpose.datasets.synthetic.dataset", "ehrpose.datasets.download",
    "ehrpose.models.weights.conversion", "ehrpose.models.estimator", "ehrpose.models.backbones",
    "ehrpose.models.necks", "ehrpose.models.heads", "ehrpose.models.losses", "ehrpose.datasets.transforms",
    "ehrpose.commands.train", "ehrpose.commands.deploy", "ehrpose.commands.predict", "ehrpose.engine.visualizer",
    "ehrpose.media.outputs", "ehrpose.tracking",
)  # fmt: skip


@dataclass
class Run:
    """A run of a command.

    Attributes:
        argv: Words after ``python``: the path of a script, or ``-m`` and a module; then the arguments.
        watched: Folder below which calls are counted.
        at: Number of the call that fails, from 1; 0: none does.
        error: The error's number; 0 kills the process.
        kill_after: Seconds after which the process is killed; None: at the time limit only.
        env: Environment variables to set.
        before: ``module:function`` that is called first, for what has no option, and its argument.
    """

    argv: Sequence[str]
    watched: str
    at: int = 0
    error: int = 0
    kill_after: float | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    before: tuple[str, Any] | None = None


class Ended(NamedTuple):
    """How a run ended.

    Attributes:
        code: Exit code; below 0 the number of the signal.
        hit: Whether the fault came.
        seconds: Duration.
        stdout: What it printed.
        stderr: The same on stderr.
        calls: Name and file, below the watched folder, of each call.
    """

    code: int
    hit: bool
    seconds: float
    stdout: str
    stderr: str
    calls: list[tuple[str, str]]


def compile_faults(folder: Path) -> Path:
    """Compile ``write_faults.c`` into a folder and return the library.

    Raises:
        ValueError: There is no C compiler, or this is not Linux.
    """
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if sys.platform != "linux" or compiler is None:
        raise ValueError("faults of the disk need Linux and a C compiler (cc)")
    library = folder / "write_faults.so"
    command = [compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(_SOURCE), "-ldl", "-lpthread"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"{_SOURCE.name} could not be compiled: {done.stderr.strip().splitlines()[0]}")
    return library


class Warm:
    """The process that forks; used as a context.

    Args:
        folder: For the library and what runs print.
        limit: Seconds after which a run is killed.
        libraries: Modules to load before the first fork; those that are not installed are left out.

    Raises:
        ValueError: It cannot start here.
    """

    def __init__(self, folder: Path, limit: float = 120.0, libraries: Sequence[str] = LIBRARIES):
        self.folder, self.limit, self.libraries = folder, limit, libraries
        self.library = compile_faults(folder)

    def __enter__(self) -> Warm:
        env = {
            **os.environ,
            "LD_PRELOAD": str(self.library),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1",
            "OPENCV_LOG_LEVEL": "SILENT",
            "PYTHONUNBUFFERED": "",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        command = [sys.executable, "-c", _RUN, str(self.library), *self.libraries]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, text=True
        )
        if self._answer() != {"ready": True}:
            raise ValueError("the process that forks did not start")
        return self

    def __exit__(self, *_: Any) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def run(self, run: Run) -> Ended:
        """Run a command and wait for its end."""
        assert self._process.stdin is not None
        names = {name: str(self.folder / f"run.{name}") for name in ("stdout", "stderr", "calls")}
        order = {**asdict(run), **names, "limit": self.limit}
        began = time.monotonic()
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        code = self._answer()["code"]
        seconds = time.monotonic() - began
        texts = {name: Path(path).read_text(errors="replace") for name, path in names.items()}
        calls = [
            (name, file) for name, _, file in (line.partition("\t") for line in texts["calls"].splitlines())
        ]
        hit = bool(run.at) and len(calls) >= run.at
        return Ended(code, hit, seconds, texts["stdout"], texts["stderr"], calls)

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise ValueError("the process that forks has ended")
        return json.loads(line)


def serve(library: str, *names: str) -> None:
    """Load libraries, then fork for each line on stdin. The process of ``Warm``."""
    os.environ.pop("LD_PRELOAD", None)  # not for the programs that a run starts
    for name in names:
        with contextlib.suppress(ImportError):
            import_module(name)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    _answer(answers, {"ready": True})
    while line := sys.stdin.readline():
        order = json.loads(line)
        process = os.fork()
        if not process:
            _end(functools.partial(_run, order, library))
        _answer(answers, {"code": _wait(process, order)})


def _end(run: Callable[[], None]) -> NoReturn:
    """Run a function and end this process as Python does at the end of a program.

    Only the interpreter itself is not taken down: libraries that were loaded before the fork wait there for their
    threads, which the fork did not copy.
    """
    code: Any = 0
    try:
        run()
    except SystemExit as ended:
        code = ended.code
        if code is not None and not isinstance(code, int):
            print(code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(1 if code is not None and not isinstance(code, int) else code or 0)


def _answer(answers: Any, content: dict[str, Any]) -> None:
    answers.write(json.dumps(content) + "\n")
    answers.flush()


def _wait(process: int, order: dict[str, Any]) -> int:
    """Return the exit code, or minus the signal, of a forked process; kill it when it is time."""
    after = order["limit"] if order["kill_after"] is None else order["kill_after"]
    until = time.monotonic() + after
    while time.monotonic() < until:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    return os.waitstatus_to_exitcode(status) if order["kill_after"] is not None else -int(signal.SIGALRM)


def _run(order: dict[str, Any], library: str) -> None:
    """Run a command in this process, which ends afterwards."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        descriptor = os.open(order[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, number)
        os.close(descriptor)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    log = os.open(order["calls"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.environ.update(order["env"])
    tempfile.tempdir = None
    if order["before"] is not None:
        path, argument = order["before"]
        module, name = path.split(":")
        getattr(import_module(module), name)(argument)
    faults = ctypes.CDLL(library)
    faults.faults_arm(os.fsencode(order["watched"]), ctypes.c_long(order["at"]), order["error"], log)
    words = list(order["argv"])
    if words[0] == "-m":
        sys.argv = words[1:]
        sys.modules.pop(f"{words[1]}.__main__", None)  # loaded already, which runpy warns of
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = words
        sys.path[0] = str(Path(words[0]).parent)
        runpy.run_path(words[0], run_name="__main__")
