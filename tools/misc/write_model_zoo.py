"""Update the tables of docs/model_zoo.md and the card checkpoints/README.md from model-index.yml and its metafiles.

Example: python tools/misc/write_model_zoo.py docs/model_zoo.md
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ehrpose.cli import run_cli


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("page", nargs="?", default="docs/model_zoo.md", help="page with the table markers")
    parser.add_argument(
        "--card", default="checkpoints/README.md", help="card of the included weights (default: %(default)s)"
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Put the tables and the card between the pages' markers."""
    args = parse_args(argv)
    from ehrpose.files import write_text
    from ehrpose.model_zoo import list_models, zoo_root
    from ehrpose.zoo_card import CARD, weights_card
    from ehrpose.zoo_tables import OTHERS, others_table, with_table, zoo_table

    page, models, root = Path(args.page), list_models(), zoo_root()
    text = with_table(page.read_text(encoding="utf-8"), zoo_table(models, root))
    write_text(page, with_table(text, others_table(models, root), OTHERS))
    card = Path(args.card)
    write_text(card, with_table(card.read_text(encoding="utf-8"), weights_card(models, root), CARD))


if __name__ == "__main__":
    run_cli(main)
