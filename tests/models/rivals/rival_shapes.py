"""The tensors of other projects' files without their values."""

from __future__ import annotations

import rival_data
import torch


def names_and_shapes(network, num_keypoints=17):
    """The tensors of a network, on the device meta."""
    tensors = {}
    for name, shape in rival_data.all_shapes()[network].items():
        dtype = torch.int64 if name.endswith(rival_data.COUNTER) else torch.float32
        tensors[name] = torch.empty(shape, dtype=dtype, device="meta")
    if num_keypoints != 17:
        sizes = {17: num_keypoints, 34: 2 * num_keypoints}
        for name, tensor in tensors.items():
            if "final" in name and ("final_layer" in name or "conv.3" in name):
                tensors[name] = torch.empty((sizes[len(tensor)], *tensor.shape[1:]), device="meta")
        first = tensors.get("deconv_layers.0.0.0.weight")
        if first is not None:
            tensors["deconv_layers.0.0.0.weight"] = first[: first.shape[1] + 2 * num_keypoints]
    return tensors
