"""The command ``ehrpose models``: list zoo models, and fetch, verify and remove weights that others published."""

from __future__ import annotations

import argparse
import sys
from typing import Any, Dict, List

from ehrpose.model_zoo import ZooModel, find_model, list_models

ACTIONS = ("list", "fetch", "verify", "remove")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``ehrpose models``."""
    parser.add_argument(
        "action",
        nargs="?",
        choices=ACTIONS,
        default="list",
        help="list all (default); fetch weights into the cache; verify or remove what is in it",
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="models; verify without any checks all that is there"
    )
    parser.add_argument("--json", action="store_true", help="print the list as JSON")


def run(args: argparse.Namespace) -> None:
    """List models, or change the cache.

    Raises:
        ValueError: A model is unknown, cannot be fetched or is damaged, or a name is missing or superfluous.
    """
    if args.action == "list":
        if args.names:
            raise ValueError(f"list takes no names, got {' '.join(args.names)}")
        _list(args.json)
        return
    if not args.names and args.action != "verify":
        raise ValueError(f"{args.action} needs the names of models; ehrpose models lists them")
    models = list({find_model(name).name: find_model(name) for name in args.names}.values())
    {"fetch": _fetch, "verify": _verify, "remove": _remove}[args.action](models)


def _list(as_json: bool) -> None:
    import json

    from ehrpose.fetching.cache import home

    rows = [_facts(model) for model in list_models()]
    if as_json:
        print(json.dumps({"cache": str(home()), "models": rows}, indent=2))
        return
    head = ("name", "params (M)", "file", "AP here", "AP published", "licence", "state")
    cells = [head, *(_cells(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells)]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths)).rstrip() for row in cells]
    lines += ["", f"cache: {home()}"]
    lines += [
        "AP here: measured by this project; AP published: by others; docs/model_zoo.md has the protocols"
    ]
    print("\n".join(lines))


def _facts(model: ZooModel) -> Dict[str, Any]:
    """Return what the list says of a model, for JSON."""
    measured = [result["Metrics"]["AP"] for result in model.results if result.get("Flip Test")]
    return {
        "name": model.short_name,
        "config": None if model.config is None else model.config.stem,
        "params_m": model.metadata.get("Parameters (M)"),
        "bytes": _bytes(model),
        "ap": measured[0] if measured else None,
        "published": model.published,
        "licence": model.licence or None,
        "state": _state(model),
    }


def _bytes(model: ZooModel) -> Any:
    if model.checkpoint is not None:
        return model.checkpoint.stat().st_size if model.checkpoint.is_file() else None
    return None if model.remote is None else model.remote.size


def _state(model: ZooModel) -> str:
    from ehrpose.fetching.cache import is_fetched, kept_bytes

    if model.checkpoint is not None:
        return "included"
    if model.remote is None:
        return "no weights" if model.manual is None else "by hand"
    if is_fetched(model):
        return "fetched"
    kept = kept_bytes(model)
    return f"partly fetched, {kept / 1e6:.0f} MB" if kept else "not fetched"


def _cells(row: Dict[str, Any]) -> List[str]:
    size = "" if row["bytes"] is None else f"{row['bytes'] / 1e6:.1f} MB"
    params = "" if row["params_m"] is None else f"{row['params_m']:.3f}"
    measured = "" if row["ap"] is None else f"{row['ap']:.4f}"
    published = f"{row['published'][0]['AP'] / 100:g}" if row["published"] else ""
    return [row["name"], params, size, measured, published, row["licence"] or "", row["state"]]


def _fetch(models: List[ZooModel]) -> None:
    for model in models:
        if model.checkpoint is not None:
            model.check()
            print(f"{model.short_name}: included, {model.checkpoint}")
        elif model.remote is None:
            model.check()  # says what to do instead
        elif model.is_exported:
            from ehrpose.deploy.arrival import local_network

            print(f"{model.short_name}: {local_network(model)}")
        else:
            _fetch_checkpoint(model)


def _fetch_checkpoint(model: ZooModel) -> None:
    try:
        from ehrpose.models.weights.arrival import local_weights
    except ImportError:
        from ehrpose.fetching.fetch import fetch_files

        (path,) = fetch_files(model)
        print(f"{model.short_name}: {path}; its first use converts it, which needs torch")
        return
    print(f"{model.short_name}: {local_weights(model)}")


def _verify(models: List[ZooModel]) -> None:
    from ehrpose.fetching.cache import kept_bytes
    from ehrpose.fetching.fetch import verify

    damaged = 0
    for model in models or [each for each in list_models() if each.checkpoint or kept_bytes(each)]:
        if model.remote is None:
            model.check()
            problems = []
        else:
            problems = verify(model)
        for line in problems:
            print(f"{model.short_name}: {line}", file=sys.stderr)
        if not problems:
            print(f"{model.short_name}: good")
        damaged += bool(problems)
    if damaged:
        raise ValueError(f"{damaged} of the models are damaged or missing: remove them and fetch them again")


def _remove(models: List[ZooModel]) -> None:
    from ehrpose.fetching.fetch import remove

    included = [model.short_name for model in models if model.remote is None]
    if included:
        raise ValueError(f"{', '.join(included)}: only fetched weights can be removed")
    for model in models:
        print(f"{model.short_name}: {'removed' if remove(model) else 'nothing was kept'}")
