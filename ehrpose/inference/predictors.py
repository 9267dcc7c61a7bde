"""One way to ask for people, whatever runs the network: torch, or an exported file without torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ehrpose.structures import Maps, People
from ehrpose.visualization.map_view import maps_of_photo

# Suffixes of exported networks.
EXPORTED = (".onnx", ".xml", ".engine", ".plan", ".pt2")


class Predictor(Protocol):
    """What finds people in photos.

    Attributes:
        name: Short name of model and backend, for captions and logs.
        meta: KeypointMeta of the skeleton.
    """

    name: str
    meta: Any

    def predict(self, images: Sequence[np.ndarray]) -> list[People]:
        """Return the people of each (H, W, 3) uint8 BGR photo, in its pixels, best first."""

    def maps(self, image: np.ndarray) -> tuple[Maps, np.ndarray]:
        """Return a photo's maps, without the batch axis, and the (2, 3) warp from photo to input."""

    def close(self) -> None:
        """Give memory back."""


class RuntimePredictor:
    """An exported network, run without torch.

    Args:
        path: The exported file with its JSON beside it.
        backend: Name in BACKENDS; None is the one that it was exported for.
        num_threads: Threads on the CPU; None is the backend's own choice.
        mode: Decoding, ``"fast"`` or ``"paper"``; None is the codec's own.
    """

    def __init__(
        self,
        path: str | Path,
        backend: str | None = None,
        num_threads: int | None = None,
        mode: str | None = None,
    ):
        from ehrpose.deploy.runtime import PoseRuntime

        options = {} if mode is None else {"mode": mode}
        self.runtime = PoseRuntime(path, backend, num_threads, options)
        self.meta = self.runtime.codec.meta
        sidecar = self.runtime.sidecar
        self.name = f"{sidecar.name} {backend or sidecar.backend} {sidecar.precision}"
        self.runtime.warm_up(1)

    def predict(self, images: Sequence[np.ndarray]) -> list[People]:
        """Return the people of each photo; the network's fixed input holds each whole."""
        return self.runtime.predict(images)

    def maps(self, image: np.ndarray) -> tuple[Maps, np.ndarray]:
        """Return a photo's maps and warp.

        Raises:
            ValueError: The network was exported with ``--decode peaks`` and gives none.
        """
        pixels, warp = self.runtime.prepare(image)
        batch = np.repeat(pixels[None], self.runtime.sidecar.batch_size, axis=0)
        maps = self.runtime.run(batch)
        if not isinstance(maps, Maps):
            raise ValueError(
                f"{self.runtime.path} gives candidates and no heatmaps: export it with --decode none to see them"
            )
        return maps.image(0), warp

    def close(self) -> None:
        """Give the network's memory back."""
        self.runtime.close()


class TorchPredictor:
    """A model of a config and a checkpoint, or of the zoo.

    Args:
        config: Config file, Config, or name in the zoo; or a model of ``init_model``.
        checkpoint: Weights; None takes the zoo's, or random ones.
        device: ``"cpu"``, ``"cuda:0"``, ...; None takes CUDA where there is some.
        cfg_options: Dotted keys and values that replace those of the config.
        mode: Decoding, ``"fast"`` or ``"paper"``; None is the config's.
        flip_test: Look at the mirrored photo as well; None is the config's.
        letterbox: Side, or width and height, of an input into which every photo is fitted, multiples of 32, so that
            photos of any shape run in one batch; None gives each photo an input of its own shape.
        num_threads: Threads on the CPU; None is torch's choice. Holds for the whole process.
    """

    def __init__(
        self,
        config: Any,
        checkpoint: str | Path | None = None,
        device: str | None = None,
        cfg_options: dict[str, Any] | None = None,
        mode: str | None = None,
        flip_test: bool | None = None,
        letterbox: int | Sequence[int] | None = None,
        num_threads: int | None = None,
    ):
        import torch
        from mmengine.dataset import Compose
        from torch import nn

        from ehrpose.models.loading import init_model
        from ehrpose.registry import TRANSFORMS

        options = dict(cfg_options or {})
        if mode is not None:
            options.setdefault("codec.mode", mode)
        if flip_test is not None:
            options.setdefault("model.flip_test", flip_test)
        if num_threads is not None:
            torch.set_num_threads(num_threads)
        if isinstance(config, nn.Module):
            self.model: Any = config
        else:
            device = device or ("cuda:0" if torch.cuda.is_available() else "cpu")
            self.model = init_model(config, checkpoint, device, options)
        self.meta = self.model.codec.meta
        self.name = Path(self.model.cfg.filename or "model").stem
        steps = [dict(step) for step in self.model.cfg.test_dataloader.dataset.pipeline]
        if letterbox is not None:
            fitted = {"type": "BottomUpLetterbox", "size_wh": letterbox}
            steps = [fitted if step["type"] == "BottomUpResize" else step for step in steps]
        self._pipeline = Compose([TRANSFORMS.build(step) for step in steps])

    def samples(self, images: Sequence[np.ndarray]) -> list[Any]:
        """Return a PoseDataSample per photo, those of one input shape run through the network at once."""
        import torch

        items = [
            self._pipeline({"img_id": i, "img": image, "width": image.shape[1], "height": image.shape[0]})
            for i, image in enumerate(images)
        ]
        batch = {key: [item[key] for item in items] for key in ("inputs", "data_samples")}
        with torch.no_grad():
            return list(self.model.test_step(batch)) if items else []

    def predict(self, images: Sequence[np.ndarray]) -> list[People]:
        """Return the people of each photo."""
        return [sample.people() for sample in self.samples(images)]

    def maps(self, image: np.ndarray) -> tuple[Maps, np.ndarray]:
        """Return a photo's maps and warp, at scale 1 where the config tests several."""
        import torch

        height, width = image.shape[:2]
        item = self._pipeline({"img_id": 0, "img": image, "width": width, "height": height})
        pixels = item["inputs"][0] if isinstance(item["inputs"], list) else item["inputs"]
        with torch.no_grad():
            maps = self.model.test_maps(self.model.data_preprocessor({"inputs": [pixels]})["inputs"])[0]
        return maps, np.asarray(item["data_samples"].warp)

    def close(self) -> None:
        """Nothing to do; the model goes with its last user."""


def open_predictor(
    model: Any = "ehrnet-small",
    weights: str | Path | None = None,
    device: str | None = None,
    backend: str | None = None,
    **options: Any,
) -> Predictor:
    """Return what runs ``model``.

    Args:
        model: Name in the zoo, config file, Config, model of ``init_model``, or exported file.
        weights: Checkpoint of a config.
        device: Device of a torch model.
        backend: Backend of an exported file.
        **options: Those of TorchPredictor or RuntimePredictor that are not None.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: Arguments do not fit the kind of model, or it cannot be used.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if not is_exported(model):
        if backend is not None:
            raise ValueError(f"backend is for exported files ({', '.join(EXPORTED)}), got model {model!r}")
        return TorchPredictor(model, weights, device, **given)
    if weights is not None:
        raise ValueError(f"{model} is an exported network, which holds its weights: leave out {weights}")
    if given.get("flip_test") is False:  # it never flips
        del given["flip_test"]
    for name in ("cfg_options", "flip_test", "letterbox"):
        if name in given:
            raise ValueError(f"{name} cannot be changed in the exported network {model}: export it again")
    return RuntimePredictor(model, backend, **given)


def weights_of(model: str, weights: str | None) -> str | None:
    """Return the checkpoint of a command line; ``"none"`` asks for random weights.

    Raises:
        ValueError: A config file has none, which is seldom meant.
    """
    if weights is None and Path(model).suffix == ".py":
        raise ValueError(
            f"{model} is a config without weights: give a checkpoint too, or 'none' for random ones"
        )
    return None if weights == "none" else weights


def is_exported(model: Any) -> bool:
    """Whether ``model`` is the name of an exported network's file."""
    return isinstance(model, (str, Path)) and Path(model).suffix.lower() in EXPORTED


def photo_maps(predictor: Predictor, photo: np.ndarray) -> Maps:
    """Return the Maps of a photo (H, W, 3) uint8 BGR, cut to the photo, without the batch axis."""
    maps, warp = predictor.maps(photo)
    return maps_of_photo(maps, warp, photo.shape[1::-1])
