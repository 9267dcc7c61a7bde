"""Write the ONNX files by which zoo models run without torch: python tools/misc/write_zoo_networks.py [MODEL ...].

They lie beside the checkpoints in checkpoints/ and read their weights from them. Run it after the weights of a model
have changed.
"""

from __future__ import annotations

import argparse

from ehrpose.cli import run_cli


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "models", nargs="*", metavar="MODEL", help="names in the model zoo; default: all included"
    )
    args = parser.parse_args(argv)

    from ehrpose.deploy.shared_network import write_shared_network
    from ehrpose.model_zoo import find_model, list_models

    models = [find_model(name) for name in args.models]
    for model in models or [model for model in list_models() if model.checkpoint is not None]:
        path, errors = write_shared_network(model)
        print(
            f"{path}: {path.stat().st_size / 1e3:.0f} kB; differs from torch by {errors['map_error']:.1g} of the maps' "
            f"range, {errors['pixel_error']:.2g} px"
        )


if __name__ == "__main__":
    run_cli(main)
