"""Training, prediction and export, disturbed by ``make crash``."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from ehrpose.analysis.reliability.crash_job import ROOT, Job, is_hidden, visible, write_scenes
from ehrpose.analysis.reliability.warm import Run, Warm
from ehrpose.image_io import read_image

_SMALL = ("phi=-8", "codec.input_size=64")
_DEMO = ROOT / "configs/ehrnet/demo_synthetic-128.py"


class Train(Job):
    """Training from the beginning; the next run resumes."""

    before = (f"{__name__}:skip_formatting", None)
    known: dict[str, str]

    def make_inputs(self, warm: Warm) -> None:
        text = (
            f"_base_ = [{str(_DEMO)!r}]\nphi = -8\nimage_size = 64\nmax_iters = 4\ncodec = dict(input_size=64)\n"
            "train_dataloader = dict(batch_size=2, dataset=dict(length=4))\n"
            "val_dataloader = dict(batch_size=2, dataset=dict(length=2))\ntest_dataloader = val_dataloader\n"
            "train_cfg = dict(val_interval=2)\n"
            "default_hooks = dict(checkpoint=dict(interval=2, max_keep_ckpts=1), logger=dict(interval=2))\n"
        )
        (self.inputs / "tiny.py").write_text(text)
        whole = [*self.words(), "--cfg-options", "default_hooks.checkpoint.max_keep_ckpts=9"]
        ended = warm.run(self.run(whole))
        if ended.code:
            raise ValueError(f"training does not work: {ended.stderr[-300:]}")
        self.known = self.state()

    def words(self) -> list[str]:
        return ["-m", "ehrpose", "train", str(self.inputs / "tiny.py"), "--work-dir", str(self.case / "run")]

    def again(self) -> list[str]:
        return [*self.words(), "--resume"]

    def state(self) -> dict[str, str]:
        """Leave the logs out, as their folders are named by time, but not their partial files."""
        found = super().state().items()
        return {name: content for name, content in found if not name.startswith("run/2") or is_hidden(name)}

    def content(self, path: Path) -> str:
        if is_hidden(path.name):
            return "hidden"
        if path.suffix == ".py":  # the config: a resumed run has other values
            body = ast.parse(path.read_text()).body
            return " ".join(sorted(line.targets[0].id for line in body))  # type: ignore[attr-defined]
        return weights_digest(path) if path.suffix == ".pth" else super().content(path)

    def kept(self, old: Mapping[str, str], new: Mapping[str, str]) -> str:
        """Demand that each checkpoint is whole, and that the last one is there once there was any."""
        found = visible(self.state())
        for name, content in found.items():
            if name != "run/last_checkpoint" and content != self.known.get(name):
                return f"{name} is not that of an undisturbed run"
        last = self.case / "run/last_checkpoint"
        if last.exists() and not Path(last.read_text()).is_file():
            return f"last_checkpoint names {last.read_text()!r}, which is not there"
        if old and not (last.exists() and any(name.startswith("run/iter_") for name in found)):
            return "no checkpoint is left"
        return self._logs()

    def complete(self, new: Mapping[str, str]) -> str:
        return super().complete(new) or self._logs()

    def _logs(self) -> str:
        """Say what is wrong with the logs: a line may be lost, or be cut off at the end of a killed run."""
        for path in sorted(self.case.glob("run/2*/vis_data/[!.]*")):
            if path.suffix == ".json":
                for line in path.read_text().splitlines()[:-1]:
                    try:
                        json.loads(line)
                    except ValueError:
                        return f"{path.name} has a broken line: {line!r}"
            elif path.suffix == ".py":
                compile(path.read_text(), str(path), "exec")
        return ""


class Resume(Train):
    """Training goes on from a checkpoint."""

    def old(self) -> list[str]:
        return [*self.words(), "--cfg-options", "default_hooks.checkpoint.max_keep_ckpts=9"]

    def arrange(self) -> None:
        (self.case / "run/iter_4.pth").unlink()
        (self.case / "run/last_checkpoint").write_text(str(self.case / "run/iter_2.pth"))


class PredictPhotos(Job):
    """Pictures and JSON files of photos."""

    def make_inputs(self, warm: Warm) -> None:
        for name, seed in (("old", 1), ("new", 0)):
            write_scenes(self.inputs / name, 3, seed)
        self.network = export_small(self.inputs, warm)

    def old(self) -> list[str]:
        return self._words("old")

    def words(self) -> list[str]:
        return self._words("new")

    def _words(self, name: str) -> list[str]:
        return ["-m", "ehrpose", "predict", str(self.inputs / name), "--model", str(self.network),
                "--out-dir", str(self.case / "out")]  # fmt: skip


class PredictVideo(PredictPhotos):
    """The video and the JSON file of a video."""

    def make_inputs(self, warm: Warm) -> None:
        super().make_inputs(warm)
        for name in ("old", "new"):
            (self.inputs / name / "clip").mkdir()
            frames = [read_image(path) for path in sorted((self.inputs / name).glob("*.png"))]
            from ehrpose.media.writer import VideoWriter

            with VideoWriter(self.inputs / name / "clip" / "walk.mp4", 10) as video:
                for frame in frames * 4:
                    video.write(frame)

    def _words(self, name: str) -> list[str]:
        return ["-m", "ehrpose", "predict", str(self.inputs / name / "clip/walk.mp4"), "--model", str(self.network),
                "--out-dir", str(self.case / "out")]  # fmt: skip


class Deploy(Job):
    """An exported network replaces an older one."""

    precision: tuple[str, ...] = ()
    backend, file = "onnxruntime", "end2end.onnx"

    def old(self) -> list[str]:
        return self._words("96")

    def words(self) -> list[str]:
        return self._words("64")

    def _words(self, side: str) -> list[str]:
        return ["-m", "ehrpose", "deploy", str(_DEMO), "none", "--backend", self.backend, *self.precision,
                "--input-size", side, "--work-dir", str(self.case / "out"), "--cfg-options", *_SMALL]  # fmt: skip

    def kept(self, old: Mapping[str, str], new: Mapping[str, str]) -> str:
        """Open the network as a user does, and demand that its files belong together."""
        from ehrpose.deploy.sidecar import file_hash, read_sidecar

        path = self.case / "out" / self.file
        try:
            sidecar = read_sidecar(path)
        except (OSError, ValueError) as error:
            return f"the network does not open: {error}"
        for name, digest in sidecar.sha256.items():
            if file_hash(path.with_name(name)) != digest:
                return f"{name} does not belong to its JSON"
        found = visible(self.state())
        return "" if found in (dict(old), dict(new)) else "neither the old network nor the new one"


class DeployOpenvino(Deploy):
    """The same for OpenVINO in fp16, whose network has three files."""

    precision = ("--precision", "fp16")
    backend, file = "openvino", "end2end.xml"


def export_small(folder: Path, warm: Warm) -> Path:
    """Export the small zoo model to ONNX at 128 px."""
    config = ROOT / "configs/ehrnet/small_coco-256.py"
    words = [
        "-m",
        "ehrpose",
        "deploy",
        str(config),
        "ehrnet-small",
        "--input-size",
        "128",
        "--work-dir",
        str(folder),
    ]
    ended = warm.run(Run(words, str(folder / "nothing")))
    if ended.code:
        raise ValueError(f"the export does not work: {ended.stderr[-300:]}")
    return folder / "end2end.onnx"


def weights_digest(path: Path) -> str:
    """Return what tells the weights of a checkpoint; an error if it does not load."""
    from ehrpose.engine import compat
    from ehrpose.models.weights.checkpoint import read_checkpoint

    compat.allow_resume()
    digest = hashlib.sha256()
    for name, tensor in sorted(read_checkpoint(str(path))["state_dict"].items()):
        digest.update(name.encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def skip_formatting(_: Any) -> None:
    """Let MMEngine write configs unformatted, and no versions of compilers: most of a short training's time."""

    def unchanged(text: str, *_: Any, **__: Any) -> tuple[str, bool]:
        return text, True

    for module, name, new in (
        ("yapf.yapflib.yapf_api", "FormatCode", unchanged),
        ("mmengine.config.config", "FormatCode", unchanged),
        ("mmengine.runner.runner", "collect_env", dict),
    ):
        setattr(import_module(module), name, new)
