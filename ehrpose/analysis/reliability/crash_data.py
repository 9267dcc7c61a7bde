"""Conversions and the download, disturbed by ``make crash``."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
import zipfile
from collections.abc import Mapping
from functools import partial
from typing import Any

from ehrpose.analysis.reliability.crash_job import ROOT, Job, is_hidden, tool, write_scenes
from ehrpose.analysis.reliability.documents import SKELETON
from ehrpose.analysis.reliability.warm import Warm


class Labelme(Job):
    """Photos labelled with labelme become a COCO folder."""

    once = True

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

    once = True

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

    once = True

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
        self.before = (f"{__name__}:offer", ["val2017.zip", len(data), digest, "val2017"])
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
            if is_hidden(name) or name.endswith((".part", ".part.version")):
                continue
            if content != (archive if name == "out/val2017.zip" else new.get(name)):
                return f"{name} is not whole"
        return ""


class _QuietServer(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


def offer(file: list) -> None:
    """Put a small file in the place of COCO's."""
    from ehrpose.datasets import download

    path, size, digest, marker = file
    remote = download.RemoteFile(path, size, digest, marker)
    download.REMOTE_DATASETS["coco2017"] = download.RemoteDataset(
        "http://127.0.0.1/", {"val": remote}, ("val",)
    )
