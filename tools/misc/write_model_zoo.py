"""Update the tables of docs/model_zoo.md from model-index.yml and its metafiles.

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
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Put the tables between the page's markers."""
    args = parse_args(argv)
    from ehrpose.files import write_text
    from ehrpose.model_zoo import list_models, zoo_root
    from ehrpose.zoo_tables import OTHERS, others_table, with_table, zoo_table

    page, models, root = Path(args.page), list_models(), zoo_root()
    text = with_table(page.read_text(encoding="utf-8"), zoo_table(models, root))
    write_text(page, with_table(text, others_table(models, root), OTHERS))


if __name__ == "__main__":
    run_cli(main)
