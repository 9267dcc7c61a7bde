"""Values of ``KEY=VALUE`` options: text as it was typed, and what it means for the value that it replaces."""

from __future__ import annotations

import re
from typing import Any

_INTEGER = re.compile(r"[+-]?\d+")
_FLOAT = re.compile(r"[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf|nan)", re.IGNORECASE)
_WORDS = {"true": True, "false": False, "None": None}
_BRACKETS = {"[": "]", "(": ")"}
_CLOSING = tuple(_BRACKETS.values())
# cmd.exe takes the last backslash of "C:\My Drive\" as part of \", a quote that no file name can contain.
_WINDOWS_QUOTE = re.compile(r'[A-Za-z]:[\\/][^"]*"')
# Keys that hold text where the config has no value yet.
_TEXT_KEYS = ("ann_file", "checkpoint", "data_root", "experiment_name", "load_from", "out_dir", "work_dir")


class TypedText(str):
    """A value from the command line that was not parsed yet: ``value_for`` does that.

    Attributes:
        is_quoted: The text stood in quotes, which are removed.
    """

    is_quoted: bool

    def __new__(cls, typed: str) -> TypedText:
        text = _unquoted(typed)
        self = super().__new__(cls, text)
        self.is_quoted = len(text) == len(typed) - 2
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return TypedText, (f'"{self}"' if self.is_quoted else str(self),)


def value_for(typed: TypedText, present: Any, key: str = "") -> Any:
    r"""Return what a typed value means where it replaces ``present``.

    Text replaces text as it is, with spaces, commas and backslashes; only ``None`` without quotes is None. Elsewhere
    numbers, ``True``, ``False``, ``None`` and lists are recognised: ``[1,2]``, ``(1,2)`` or ``1,2``. A comma makes no
    list of a path, which has a ``/`` or ``\``.

    Args:
        typed: What stood after ``KEY=``.
        present: The value that it replaces; None if there is none.
        key: The key, whose last part tells whether a new value is a path.

    Raises:
        ValueError: Brackets do not match where a list may stand.
    """
    text = str(typed)
    is_text = isinstance(present, str) or (present is None and key.split(".")[-1] in _TEXT_KEYS)
    if is_text:
        return None if text == "None" and not typed.is_quoted else text
    bare = text.strip()
    maybe_list = present is not None or bare.startswith(tuple(_BRACKETS)) or bare.endswith(_CLOSING)
    wrong = _wrong_bracket(bare) if maybe_list and not typed.is_quoted else ""
    if wrong:
        raise ValueError(
            f"`cfg_options` {key}: expected a value such as 3, [1,2] or ((1,2),(3,4)), got {text}, in which {wrong}; "
            "put text with brackets in quotes"
        )
    value = _parsed(text)
    of_text = isinstance(present, (list, tuple)) and present and all(isinstance(p, str) for p in present)
    if of_text and isinstance(value, (list, tuple)):
        parts = _split(text[1:-1] if _is_bracketed(text) else text) or []
        return type(value)(_unquoted(part) for part in parts)
    return value


def _unquoted(text: str) -> str:
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" and text[0] not in text[1:-1]:
        return text[1:-1]
    return text[:-1] if _WINDOWS_QUOTE.fullmatch(text) else text


def _parsed(text: str) -> Any:
    bare = text.strip()
    if _INTEGER.fullmatch(bare):
        return int(bare)
    if _FLOAT.fullmatch(bare):
        return float(bare)
    for word, value in _WORDS.items():
        if bare == word or (value is not None and bare.lower() == word):
            return value
    if _is_bracketed(bare):
        parts = _split(bare[1:-1])
        if parts is not None:
            return (tuple if bare[0] == "(" else list)(map(_element, parts))
    elif "," in bare and not set(bare) & set("/\\"):
        parts = _split(bare)
        if parts is not None:
            return list(map(_element, parts))
    return text


def _element(text: str) -> Any:
    bare = _unquoted(text)
    return _parsed(text) if bare == text else bare


def _wrong_bracket(text: str) -> str:
    """Return which bracket outside quotes has no partner, ready to follow "in which"; empty if all have one."""
    expected: list[str] = []
    quote, before = "", ""
    for place, letter in enumerate(text, 1):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'" and before in ("", ",", "[", "("):
            quote = letter
        elif letter in _BRACKETS:
            expected.append(_BRACKETS[letter])
        elif letter in _CLOSING and (not expected or expected.pop() != letter):
            return f"{letter} at place {place} closes no bracket"
        before = before if letter == " " else letter
    return f"{expected[-1]} is missing" if expected else ""


def _is_bracketed(text: str) -> bool:
    """Whether a text is one list or tuple: its first bracket is closed by its last letter."""
    return len(text) > 1 and _BRACKETS.get(text[0]) == text[-1] and _split(text[1:-1]) is not None


def _split(text: str) -> list[str] | None:
    """Split at the commas outside brackets and quotes; None if a bracket or quote is not closed."""
    parts: list[str] = [""]
    depth, quote = 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'" and not parts[-1].strip():
            quote = letter
        else:
            depth += (letter in "[(") - (letter in "])")
        if letter == "," and not quote and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
        if depth < 0:
            return None
    if quote or depth:
        return None
    parts = [part.strip() for part in parts]
    return parts if parts[-1] else parts[:-1]
