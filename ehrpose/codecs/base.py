"""What a codec is: all that the network, the exported files and the programs around them ask of one (no torch).

A codec turns labelled people into training targets and maps of a network into people. It names the maps: the head
returns them as its ``maps_type``, a NamedTuple, and exported networks call their outputs by the same names.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ehrpose.codecs.argument_checks import positive_int
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.structures import People


class MirrorRule(NamedTuple):
    """How the channels of a map of the mirrored photo become those of the photo, once its columns are reversed.

    Attributes:
        channels: Channel ``i`` of the result is channel ``channels[i]`` of the mirrored map.
        negated: Channels of the result whose values change their sign: x components of vectors.
        concatenate: Flip test appends the mirrored channels to those of the photo; False: it takes the mean of both.
    """

    channels: Tuple[int, ...]
    negated: Tuple[int, ...] = ()
    concatenate: bool = False


class BaseCodec:
    """Base of the codecs registered in CODECS. Axes: K keypoint types, N people.

    A codec of your own sets ``maps_type``, ``meta``, ``input_size`` and ``map_strides``, and defines ``encode`` and
    ``decode``. For flip test it defines ``mirror_rules``, for networks exported with ``decode="peaks"`` it sets
    ``peaks_type`` and defines ``decode_peaks``.

    Attributes:
        maps_type: NamedTuple of the maps, a field for each; None where a form of the network has no such map. Its
            method ``image(i)`` returns those of one image without the batch axis.
        peaks_type: NamedTuple of what a network exported with ``decode="peaks"`` outputs; None: there is no such form.
        peaks_options: Options with which ``decode`` returns the people that ``decode_peaks`` does.
        meta: The skeleton of the people that ``decode`` returns.
        input_size: Side of the square training input, px; also the short side at test time.
        side_multiple: Sides of the input are multiples of this, plus ``side_offset``, px; a backbone may ask for more.
        side_offset: 0, or what the sides have above a multiple, px.
        map_strides: Name to stride, px, of each map that the network outputs, in the order of ``maps_type``.
        aligned: Map pixel i lies at the input's pixel ``i * stride``; False: amid the pixels that it covers.
    """

    maps_type: ClassVar[Any]
    peaks_type: ClassVar[Any] = None
    peaks_options: ClassVar[Dict[str, Any]] = {}
    meta: KeypointMeta
    input_size: int
    side_multiple: int = 32
    side_offset: int = 0
    map_strides: Dict[str, int]
    aligned: bool = False

    @property
    def num_keypoints(self) -> int:
        """K, the number of keypoint types."""
        return self.meta.num_keypoints

    @property
    def output_names(self) -> Tuple[str, ...]:
        """Names of the network's output maps, in the order of ``maps_type``."""
        return tuple(self.map_strides)

    def mirror_rules(self) -> Dict[str, MirrorRule]:
        """Return the rule of each output map for flip test.

        Raises:
            NotImplementedError: The codec has none.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no mirror_rules, which flip test needs: set model.flip_test=False"
        )

    def finest_heat(self, maps: Any) -> np.ndarray:
        """Return the finest heatmaps (K, h, w) in the maps of one image."""
        raise NotImplementedError(
            f"{type(self).__name__} has no finest_heat, which pictures of heatmaps need"
        )

    def why_no_peaks(self) -> Optional[str]:
        """Return why ``decode_peaks`` is not possible with the codec's options, as "expected X, got Y"; None: it is."""
        if self.peaks_type is None:
            return f"expected a codec with a form for candidates, got {type(self).__name__}"
        return None

    def encode(self, keypoints: np.ndarray, visible: np.ndarray, *args: Any, **kwargs: Any) -> Dict[str, Any]:
        """Return the training targets of one image as arrays: those of a batch are stacked."""
        raise NotImplementedError(f"{type(self).__name__} has no encode, which training needs")

    def decode(self, maps: Any) -> People:
        """Return the people in the maps of one image, input px, best score first."""
        raise NotImplementedError(f"{type(self).__name__} has no decode")

    def decode_peaks(self, peaks: Any, input_wh: Tuple[int, int]) -> People:
        """Return the people of one image from the output of a network exported with ``decode="peaks"``."""
        raise NotImplementedError(self.why_no_peaks() or f"{type(self).__name__} has no decode_peaks")

    def decode_batch(self, batch: Sequence[Any], num_threads: int = 1) -> List[People]:
        """Find the people in several images, as ``decode`` does for each.

        Args:
            batch: The maps of each image, as ``decode`` takes them.
            num_threads: Images decoded in parallel. More than one pays off with numba: compiled loops release the
                GIL, NumPy's many small steps mostly hold it.

        Raises:
            ValueError: ``num_threads`` is below 1, or as from ``decode``.
        """
        if positive_int(num_threads, "num_threads") == 1 or len(batch) < 2:
            return [self.decode(maps) for maps in batch]
        with ThreadPoolExecutor(min(num_threads, len(batch))) as pool:
            return list(pool.map(self.decode, batch))
