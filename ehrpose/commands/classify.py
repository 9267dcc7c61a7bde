"""The command ``ehrpose classify``: say what photos show (no torch for exported models)."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any, Dict, List

from ehrpose.cli import add_cfg_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("input", nargs="+", help="image, several, folder of images, or glob")
    parser.add_argument(
        "--model",
        required=True,
        help="CONFIG:CHECKPOINT of a classifier, such as b-4_digits:best.pth, or an exported file (.onnx, ...)",
    )
    parser.add_argument("--weights", help="checkpoint file, or 'none' for random weights")
    parser.add_argument("--top", type=int, default=5, help="classes to name (default: %(default)s)")
    parser.add_argument(
        "--classes",
        metavar="FILE",
        help="names of the classes, one per line (default: those that the model was trained on)",
    )
    parser.add_argument("--out", metavar="JSON", help="also write the answers to this file")
    parser.add_argument("--device", help="cpu, cuda:0, ... (default: CUDA if available)")
    parser.add_argument("--backend", help="backend of an exported file: onnxruntime, openvino, ...")
    parser.add_argument("--threads", type=int, help="CPU threads of the network")
    add_cfg_options(parser)


def run(args: argparse.Namespace) -> None:
    """Classify the photos and print a line for each.

    Raises:
        ValueError: An option is invalid, or the model is not a classifier.
        FileNotFoundError: A file is missing.
        SystemExit: With code 1 if some photos could not be read, once the others are done.
    """
    from ehrpose.counted import counted
    from ehrpose.files import write_text
    from ehrpose.image_io import ImageReadError, read_image
    from ehrpose.inferencers.classification import answers, read_classes
    from ehrpose.media.inputs import list_images

    if args.top < 1:
        raise ValueError(f"`top` must be at least 1, got {args.top}")
    photos = [photo for name in args.input for photo in list_images(name)]
    classifier = _open(args)
    names = read_classes(args.classes) if args.classes else classifier.classes
    found: List[Dict[str, Any]] = []
    failed = 0
    for photo in photos:
        try:
            scores = classifier.probabilities(read_image(photo))
        except ImageReadError as error:
            print(error, file=sys.stderr)
            failed += 1
            continue
        likely = answers(scores, names, args.top)
        print(f"{photo}: " + ", ".join(f"{answer.name} {answer.score:.2f}" for answer in likely))
        found.append({"image": str(photo), "classes": [answer._asdict() for answer in likely]})
    classifier.close()
    if args.out:
        write_text(args.out, json.dumps(found, indent=1))
    if failed:
        print(f"{failed} of {counted(len(photos), 'image')} could not be read", file=sys.stderr)
        raise SystemExit(1)


def _open(args: argparse.Namespace) -> Any:
    """Return the classifier that the options name; a config may be named as for ``ehrpose train``."""
    from ehrpose.inferencers.classification import open_classifier
    from ehrpose.inferencers.model_spec import NO_WEIGHTS, is_exported

    model, checkpoint = args.model, args.weights
    if not is_exported(model):
        from ehrpose.config_names import find_config
        from ehrpose.model_zoo import list_models

        name, colon, behind = model.partition(":")
        if colon and len(name) == 1:  # a drive letter
            rest, colon, behind = behind.partition(":")
            name = f"{name}:{rest}"
        checkpoint = behind or checkpoint
        if checkpoint is None:
            if any(name in (known.name, *known.aliases) for known in list_models()):
                raise ValueError(f"{name} is of the model zoo, whose models find people: use ehrpose predict")
            raise ValueError(
                f"{model} has no weights: expected CONFIG:CHECKPOINT, or the checkpoint as `weights`"
            )
        model = find_config(name)
        checkpoint = None if checkpoint == NO_WEIGHTS else checkpoint
    options = (args.device, args.backend, args.threads, args.cfg_options)
    return open_classifier(model, checkpoint, *options)
