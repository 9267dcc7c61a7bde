"""Exporting a trained model to a checked ONNX file.

The exported network normalises the image itself, has its batch norms folded into the convolutions, and outputs maps
under the names that the codec gives them. If a check fails, nothing that looks finished is left behind.
"""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ehrpose.deploy.export.deconvolutions import replace_deconvolutions
from ehrpose.deploy.export.padded_conv import write_padding_into_convs
from ehrpose.deploy.export.peaks import peak_extractor
from ehrpose.deploy.sidecar import INPUT_NAME, DeployError
from ehrpose.models.estimator import side_multiple

LAYOUTS = ("NCHW", "NHWC")
INPUT_DTYPES = ("uint8", "float32")
DECODES = ("none", "peaks")
# TensorRT 8.5, the last release for the Jetson Xavier, reads it, and torch's exporter writes it without workarounds.
DEFAULT_OPSET = 13


class DeployNetwork(nn.Module):
    """Backbone, neck and head of an estimator, from raw pixels to maps.

    Args:
        model: A BottomUpEstimator; copied, not changed.
        layout: Layout of the input, ``"NCHW"`` or ``"NHWC"``.
        dtype: Type of the input, ``"uint8"`` or ``"float32"``; 0 to 255 in both, BGR.
        decode: ``"none"``: the outputs are maps; ``"peaks"``: the candidates of keypoints in them.
        plain_convs: Write transposed convolutions as plain ones, see ``replace_deconvolutions``.
    """

    def __init__(
        self,
        model: Any,
        layout: str = "NCHW",
        dtype: str = "uint8",
        decode: str = "none",
        plain_convs: bool = False,
    ):
        super().__init__()
        if layout not in LAYOUTS or dtype not in INPUT_DTYPES or decode not in DECODES:
            raise ValueError(
                f"expected layout in {LAYOUTS}, dtype in {INPUT_DTYPES} and decode in {DECODES}, "
                f"got {layout}, {dtype}, {decode}"
            )
        model = copy.deepcopy(model).eval().cpu().float()
        self.layout, self.dtype = layout, dtype
        self.normalise = normalisation(model.data_preprocessor)
        self.backbone, self.neck, self.head = model.backbone, model.neck, model.head
        self.names = tuple(model.codec.output_names)
        self.side_offset = getattr(model.codec, "side_offset", 0)
        self.peaks = None
        if decode == "peaks":
            self.names = model.codec.peaks_type._fields
            self.peaks = peak_extractor(model.codec)
        self.folded = fold_batch_norms(self)
        if plain_convs:
            replace_deconvolutions(self)
        write_padding_into_convs(self)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the maps of (B, 3, H, W) or (B, H, W, 3) images, in the order of ``names``."""
        if self.layout == "NHWC":
            images = images.permute(0, 3, 1, 2)
        maps = self.head(self.neck(self.backbone(self.normalise(images.float()))))
        if self.peaks is not None:
            return tuple(self.peaks(maps))
        return tuple(getattr(maps, name) for name in self.names)


def normalisation(preprocessor: Any) -> nn.Conv2d:
    """Return the preprocessor's normalisation, including BGR to RGB, as a 1x1 convolution."""
    mean, std = preprocessor.mean.reshape(3).double(), preprocessor.std.reshape(3).double()
    order = [2, 1, 0] if preprocessor.bgr_to_rgb else [0, 1, 2]
    conv = nn.Conv2d(3, 3, 1)
    with torch.no_grad():
        conv.weight.zero_()
        conv.weight[torch.arange(3), torch.tensor(order), 0, 0] = (1 / std).float()
        conv.bias.copy_((-mean / std).float())  # type: ignore[union-attr]
    return conv.eval()


def fold_batch_norms(network: nn.Module) -> dict[str, tuple[str, float]]:
    """Fold every batch norm that follows a convolution into it, in place.

    A norm belongs to the convolution that was registered just before it in the same module.

    Returns:
        Name of each of these convolutions to the name of its norm and the norm's epsilon.
    """
    folded = {}
    for prefix, parent in list(network.named_modules()):
        for (name, conv), (norm_name, norm) in _neighbours(parent):
            if isinstance(conv, (nn.Conv2d, nn.ConvTranspose2d)) and isinstance(norm, nn.BatchNorm2d):
                transposed = isinstance(conv, nn.ConvTranspose2d)
                setattr(parent, name, fuse_conv_bn_eval(conv, norm, transpose=transposed))
                setattr(parent, norm_name, nn.Identity())
                names = [f"{prefix}.{child}" if prefix else child for child in (name, norm_name)]
                folded[names[0]] = (names[1], norm.eps)
    return folded


def _neighbours(parent: nn.Module) -> Iterator[tuple[tuple[str, nn.Module], tuple[str, nn.Module]]]:
    children = list(parent.named_children())
    yield from zip(children, children[1:])


def export_onnx(
    network: Any,
    size_wh: tuple[int, int],
    batch_size: int = 1,
    dynamic_batch: bool = False,
    opset: int = DEFAULT_OPSET,
    dynamic_sides: bool = False,
) -> bytes:
    """Return the ONNX file of a network.

    Args:
        network: A DeployNetwork, or what has its attributes.
        size_wh: Width and height of the input, px, multiples of 32, or of what the backbone asks for.
        batch_size: Batch size.
        dynamic_batch: Allow any batch size.
        opset: ONNX opset version.
        dynamic_sides: Allow any height and width that the network takes; ``size_wh`` is then one example.

    Raises:
        DeployError: torch cannot export it, or wrote another opset.
        ValueError: The input size or batch size is invalid.
    """
    import onnx

    width, height = size_wh
    multiple, offset = side_multiple(network), network.side_offset
    if any((side - offset) % multiple for side in size_wh) or min(size_wh) < multiple or batch_size < 1:
        plus = f" plus {offset}" if offset else ""
        raise ValueError(
            f"expected an input size in multiples of {multiple}{plus} px and a batch size of at least 1, got {width} x "
            f"{height} and {batch_size}"
        )
    example = example_input(network, size_wh, batch_size)
    axes: dict[str, dict[int, str]] = {name: {} for name in (INPUT_NAME, *network.names)}
    if dynamic_batch:
        axes = {name: {0: "batch"} for name in axes}
    if dynamic_sides:
        first = 2 if network.layout == "NCHW" else 1
        axes[INPUT_NAME].update({first: "height", first + 1: "width"})
        for name in network.names if network.peaks is None else ():  # of the candidates there are always M
            axes[name].update({2: f"{name}_height", 3: f"{name}_width"})
    axes = {name: names for name, names in axes.items() if names}
    buffer: Any = io.BytesIO()
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # only the older exporter writes old opsets
            torch.onnx.export(
                network, (example,), buffer, dynamo=False, opset_version=opset, input_names=[INPUT_NAME],
                output_names=list(network.names), dynamic_axes=axes, do_constant_folding=True,
            )  # fmt: skip
    except (RuntimeError, ValueError, torch.onnx.errors.OnnxExporterError) as error:
        raise DeployError(f"torch cannot export this model with opset {opset}: {error}") from error
    written = onnx.load_from_string(buffer.getvalue())
    found = {item.domain: item.version for item in written.opset_import}
    if found != {"": opset}:
        raise DeployError(f"expected opset {opset} only, torch wrote {found}")
    return buffer.getvalue()


def example_input(network: DeployNetwork, size_wh: tuple[int, int], batch_size: int = 1) -> Tensor:
    """Return a random batch of images in the network's input format."""
    shape = (batch_size, 3, size_wh[1], size_wh[0])
    images = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0))
    if network.layout == "NHWC":
        images = images.permute(0, 2, 3, 1).contiguous()
    return images.to(getattr(torch, network.dtype))


def torch_maps(model: Any, image: np.ndarray) -> Any:
    """Return the maps of ``model`` itself for one network input: the reference for an exported file's output.

    To run a model on photos use ``ehrpose.inferencers.predictors.TorchPredictor``: here the image is already fitted
    to the exported input, and there is no flip test and no decoding.

    Args:
        model: A model from ``init_model``, on any device.
        image: (H, W, 3) uint8 BGR, H and W multiples of 32.

    Returns:
        The codec's maps as float32 arrays, with a batch axis of 1.
    """
    tensor = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None]
    with torch.no_grad():
        maps = model.maps(model.data_preprocessor.normalize(tensor.to(next(model.parameters()).device)))
    return type(maps)(*(None if field is None else field.float().cpu().numpy() for field in maps))


def torch_peaks(maps: Any, codec: Any) -> Any:
    """Return the candidates in one image's maps, without a batch axis: the reference for ``decode="peaks"``."""
    tensors = type(maps)(*(None if field is None else torch.from_numpy(field)[None] for field in maps))
    peaks = peak_extractor(codec)(tensors)
    return type(peaks)(*(field[0].numpy() for field in peaks))


def output_shapes(network: DeployNetwork, size_wh: tuple[int, int], batch_size: int) -> dict[str, list[int]]:
    """Return the name and shape of each output."""
    with torch.no_grad():
        outputs: Sequence[Tensor] = network(example_input(network, size_wh, batch_size))
    return {name: list(output.shape) for name, output in zip(network.names, outputs)}
