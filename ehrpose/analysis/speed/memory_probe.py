"""Peak memory of one form of a network, loaded and run a few times in its own process (no torch)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

RUNS = 5


def peak_memory(job: dict[str, Any]) -> float:
    """Return the peak resident memory, MiB, of a separate process that runs ``job``, including libraries.

    Args:
        job: ``photo``, ``threads``, ``path`` (of the exported network) and ``options`` of the PoseRuntime; for the
            model in torch also ``config``, ``checkpoint``, ``cfg_options`` and ``channels_last``.

    Raises:
        RuntimeError: The process ended with an error.
    """
    command = [
        sys.executable,
        "-c",
        "from ehrpose.analysis.speed.memory_probe import main; main()",
        json.dumps(job),
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(
            f"the process that measures memory failed: {result.stderr.strip().splitlines()[-1:]}"
        )
    return float(result.stdout.split()[-1])


def main() -> None:
    """Run the job given on the command line and print this process's peak memory, MiB."""
    job = json.loads(sys.argv[1])
    if "config" not in job and not job["path"].endswith(".pt2"):
        # As on a device without torch: if it is installed, MMEngine's registry would load it.
        sys.modules["torch"] = None  # type: ignore[assignment]
    runtime = _open(job)
    for _ in range(RUNS):
        runtime.predict([job["photo"]])
    print(own_peak())


def own_peak() -> float:
    """Return the peak resident memory of this process so far, MiB."""
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024
    except (OSError, IndexError):
        import resource

        # Would start from the parent's size on Linux, where /proc is used instead.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
            2**20 if sys.platform == "darwin" else 1024
        )


def _open(job: dict[str, Any]) -> Any:
    from ehrpose.deploy.runtime import PoseRuntime

    if "config" not in job:
        return PoseRuntime(job["path"], num_threads=job["threads"], trust_pt2=True, **job["options"])
    import torch

    from ehrpose.analysis.speed.torch_runtime import TorchRuntime

    torch.set_num_threads(job["threads"])
    return TorchRuntime(
        job["path"], job["config"], job["checkpoint"], job["cfg_options"], bool(job["channels_last"])
    )
