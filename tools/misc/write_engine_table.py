"""Update the tables of docs/deploy/engines.md from ehrpose/backend_table.py.

Example: python tools/misc/write_engine_table.py
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
    parser.add_argument(
        "page",
        nargs="?",
        default="docs/deploy/engines.md",
        help="page with the markers (default: %(default)s)",
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Put the tables between the page's markers."""
    args = parse_args(argv)
    from ehrpose.backend_table import markdown_tables
    from ehrpose.files import write_text
    from ehrpose.zoo_tables import with_table

    page = Path(args.page)
    write_text(page, with_table(page.read_text(encoding="utf-8"), markdown_tables(), "engines"))


if __name__ == "__main__":
    run_cli(main)
