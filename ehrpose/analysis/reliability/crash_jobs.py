"""The commands that ``make crash`` disturbs: what they read, what was there before, and what must be there after."""

from __future__ import annotations

import ast
import hashlib
import http.server
import json
import re
import threading
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import ehrpose
from ehrpose.analysis.reliability.documents import SKELETON
from ehrpose.analysis.reliability.warm import Run, Warm
from ehrpose.files import PARTIAL

ROOT = Path(ehrpose.__file__).parents[1]
_HERE = __name__
_SMALL = ("phi=-8", "codec.input_size=64")
_DEMO = ROOT / "configs/ehrnet/demo_synthetic-128.py"
# Temporary files that others leave after a kill: Python's, which shows whether a folder may be used, and the copies
# that MMEngine makes of a config.
_OTHERS = re.compile(r"tmp/(tmp)?[a-z0-9_]{8}(/.*)?")


class Job:
    """A command whose output is one folder, ``case``. It may have had output before; it has it again afterwards.

    Attributes:
        before: See ``Run``.

    Args:
        inputs: New folder for what the command reads.
        case: Folder for its output.
    """

    before: tuple[str, Any] | None = None

    def __init__(self, inputs: Path, case: Path):
        self.inputs, self.case = inputs, case

    def make_inputs(self, warm: Warm) -> None:
        """Write what the command reads."""

    def old(self) -> list[str] | None:
        """Return the command that makes the earlier output; None: there is none."""
        return None

    def words(self) -> list[str]:
        """Return the command."""
        raise NotImplementedError

    def again(self) -> list[str]:
        """Return the command of the next run."""
        return self.words()

    def run(self, words: list[str], **faults: Any) -> Run:
        """Return a run of one of the commands, whose temporary files are in ``case`` too."""
        temporary = self.case / "tmp"
        temporary.mkdir(parents=True, exist_ok=True)
        env = {"TMPDIR": str(temporary)}
        return Run(words, str(self.case), before=self.before, env=env, **faults)

    def arrange(self) -> None:
        """Change the earlier output further."""

    def state(self) -> dict[str, str]:
        """Return the files that are there, below ``case``, and what tells their content."""
        files = sorted(path for path in self.case.rglob("*") if path.is_file())
        names = {path.relative_to(self.case).as_posix(): path for path in files}
        return {name: self.content(path) for name, path in names.items() if not _OTHERS.fullmatch(name)}

    def content(self, path: Path) -> str:
        """Return what tells the content of a file."""
        return hashlib.sha256(path.read_bytes()).hexdigest()

    def kept(self, old: Mapping[str, str], new: Mapping[str, str]) -> str:
        """Say what is wrong after a run that failed; nothing if the old files, or whole new ones, are there."""
        found = {name: content for name, content in self.state().items() if not is_hidden(name)}
        for name, content in found.items():
            if content not in (old.get(name), new.get(name)):
                return f"{name} is neither the old file nor the new one"
        gone = old.keys() - found.keys()
        return f"{min(gone)} is gone" if gone else ""

    def complete(self, new: Mapping[str, str]) -> str:
        """Say what differs from the output of an undisturbed run."""
        found = self.state()
        for name in sorted({*found, *new}):
            if found.get(name) != new.get(name):
                state = "is left" if name not in new else "differs" if name in found else "is missing"
                return f"{name} {state}"
        return ""


def is_hidden(name: str) -> bool:
    """Whether a file is a partial one, or in a partial folder: the next run removes it."""
    return any(part.startswith(".") and PARTIAL in part for part in Path(name).parts)


class Train(Job):
    """Training from the beginning; the next run resumes."""

    before = (f"{_HERE}:skip_formatting", None)
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
        """Leave the logs out; their folders are named by time."""
        return {name: content for name, content in super().state().items() if not name.startswith("run/2")}

    def content(self, path: Path) -> str:
        if is_hidden(path.name):
            return "hidden"
        if path.suffix == ".py":  # the config: a resumed run has other values
            body = ast.parse(path.read_text()).body
            return " ".join(sorted(line.targets[0].id for line in body))  # type: ignore[attr-defined]
        return weights_digest(path) if path.suffix == ".pth" else super().content(path)

    def kept(self, old: Mapping[str, str], new: Mapping[str, str]) -> str:
        """Demand that each checkpoint is whole, and that the last one is there once there was any."""
        found = {name: content for name, content in self.state().items() if not is_hidden(name)}
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
        for path in sorted(self.case.glob("run/2*/vis_data/*")):
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
            frames = [cv2.imread(str(path)) for path in sorted((self.inputs / name).glob("*.png"))]
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
        found = {name: content for name, content in self.state().items() if not is_hidden(name)}
        return "" if found in (dict(old), dict(new)) else "neither the old network nor the new one"


class DeployOpenvino(Deploy):
    """The same for OpenVINO in fp16, whose network has three files."""

    precision = ("--precision", "fp16")
    backend, file = "openvino", "end2end.xml"


class Labelme(Job):
    """Photos labelled with labelme become a COCO folder."""

    def make_inputs(self, warm: Warm) -> None:
        photos = self.inputs / "labels"
        write_scenes(photos, 4, 0)
        for number, path in enumerate(sorted(photos.glob("*.png"))):
            points = [
                {
                    "label": name,
                    "shape_type": "point",
                    "points": [[10.0 + 5 * k, 12.0 + number]],
                    "group_id": None,
                }
                for k, name in enumerate(SKELETON["names"])
            ]
            content = {"imagePath": path.name, "imageHeight": 128, "imageWidth": 128, "shapes": points}
            path.with_suffix(".json").write_text(json.dumps(content))
        (self.inputs / "five.py").write_text(f"keypoints = {SKELETON!r}\n")

    def words(self) -> list[str]:
        return [tool("dataset_converters/labelme_to_coco.py"), str(self.inputs / "labels"), "--keypoints",
                str(self.inputs / "five.py"), "--out", str(self.case / "out")]  # fmt: skip


class Cvat(Job):
    """A zip file of CVAT becomes a COCO folder; it is unpacked to a temporary folder first."""

    def make_inputs(self, warm: Warm) -> None:
        write_scenes(self.inputs / "photos", 3, 0)
        names = list(SKELETON["names"])
        people = [
            {"id": k, "image_id": k, "category_id": 1, "bbox": [5, 5, 60, 60], "area": 3600, "iscrowd": 0,
             "num_keypoints": 5, "keypoints": [v for i in range(5) for v in (10 + i, 20 + k, 2)]}
            for k in (1, 2, 3)
        ]  # fmt: skip
        images = [{"id": k, "file_name": f"{k - 1}.png", "width": 128, "height": 128} for k in (1, 2, 3)]
        category = {"id": 1, "name": "person", "keypoints": names, "skeleton": [[1, 2], [1, 3]]}
        content = {"images": images, "annotations": people, "categories": [category]}
        with zipfile.ZipFile(self.inputs / "export.zip", "w") as archive:
            archive.writestr("annotations/person_keypoints_default.json", json.dumps(content))
            for path in sorted((self.inputs / "photos").glob("*.png")):
                archive.write(path, f"images/{path.name}")

    def words(self) -> list[str]:
        return [tool("dataset_converters/cvat_to_coco.py"), str(self.inputs / "export.zip"),
                "--out", str(self.case / "out")]  # fmt: skip


class Synthetic(Job):
    """The synthetic data set as a COCO folder."""

    def words(self) -> list[str]:
        return [tool("dataset_converters/synthetic_to_coco.py"), "--out", str(self.case / "out"), "--length", "3",
                "--val-length", "1", "--image-size", "64"]  # fmt: skip


class Convert(Job):
    """Weights of EfficientHRNet are converted; others were there."""

    suffix = ".pth"

    def make_inputs(self, warm: Warm) -> None:
        import torch

        from ehrpose.config import load_config, resolve
        from ehrpose.models.weights.conversion_names import public_name
        from ehrpose.registry import MODELS

        cfg = resolve(load_config(ROOT / "configs/ehrnet/h-4_coco-384.py"))
        for name, seed in (("old", 1), ("new", 0)):
            torch.manual_seed(seed)
            model: Any = MODELS.build(cfg.model)
            repeats = [len(stage) for stage in model.backbone.stages]
            tensors = {public_name(key, repeats): value for key, value in model.state_dict().items()}
            torch.save(tensors, self.inputs / f"{name}.pth")

    def old(self) -> list[str]:
        return self._words("old")

    def words(self) -> list[str]:
        return self._words("new")

    def _words(self, name: str) -> list[str]:
        return [tool("misc/convert_checkpoint.py"), str(self.inputs / f"{name}.pth"),
                str(self.case / f"out/model{self.suffix}")]  # fmt: skip


class ConvertSafetensors(Convert):
    """The same to the other format."""

    suffix = ".safetensors"


class Download(Job):
    """A data set is downloaded from a server on this machine, unpacked, and the archive deleted."""

    def make_inputs(self, warm: Warm) -> None:
        write_scenes(self.inputs / "photos", 3, 0)
        archive = self.inputs / "val2017.zip"
        with zipfile.ZipFile(archive, "w") as packed:
            for path in sorted((self.inputs / "photos").glob("*.png")):
                packed.write(path, f"val2017/{path.name}")
        data = archive.read_bytes()
        digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
        self.before = (f"{_HERE}:offer", ["val2017.zip", len(data), digest, "val2017"])
        serve = partial(_QuietServer, directory=str(self.inputs))
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def words(self) -> list[str]:
        address = f"http://127.0.0.1:{self.server.server_port}/"
        return [tool("misc/download_dataset.py"), "--save-dir", str(self.case / "out"), "--parts", "val", "--unzip",
                "--delete", "--server", address]  # fmt: skip

    def kept(self, old: Mapping[str, str], new: Mapping[str, str]) -> str:
        """Allow the archive and its part, which the next run completes."""
        archive = self.content(self.inputs / "val2017.zip")
        for name, content in self.state().items():
            if is_hidden(name) or name.endswith(".part"):
                continue
            if content != (archive if name == "out/val2017.zip" else new.get(name)):
                return f"{name} is not whole"
        return ""


class _QuietServer(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


JOBS: dict[str, Callable[[Path, Path], Job]] = {
    "train": Train,
    "resume": Resume,
    "predict-photos": PredictPhotos,
    "predict-video": PredictVideo,
    "deploy-onnx": Deploy,
    "deploy-openvino": DeployOpenvino,
    "labelme": Labelme,
    "cvat": Cvat,
    "synthetic": Synthetic,
    "convert": Convert,
    "convert-safetensors": ConvertSafetensors,
    "download": Download,
}


def tool(name: str) -> str:
    """Return the path of a script in ``tools``.

    Raises:
        ValueError: This is an installed package, which has no scripts.
    """
    path = ROOT / "tools" / name
    if not path.is_file():
        raise ValueError(f"{path} not found: crashes are tried from a checkout of the repository")
    return str(path)


def write_scenes(folder: Path, number: int, seed: int) -> None:
    """Write drawn scenes of 128 px as PNG files."""
    from ehrpose.datasets.converters.skeleton_config import load_keypoints
    from ehrpose.datasets.synthetic.dataset import SyntheticPeople

    folder.mkdir(parents=True)
    scenes = SyntheticPeople(
        load_keypoints(ROOT / "configs/_base_/keypoints/coco.py"), number, seed, 128, (1, 2)
    )
    for index in range(number):
        cv2.imwrite(str(folder / f"{index}.png"), np.asarray(scenes.get_data_info(index)["img"]))


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
    import mmengine.runner.runner as runner
    import yapf.yapflib.yapf_api as formatter

    def unchanged(text: str, *_: Any, **__: Any) -> tuple[str, bool]:
        return text, True

    formatter.FormatCode = unchanged
    config = __import__("mmengine.config.config", fromlist=["FormatCode"])
    config.FormatCode = unchanged
    runner.collect_env = lambda: {}


def offer(file: list) -> None:
    """Put a small file in the place of COCO's."""
    from ehrpose.datasets import download

    path, size, digest, marker = file
    remote = download.RemoteFile(path, size, digest, marker)
    download.REMOTE_DATASETS["coco2017"] = download.RemoteDataset(
        "http://127.0.0.1/", {"val": remote}, ("val",)
    )
