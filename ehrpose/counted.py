"""Numbers of things in messages, in singular and plural."""

from __future__ import annotations


def counted(count: int, one: str, many: str = "") -> str:
    """Return ``"1 photo"`` or ``"2 photos"``.

    Args:
        count: The number.
        one: The word in the singular.
        many: In the plural; empty: the singular and an s.
    """
    return f"{count} {one if count == 1 else many or one + 's'}"
