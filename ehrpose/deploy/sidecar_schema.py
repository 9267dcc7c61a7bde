"""Reading and checking the JSON of an exported network as plain data (standard library only, Python 3.8).

``sidecar.schema.json`` says what it may hold. Devices do without the package ``jsonschema``: this file knows the
keywords that are used there, and a test compares both on thousands of damaged files.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from functools import lru_cache
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

SCHEMA = Path(__file__).with_name("sidecar.schema.json")
MAX_BYTES = 1 << 20
_MAX_DEPTH = 32
_MAX_DIGITS = 400
_SHOWN = 80  # characters of a value in a message

Node = Dict[str, Any]


class SchemaError(ValueError):
    """Content that the schema does not allow; the message is one line: where, what was expected, what was got."""


@lru_cache(maxsize=None)
def schema() -> Node:
    """Return the schema."""
    return dict(json.loads(SCHEMA.read_text(encoding="utf-8")))


def parse(text: str) -> Any:
    """Return the content of strict JSON.

    Raises:
        SchemaError: It is no JSON, holds NaN, infinity or a key twice, or is nested too deeply.
    """
    try:
        content = json.loads(
            text,
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_whole,
            object_pairs_hook=_without_doubles,
        )
        _check_depth(content, _MAX_DEPTH)
    except RecursionError:
        raise SchemaError(f"expected at most {_MAX_DEPTH} levels of nesting, got more") from None
    except SchemaError:
        raise
    except ValueError as error:
        raise SchemaError(f"expected JSON, got another text: {error}") from None
    return content


def check(content: Any) -> None:
    """Check parsed content against the schema.

    Raises:
        SchemaError: The first value that is not allowed, or the key that is unknown or missing.
    """
    _check(content, schema(), "")


def _no_constant(text: str) -> None:
    raise SchemaError(f"expected finite numbers, got {text}")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise SchemaError(f"expected finite numbers, got {shown(text)}")
    return number


def _whole(text: str) -> int:
    if len(text) > _MAX_DIGITS:  # Python 3.8 would take seconds for a million
        raise SchemaError(f"expected numbers of at most {_MAX_DIGITS} digits, got {len(text)}")
    return int(text)


def _without_doubles(pairs: List[Tuple[str, Any]]) -> Node:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise SchemaError(
            f"expected each key once, got {shown(next(n for n in names if names.count(n) > 1))} again"
        )
    return found


def _check_depth(value: Any, left: int) -> None:
    if isinstance(value, (dict, list)):
        if not left:
            raise SchemaError(f"expected at most {_MAX_DEPTH} levels of nesting, got more")
        for item in value.values() if isinstance(value, dict) else value:
            _check_depth(item, left - 1)


def shown(value: Any) -> str:
    """Return a value as JSON of one line, shortened, for a message."""
    text = json.dumps(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


_TYPES: Dict[str, Tuple[str, Callable[[Any], bool]]] = {
    "object": ("an object", lambda value: isinstance(value, dict)),
    "array": ("a list", lambda value: isinstance(value, list)),
    "string": ("text", lambda value: isinstance(value, str)),
    "integer": ("a whole number", lambda value: _is_number(value) and isinstance(value, int)),
    "number": ("a number", _is_number),
    "boolean": ("true or false", lambda value: isinstance(value, bool)),
    "null": ("null", lambda value: value is None),
}


def _types(given: Any) -> List[str]:
    return [given] if isinstance(given, str) else list(given)


def _equal(one: Any, other: Any) -> bool:
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _passes(value: Any, node: Node) -> bool:
    try:
        _check(value, node, "")
    except SchemaError:
        return False
    return True


# Keyword to whether a value satisfies it; as in JSON Schema, values of a type that it is not about do.
_KEYWORDS: Dict[str, Callable[[Any, Any], bool]] = {
    "type": lambda value, given: any(_TYPES[name][1](value) for name in _types(given)),
    "enum": lambda value, given: any(_equal(value, item) for item in given),
    "const": _equal,
    "minimum": lambda value, given: not _is_number(value) or value >= given,
    "maximum": lambda value, given: not _is_number(value) or value <= given,
    "exclusiveMinimum": lambda value, given: not _is_number(value) or value > given,
    "multipleOf": lambda value, given: not _is_number(value) or value % given == 0,
    "pattern": lambda value, given: not isinstance(value, str) or bool(re.search(given, value)),
    "minItems": lambda value, given: not isinstance(value, list) or len(value) >= given,
    "maxItems": lambda value, given: not isinstance(value, list) or len(value) <= given,
    "minProperties": lambda value, given: not isinstance(value, dict) or len(value) >= given,
    "maxProperties": lambda value, given: not isinstance(value, dict) or len(value) <= given,
    "not": lambda value, given: not _passes(value, given),
    "oneOf": lambda value, given: sum(_passes(value, node) for node in given) == 1,
}


def _check(value: Any, node: Node, where: str) -> None:
    """Check a value, found at ``where`` (such as ``input.shape[2]``), against a part of the schema."""
    if "$ref" in node:
        _check(value, schema()["$defs"][node["$ref"].rsplit("/", 1)[1]], where)
    for keyword, holds in _KEYWORDS.items():
        if keyword in node and not holds(value, node[keyword]):
            raise SchemaError(f"{where or 'the whole'}: expected {_expected(node)}, got {shown(value)}")
    if isinstance(value, dict):
        _check_object(value, node, where)
    elif isinstance(value, list):
        first = node.get("prefixItems", ())
        for index, item in enumerate(value):
            _check(item, first[index] if index < len(first) else node.get("items", {}), f"{where}[{index}]")
    for part in node.get("allOf", ()):
        _check(value, part, where)
    if "if" in node:
        _check(value, node.get("then" if _passes(value, node["if"]) else "else", {}), where)


def _check_object(value: Node, node: Node, where: str) -> None:
    known, others = node.get("properties", {}), node.get("additionalProperties", {})
    place = f"{where}: " if where else ""
    for key in node.get("required", ()):
        if key not in value:
            raise SchemaError(f"{place}expected the key {key!r}, got none")
    for key, item in value.items():
        if key not in known and others is False:
            near = difflib.get_close_matches(key[:_SHOWN], known, n=1)
            hint = f"{near[0]!r}" if near else f"one of {', '.join(map(repr, known))}"
            raise SchemaError(f"{place}expected {hint}, got the unknown key {shown(key)}")
        if "propertyNames" in node:
            _check(key, node["propertyNames"], f"{place}name of a key")
        _check(item, known.get(key, others), f"{where}.{_step(key)}" if where else _step(key))


def _step(key: str) -> str:
    return key if key.isidentifier() and key.isascii() and len(key) <= _SHOWN else shown(key)


def _expected(node: Node) -> str:
    """Return what a part of the schema allows, in words."""
    if "description" in node:
        return str(node["description"])
    if "const" in node:
        return json.dumps(node["const"])
    if "enum" in node:
        return f"one of {', '.join(map(json.dumps, node['enum']))}"
    text = " or ".join(_TYPES[name][0] for name in _types(node["type"]))
    if "maximum" in node:
        least = (
            f"above {node['exclusiveMinimum']}" if "exclusiveMinimum" in node else f"from {node['minimum']}"
        )
        text += f" {least} to {node['maximum']}"
    for low, high, things in (("minItems", "maxItems", "items"), ("minProperties", "maxProperties", "keys")):
        if high in node:
            least, most = node.get(low, 0), node[high]
            text += f" of {most} {things}" if least == most else f" of {least} to {most} {things}"
    return text + (f", a multiple of {node['multipleOf']}" if "multipleOf" in node else "")
