"""Labels, sidecars of exported networks, and values of config options: damaged ones end in one promised error."""

from __future__ import annotations

import argparse
import random
from pathlib import Path
from typing import Any

import numpy as np

from ehrpose.analysis.reliability.mutation import Outcome, case_rng, document_bytes
from ehrpose.files import write_bytes

PARTS = ("nose", "left_wrist", "right_wrist", "left_ankle", "right_ankle")
SKELETON = {
    "dataset_name": "five",
    "names": list(PARTS),
    "swap": [list(PARTS[1:3]), list(PARTS[3:])],
    "skeleton": [["nose", name] for name in PARTS[1:]],
    "sigmas": [0.026, 0.062, 0.062, 0.089, 0.089],
}


def refusal(
    error: Exception, promised: tuple[type[Exception], ...], name: str = "", one_line: bool = True
) -> Outcome:
    """Return the outcome of an error: a fault if it is of another kind, has several lines, or lacks the file's name."""
    text = str(error)
    if not isinstance(error, promised):
        return Outcome("other error", f"{type(error).__name__}: {text}"[:300])
    if one_line and "\n" in text.strip():
        return Outcome("refused", f"a message of several lines: {text!r}"[:300])
    if name not in text:
        return Outcome("refused", f"a message without {name}: {text}"[:300])
    return Outcome("refused")


class Labels:
    """Damaged annotation files in COCO's format."""

    def __init__(self, seed: int, folder: Path):
        from ehrpose.keypoint_meta import KeypointMeta

        self.seed, self.path = seed, folder / "labels.json"
        self.meta = KeypointMeta.build(SKELETON)
        self.document = _labels()

    def check(self, index: int) -> Outcome:
        """Read one damaged file."""
        from ehrpose.datasets.coco_json import read_coco_json

        rng = case_rng("labels", self.seed, index)
        write_bytes(self.path, document_bytes(self.document, rng), durable=False)
        try:
            items = read_coco_json(self.path, self.meta, keep_outlines=rng.random() < 0.5).items
        except Exception as error:
            return refusal(error, (ValueError,), self.path.name)
        for item in items:
            for key in ("keypoints", "visible", "bbox", "area"):
                if not np.isfinite(np.asarray(item[key], float)).all():
                    return Outcome("read", f"{key} of photo {item['img_id']} is not finite")
        return Outcome("read")


def _labels() -> dict[str, Any]:
    """Return three photos with five people, one of them a crowd."""
    people = []
    for number in range(5):
        points = [[10.0 + 5 * k + number, 20.0 + 3 * k, 2] for k in range(len(PARTS))]
        people.append(
            {
                "id": number + 1,
                "image_id": 1 + number % 3,
                "category_id": 1,
                "bbox": [5, 10, 40, 30],
                "area": 900.0,
                "iscrowd": int(number == 4),
                "num_keypoints": len(PARTS),
                "keypoints": [value for point in points for value in point],
                "segmentation": [[5, 10, 45, 10, 45, 40, 5, 40]],
            }
        )
    return {
        "images": [{"id": i, "file_name": f"{i}.jpg", "width": 80, "height": 60} for i in (1, 2, 3)],
        "annotations": people,
        "categories": [{"id": 1, "name": "person", "keypoints": list(PARTS), "skeleton": [[1, 2], [1, 3]]}],
    }


class Sidecars:
    """Damaged JSON next to a small ONNX network: it is opened as a user opens it, and finds people on a picture."""

    def __init__(self, seed: int, folder: Path):
        from ehrpose.deploy.sidecar import Sidecar, file_hash, sidecar_path

        self.seed, self.path = seed, folder / "network.onnx"
        write_bytes(self.path, _network(), durable=False)
        side = 32
        sidecar = Sidecar(
            name="five",
            backend="onnxruntime",
            precision="fp32",
            input={"name": "input", "shape": [1, 3, side, side], "dtype": "uint8", "layout": "NCHW", "color": "BGR",
                   "range": [0, 255], "dynamic_batch": False},
            outputs={"heat4": [1, 5, side // 4, side // 4], "tag4": [1, 5, side // 4, side // 4]},
            codec={"type": "AssociativeEmbedding", "input_size": side, "keypoints": SKELETON, "strides": [4]},
            sha256={self.path.name: file_hash(self.path)},
        )  # fmt: skip
        import json

        self.document = json.loads(sidecar.write(self.path).read_text(encoding="utf-8"))
        self.target = sidecar_path(self.path)
        self.image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
        self._open()  # must work undamaged

    def check(self, index: int) -> Outcome:
        """Open the network with one damaged sidecar."""
        from ehrpose.deploy.sidecar import DeployError

        rng = case_rng("sidecars", self.seed, index)
        write_bytes(self.target, document_bytes(self.document, rng), durable=False)
        try:
            people = self._open()
        except Exception as error:
            return refusal(error, (DeployError, FileNotFoundError))
        is_finite = np.isfinite(people.keypoints).all() and np.isfinite(people.scores).all()
        return Outcome("read", "" if is_finite else "people that are not finite")

    def _open(self) -> Any:
        from ehrpose.deploy.runtime import PoseRuntime

        return PoseRuntime(self.path, num_threads=1)(self.image)


def _network() -> bytes:
    """Return an ONNX network from bytes to maps, with constant weights."""
    try:
        from onnx import TensorProto, helper, numpy_helper
    except ImportError as error:
        raise ModuleNotFoundError("needs onnx and onnxruntime: pip install onnx onnxruntime") from error
    weights = np.random.default_rng(0).normal(0, 0.002, (10, 3, 4, 4)).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["input"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Conv", ["pixels", "weights"], ["x"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Split", ["x"], ["heat4", "tag4"], axis=1),
    ]
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 5, 8, 8]) for name in ("heat4", "tag4")
    ]
    inputs = [helper.make_tensor_value_info("input", TensorProto.UINT8, [1, 3, 32, 32])]
    graph = helper.make_graph(nodes, "five", inputs, outputs, [numpy_helper.from_array(weights, "weights")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    return model.SerializeToString()


class ConfigOptions:
    """Generated options for a small config: they are merged, or refused in one line; text stays as typed."""

    _WORDS = (
        "1", "-2", "3.5", "1e400", "nan", "inf", "None", "true", "abc", "a b", "a/b", "c:\\d", "_$x", "\u00e4",
        "\U0001d7d9", "[", "]", "(", ")", "{", "}", ",", ",", ":", "=", '"', "'", " ", "..", "\\", "\n", "\x00",
        "9" * 400,
    )  # fmt: skip
    _KEYS = (
        "number", "label", "pair", "words", "model.type", "model.depth", "model.new", "steps.0", "steps.9.lr",
        "steps.x", "missing", "missing.deep", "", ".", "a..b", "label.x", "number.x", "reference", "reference.x",
    )  # fmt: skip

    def __init__(self, seed: int, folder: Path):
        from mmengine.config import Config

        self.seed, self.make = seed, Config
        self.content = {
            "number": 3, "label": "abc", "pair": (1, 2), "words": ["a", "b"], "model": {"type": "A", "depth": 1.5},
            "steps": [{"lr": 0.1}, {"lr": 0.2}], "reference": "$model",
        }  # fmt: skip

    def check(self, index: int) -> Outcome:
        """Parse and merge one or two generated options."""
        from ehrpose.cli import add_cfg_options
        from ehrpose.config import merge_options

        rng = case_rng("options", self.seed, index)
        options = {rng.choice(self._KEYS): self._text(rng) for _ in range(rng.choice((1, 1, 2)))}
        parser = argparse.ArgumentParser(exit_on_error=False)
        add_cfg_options(parser)
        cfg = self.make(self.content)
        try:
            words = [f"{key}={text}" for key, text in options.items()]
            merge_options(cfg, parser.parse_args(["--cfg-options", *words]).cfg_options)
        except Exception as error:
            outcome = refusal(
                error, (ValueError, argparse.ArgumentError), one_line="\n" not in "".join(options.values())
            )
            outcome.fault = outcome.fault and f"{options}: {outcome.fault}"
            return outcome
        typed = options.get("label")
        if typed is not None and typed != "None" and not set(typed) & set("\"'") and cfg.label != typed:
            return Outcome("read", f"{options}: label is {cfg.label!r}")
        return Outcome("read")

    def _text(self, rng: random.Random) -> str:
        return "".join(rng.choice(self._WORDS) for _ in range(rng.choice((1, 2, 3, 5, 9, 40))))
