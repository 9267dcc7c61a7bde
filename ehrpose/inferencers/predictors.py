"""One interface for finding people, whether torch or an exported file runs the network."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import numpy as np

from ehrpose.image_io import check_image
from ehrpose.inferencers.model_spec import EXPORTED, is_exported
from ehrpose.inferencers.zoo_form import model_or_file
from ehrpose.model_zoo import is_model_name
from ehrpose.structures import People
from ehrpose.torch_threads import before_torch_computes, set_torch_threads


class Predictor(Protocol):
    """An object that finds people in photos.

    Attributes:
        name: Short name of model and backend, for captions and logs.
        meta: KeypointMeta of the skeleton.
    """

    name: str
    meta: Any

    def predict(self, images: Sequence[np.ndarray]) -> list[People]:
        """Return the people of each (H, W, 3) uint8 BGR photo, in its pixels, best first."""

    def maps(self, image: np.ndarray) -> tuple[Any, np.ndarray]:
        """Return a photo's maps, without the batch axis, and the (2, 3) warp from photo to input."""

    def close(self) -> None:
        """Free memory."""


class RuntimePredictor:
    """An exported network, run without torch.

    Args:
        path: The exported file with its JSON next to it.
        backend: Name in BACKENDS; None takes the one it was exported for.
        num_threads: CPU threads; None leaves it to the backend.
        mode: Decoding mode, ``"fast"`` or ``"paper"``; None takes the codec's.
        device: Device to run on; one that the backend does not run on is refused. None takes the backend's.
        trust_pt2: Open a ``.pt2`` file, which may run any code in it; without, it is refused.

    Attributes:
        name: Name of the config, backend, the precision that really runs, and the device unless it is the CPU.
    """

    def __init__(
        self,
        path: str | Path,
        backend: str | None = None,
        num_threads: int | None = None,
        mode: str | None = None,
        device: str | None = None,
        trust_pt2: bool = False,
    ):
        from ehrpose.deploy.runtime import PoseRuntime

        options = {} if mode is None else {"mode": mode}
        self.runtime = PoseRuntime(path, backend, num_threads, options, trust_pt2, device=device)
        self.codec = self.runtime.codec
        self.meta = self.codec.meta
        sidecar = self.runtime.sidecar
        self.name = f"{sidecar.name} {backend or sidecar.backend} {self.runtime.precision}"
        if self.runtime.backend.device != "cpu":
            self.name += f" on {self.runtime.backend.device}"
        used = self.runtime.backend.used_precision
        if self.runtime.precision != used:
            print(
                f"{path}: {backend or sidecar.backend} computes in {used} on this machine, the file is "
                f"{sidecar.precision}",
                file=sys.stderr,
            )
        if self.runtime.backend.first_run_is_slow:
            self.runtime.warm_up(1)

    def predict(self, images: Sequence[np.ndarray]) -> list[People]:
        """Return the people of each photo, in its pixels, best first."""
        return self.runtime.predict(images)

    def maps(self, image: np.ndarray) -> tuple[Any, np.ndarray]:
        """Return a photo's maps and warp.

        Raises:
            ValueError: The network was exported with ``decode="peaks"`` and returns none.
        """
        pixels, warp = self.runtime.prepare(image)
        batch = np.repeat(pixels[None], self.runtime.sidecar.batch_size, axis=0)
        if self.runtime.sidecar.decode == "peaks":
            raise ValueError(
                f"{self.runtime.path} returns candidates, not heatmaps: export it with `decode='none'` to see heatmaps"
            )
        return self.runtime.run(batch).image(0), warp

    def close(self) -> None:
        """Free the network's memory."""
        self.runtime.close()


class TorchPredictor:
    """A model from a config and a checkpoint, or a zoo model; the only path by which torch runs a model on photos.

    Args:
        config: Config file, Config, or zoo model name; or a model from ``init_model``, without the next five arguments.
        checkpoint: Weights; None takes those of the zoo model, or random ones.
        device: ``"cpu"``, ``"cuda:0"``, ...; None takes CUDA if available.
        cfg_options: Dotted keys with values that override the config's.
        mode: Decoding mode, ``"fast"`` or ``"paper"``; None takes the config's.
        flip_test: Also run the mirrored photo; None takes the config's setting.
        letterbox: Side, or width and height, of an input that every photo is fitted into, multiples of 32, so that
            photos of any shape can share a batch; None adapts the input's shape to each photo.
        num_threads: CPU threads; None leaves it to torch. Applies to the whole process. 1 in a process that was
            forked after its parent opened a torch model.

    Raises:
        FileNotFoundError: Config or checkpoint is missing.
        ValueError: The model cannot be used, or is already built and does not accept an argument.
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
        from torch import nn

        from ehrpose.models.loading import init_model

        if num_threads is not None:
            set_torch_threads(num_threads)
        if isinstance(config, nn.Module):
            _refuse(
                checkpoint=checkpoint, device=device, cfg_options=cfg_options, mode=mode, flip_test=flip_test
            )
            self.model: Any = config
        else:
            options = dict(cfg_options or {})
            if mode is not None:
                options.setdefault("codec.mode", mode)
            if flip_test is not None:
                options.setdefault("model.flip_test", flip_test)
            device = device or ("cuda:0" if torch.cuda.is_available() else "cpu")
            self.model = init_model(config, checkpoint, device, options)
        if not hasattr(self.model, "codec"):
            name = self.model.cfg.filename or "the model"
            raise ValueError(f"{name} finds no people: to say what a photo shows, use ehrpose classify")
        self.codec = self.model.codec
        self.meta = self.codec.meta
        self.name = Path(self.model.cfg.filename or "model").stem
        self._pipeline = _kept_pipeline(self.model) if letterbox is None else _pipeline(self.model, letterbox)

    def samples(self, photos: Sequence[Any], first_id: int = 0) -> list[Any]:
        """Return a PoseDataSample per photo; photos with the same input shape share a forward pass.

        Args:
            photos: File names or (H, W, 3) uint8 BGR arrays.
            first_id: ``img_id`` of the first photo; the others follow.

        Raises:
            ImageReadError: A file is missing or not an image.
            ValueError: An array has the wrong shape or dtype.
        """
        import torch

        before_torch_computes()  # the pipeline uses torch too
        items = [self._pipeline(_as_item(photo, first_id + i)) for i, photo in enumerate(photos)]
        batch = {key: [item[key] for item in items] for key in ("inputs", "data_samples")}
        with torch.no_grad():
            return list(self.model.test_step(batch)) if items else []

    def predict(self, images: Sequence[np.ndarray]) -> list[People]:
        """Return the people of each photo."""
        return [sample.people() for sample in self.samples(images)]

    def maps(self, image: np.ndarray) -> tuple[Any, np.ndarray]:
        """Return a photo's maps and warp, at scale 1 if the config tests several scales."""
        import torch

        before_torch_computes()
        item = self._pipeline(_as_item(image, 0))
        pixels = item["inputs"][0] if isinstance(item["inputs"], list) else item["inputs"]
        with torch.no_grad():
            maps = self.model.test_maps(self.model.data_preprocessor({"inputs": [pixels]})["inputs"])[0]
        return maps, np.asarray(item["data_samples"].warp)

    def raw_maps(self, inputs: Any) -> Any:
        """Return the raw network output as arrays, for the same input as the exported model: no resizing, no flip test.

        Args:
            inputs: (B, 3, H, W) uint8 BGR tensor on the model's device, H and W multiples of 32.
        """
        import torch

        with torch.no_grad():
            maps = self.model.maps(self.model.data_preprocessor.normalize(inputs))
        return type(maps)(*(None if field is None else field.cpu().numpy() for field in maps))

    def close(self) -> None:
        """Do nothing; the model is freed with its last reference."""


# Model -> its test pipeline's config, as text, and the pipeline built from it. In a weak dict rather than on the model,
# so that freeing, copying and pickling a model are unaffected.
_PIPELINES: WeakKeyDictionary[Any, tuple[str, Any]] = WeakKeyDictionary()


def _kept_pipeline(model: Any) -> Any:
    """Return the pipeline of a model, built on first use and rebuilt if ``model.cfg`` has changed since."""
    steps = repr(model.cfg.test_dataloader.dataset.pipeline)  # much faster than comparing configs
    kept = _PIPELINES.get(model)
    if kept is None or kept[0] != steps:
        kept = _PIPELINES[model] = (steps, _pipeline(model))
    return kept[1]


def _pipeline(model: Any, letterbox: int | Sequence[int] | None = None) -> Any:
    """Return the test pipeline of ``model.cfg``; with ``letterbox`` photos are fitted into an input of that size."""
    from mmengine.dataset import Compose

    from ehrpose.registry import TRANSFORMS

    steps = [dict(step) for step in model.cfg.test_dataloader.dataset.pipeline]
    if letterbox is not None:
        for place, step in enumerate(steps):
            if step["type"] in ("BottomUpResize", "BottomUpLetterbox"):
                border = {"border": step["border"]} if "border" in step else {}
                fitted = {"type": "BottomUpLetterbox", "size_wh": letterbox, "codec": model.codec}
                steps[place] = {**fitted, **border}
    return Compose([TRANSFORMS.build(step) for step in steps])


def _as_item(photo: Any, number: int) -> dict[str, Any]:
    """Return a photo in the form that the first transform expects."""
    if not isinstance(photo, np.ndarray):
        return {"img_id": number, "img_path": str(photo)}
    height, width = check_image(photo).shape[:2]
    return {"img_id": number, "img": photo, "width": width, "height": height}


def _refuse(**arguments: Any) -> None:
    given = [name for name, value in arguments.items() if value is not None]
    if given:
        raise ValueError(
            f"the model is already built and does not accept {', '.join(given)}: pass them to init_model"
        )


def open_predictor(
    model: Any = "ehrnet-small",
    weights: str | Path | None = None,
    device: str | None = None,
    backend: str | None = None,
    **options: Any,
) -> Predictor:
    """Return the predictor that runs ``model``.

    Args:
        model: Zoo model name, config file, Config, model from ``init_model``, or exported file; an object with
            ``predict`` and ``meta`` (``OwnPredictor``); or ``movenet:FILE.onnx``, a file of another project. Included
            zoo models run by their exported form where no option needs torch, see ``network_or_name``.
        weights: Checkpoint of a config.
        device: Device to run on; an exported file refuses one that its backend does not run on. None takes the best.
        backend: Backend of an exported file; ``"torch"`` runs a zoo model with torch.
        **options: Options of TorchPredictor or RuntimePredictor; None is ignored.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: Arguments do not fit the kind of model, or it cannot be used.
    """
    if is_model_name(model) and not is_exported(model):
        model = model_or_file(model, weights, device, backend, options)
    given = {name: value for name, value in options.items() if value is not None}
    own = _foreign(model, weights, device, backend, given)
    if own is not None:
        return own
    trust_pt2 = given.pop("trust_pt2", False)  # says nothing about other files
    if not is_exported(model):
        if backend not in (None, "torch"):
            raise ValueError(f"backend is for exported files ({', '.join(EXPORTED)}), got model {model!r}")
        return TorchPredictor(model, weights, device, **given)
    if weights is not None:
        raise ValueError(f"{model} is an exported network, which contains its weights: omit {weights}")
    if given.get("flip_test") is False:  # it never flips
        del given["flip_test"]
    for name in ("cfg_options", "flip_test", "letterbox"):
        if name in given:
            raise ValueError(f"{name} cannot be changed in the exported network {model}: export it again")
    return RuntimePredictor(model, backend, device=device, trust_pt2=trust_pt2, **given)


def _foreign(model: Any, weights: Any, device: str | None, backend: str | None, given: dict[str, Any]) -> Any:
    """Return the predictor of an object of the user's own or of another project's file; None: it is one of ours."""
    others = {"weights": weights, **given}
    if isinstance(model, str):
        if ":" not in model:
            return None
        from ehrpose.inferencers.adapters import open_adapter, split_family

        family = split_family(model)
        if family is None:
            return None
        num_threads = others.pop("num_threads", None)
        _refuse_foreign(model, others)
        return open_adapter(*family, backend=backend, device=device, num_threads=num_threads)
    if not callable(getattr(model, "predict", None)) or not hasattr(model, "meta"):
        return None
    from ehrpose.inferencers.own import OwnPredictor

    _refuse_foreign(type(model).__name__, {**others, "device": device, "backend": backend})
    return OwnPredictor(model)


def _refuse_foreign(name: str, options: dict[str, Any]) -> None:
    given = sorted(
        key
        for key, value in options.items()
        if value not in (None, False) and (key, value) != ("mode", "fast")  # the command's default
    )
    if given:
        raise ValueError(f"{name} does not accept {', '.join(given)}: it is not a network of ehrpose")


def photo_maps(predictor: Any, photo: np.ndarray) -> Any:
    """Return the maps of a photo (H, W, 3) uint8 BGR, cropped to the photo, without the batch axis."""
    from ehrpose.visualization.map_view import maps_of_photo

    maps, warp = predictor.maps(photo)
    return maps_of_photo(maps, warp, photo.shape[1::-1], predictor.codec.map_strides)


def photo_heat(predictor: Any, photo: np.ndarray) -> np.ndarray:
    """Return the finest heatmaps (K, h, w) of a photo (H, W, 3) uint8 BGR, cropped to the photo."""
    return np.asarray(predictor.codec.finest_heat(photo_maps(predictor, photo)))
