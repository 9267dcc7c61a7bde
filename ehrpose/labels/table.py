"""The table of the label formats in docs/labels.md."""

from __future__ import annotations

from ehrpose.labels.detect import find_format
from ehrpose.labels.label_format import FIELDS
from ehrpose.registry import LABEL_FORMATS


def format_table() -> str:
    """Return a Markdown table: a column for each format that can be written, a row for what each can hold."""
    written = [name for name in LABEL_FORMATS.module_dict if find_format(name).can_write]
    rows = [["", *(f"`{name}`" for name in written)], ["---"] * (len(written) + 1)]
    for field in FIELDS:
        rows.append([field, *("yes" if field in find_format(name).holds else "" for name in written)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def format_list() -> str:
    """Return a Markdown list of the formats, with what each is."""
    made = {name: find_format(name) for name in LABEL_FORMATS.module_dict}
    return "\n".join(f"- `{name}`, {one.title}: {one.docs}" for name, one in made.items())
