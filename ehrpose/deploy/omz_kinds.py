"""Networks of Open Model Zoo that ``import_omz`` knows, and the hashes of their files (standard library only).

Source: Open Model Zoo (Apache-2.0), documentation and ``model.yml`` of each network.
"""

from __future__ import annotations

from typing import Any, Dict, NamedTuple, Tuple


class OmzKind(NamedTuple):
    """What is known of a network of Open Model Zoo.

    Attributes:
        name: Its name there.
        short: Shorter side of the input, px.
        outputs: Our name of each output to the beginning of its name there, its channels and its stride.
        codec: Arguments of the codec besides ``input_size`` and ``keypoints``.
    """

    name: str
    short: int
    outputs: Dict[str, Tuple[str, int, int]]
    codec: Dict[str, Any]


def _embedding(name: str, short: int, cell_offset: float) -> OmzKind:
    codec = {"type": "AssociativeEmbedding", "strides": [2], "tag_strides": [2], "tag_dim": 1}
    codec.update(cell_offset=cell_offset, mode="fast", dist_reweight=True)
    return OmzKind(name, short, {"heat2": ("heatmaps", 17, 2), "tag2": ("embeddings", 17, 2)}, codec)


#: Name in ehrpose to what is known of the network.
KINDS: Dict[str, OmzKind] = {
    "omz-hpe-0001": OmzKind(
        "human-pose-estimation-0001",
        256,
        {"heat": ("Mconv7_stage2_L2", 19, 8), "field": ("Mconv7_stage2_L1", 38, 8)},
        {"type": "PartAffinity", "parts": "coco-18", "mode": "fast"},
    ),
    "omz-hpe-0005": _embedding("human-pose-estimation-0005", 288, 0.0),
    "omz-hpe-0006": _embedding("human-pose-estimation-0006", 352, 0.0),
    "omz-hpe-0007": _embedding("human-pose-estimation-0007", 448, 0.0),
    "omz-higherhrnet-w32": _embedding("higher-hrnet-w32-human-pose-estimation", 512, 0.5),
}
# SHA-384 of release 2023.0. Of the .xml: kind and precision; of the .bin, which the three kinds share: precision.
XML_HASHES: Dict[str, Tuple[str, str]] = {
    "b0735a220aff32a5c885b0b2e311b8dae21584edf06356246c7ad0634fb8b3a2ddf488097b5288252025dee487d029f0":
        ("omz-hpe-0005", "fp32"),
    "ac3fd1607f5e25e3eda336a55f2e0931473bfca9a81182455018af0df200e3ee9a95834bafaba784b2f13a96e075340e":
        ("omz-hpe-0006", "fp32"),
    "52b32d13c47ce42db642283128b439ee9eadcc68c8bd32e8edcc574c849b3cde702cf0ee033378b37dd9671e236842ff":
        ("omz-hpe-0007", "fp32"),
    "37595cec7cb044266eb7cb934fcf596d5b0382b12a03f5462f046a52aba3f9c96097377773618ca957d7b6941a12334b":
        ("omz-hpe-0005", "fp16"),
    "567d2f921e5af960384fddc30bfe8d7110d90222dae50ce36a13d6a0ca5113ff83b9adfe7c505a403d9f46d17285da39":
        ("omz-hpe-0006", "fp16"),
    "5999bb115a5a54faaf452a4b686d0a383a73d93edd929b005d779f9770212694ba2f271d37c16071d5849cf1bba692ce":
        ("omz-hpe-0007", "fp16"),
}  # fmt: skip
BIN_HASHES: Dict[str, str] = {
    "5711b763909990db35f20ce3dc82710001d030ea600ae81b8187d908d9f751ded6dd9bdbbdc2182225dc79cac92ffb1d": "fp32",
    "ef4ab20cd0695a4b86789607acc6eb636d07fbb6786f30300ea713bb94a9110ed1ecec5db5577398ddc13663cc2ce690": "fp16",
}
