"""Configs: loading, references and checks before anything is built.

A value is written once, at the top level of the config (``phi``, ``keypoints``, ``codec``, ``data_root``), and
used below as ``"$phi"``, ``"$keypoints"``, ``"$codec"``, ``"$data_root"``. ``resolve`` puts copies in place of
these references, so changing the value in one place, also with ``cfg_options``, changes every use.

A config is a Python file, and reading it runs it. Other forms are not plain data either: MMEngine reads YAML with a
loader whose tags call functions, and in YAML as in JSON ``_base_`` may name a Python file, ``custom_imports`` any
module, and a dotted ``type`` any function. They are refused, and a YAML file under a Python config's ``_base_`` is read
as plain data.
"""

from __future__ import annotations

import copy
import difflib
import inspect
import os
import re
import tempfile
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import yaml
from mmengine.config import Config
from mmengine.fileio import YamlHandler, register_handler

import ehrpose.training_registries  # noqa: F401  (MMEngine's own registries and Runner find our components)
from ehrpose.config_keys import TOP_LEVEL_KEYS, find_class, known_names, untyped_nodes
from ehrpose.files import DISK_ERRORS, WriteError
from ehrpose.model_zoo import check_config_file
from ehrpose.option_values import TypedText, value_for
from ehrpose.registry import is_reference

__all__ = ["INFERENCE_PARTS", "check", "load_config", "merge_options", "resolve"]

# The parts of a config that inference reads.
INFERENCE_PARTS = ("model", "codec", "keypoints", "test_dataloader")
# Keys that the builder or MMEngine's registries consume; the component never gets them.
_BUILDER_KEYS = {"type", "_scope_", "_delete_", "priority", "init_cfg", "constructor", "paramwise_cfg"}
_BUILDER_KEYS |= {"convert_to_iter_based", "collate_fn", "sampler", "batch_sampler"}


def load_config(
    path: str | os.PathLike,
    cfg_options: Mapping[str, Any] | None = None,
    parts: Collection[str] | None = None,
) -> Config:
    """Read a config file, merge options into it and check it; references stay as they are.

    Args:
        path: A Python config file.
        cfg_options: Dotted keys with values that override the file's.
        parts: Top-level keys to check, such as ``INFERENCE_PARTS``; None checks all.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file cannot be read, a type, key or reference is unknown, or two values disagree.
    """
    cfg = read_config(path)
    merge_options(cfg, cfg_options)
    check(cfg, parts)
    return cfg


@register_handler(["yaml", "yml"])
class SafeYamlHandler(YamlHandler):
    """MMEngine's, but for files that are plain data: a tag that makes a Python object is an error."""

    def load_from_fileobj(self, file: Any, **kwargs: Any) -> Any:
        """Return the content of a file."""
        return yaml.safe_load(file)


def read_config(path: str | os.PathLike) -> Config:
    """Read a config file, which runs it; nothing is checked.

    Args:
        path: A Python config file. One that is neither in the project nor in the current folder is named on stderr.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: It is not a Python file, or cannot be read.
        WriteError: There is no room for the copies that MMEngine makes of it in the temporary folder.
    """
    check_config_file(path)
    try:
        return Config.fromfile(str(path))
    except Exception as error:
        _refuse_full_disk(path, error)
        raise ValueError(f"config {path} cannot be read: {type(error).__name__}: {error}") from error


def _refuse_full_disk(path: str | os.PathLike, error: BaseException | None) -> None:
    """Raise WriteError if an error comes from a disk; MMEngine's clean-up hides it behind another one."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in DISK_ERRORS:
            place, reason = tempfile.gettempdir(), os.strerror(error.errno)
            told = f"config {path} could not be copied to the temporary folder {place}: {reason}"
            raise WriteError(error.errno, told) from error
        error = error.__cause__ or error.__context__


def merge_options(cfg: Config, options: Mapping[str, Any] | None) -> None:
    """Merge options into a config; the result is not checked yet.

    Args:
        cfg: Config, changed in place.
        options: Dotted keys and values; None changes nothing. Text of the command line is parsed for the value that it
            replaces.

    Raises:
        ValueError: A key does not fit the config.
    """
    options = typed_options(cfg, options)
    _check_options(cfg, options)
    try:
        cfg.merge_from_dict(options)
    except (KeyError, TypeError, AssertionError, IndexError, AttributeError) as error:
        raise ValueError(
            f"`cfg_options` {options} cannot be merged into {cfg.filename or 'the config'}: {error}"
        ) from error


def typed_options(cfg: Config, options: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return options with each text of the command line as the value that it means in a config."""
    return {
        key: value_for(value, value_at(cfg, key), key) if isinstance(value, TypedText) else value
        for key, value in (options or {}).items()
    }


def value_at(cfg: Config, key: str) -> Any:
    """Return the value at a dotted key of a config, behind any references; None if there is none."""
    node: Any = cfg
    for part in [*key.split("."), None]:
        for _ in cfg:  # a chain of references is not longer than the config
            if is_reference(node):
                node = cfg.get(node[1:])
        if part is None:
            return None if is_reference(node) else node
        if isinstance(node, (list, tuple)) and part.isdigit() and int(part) < len(node):
            node = node[int(part)]
        else:
            node = node.get(part) if isinstance(node, (Mapping, Config)) else None
    return None


def resolve(cfg: Config, keep: Collection[str] = ()) -> Config:
    """Return a copy of ``cfg`` with every reference replaced by a copy of the top-level value.

    Args:
        cfg: Config with references, from ``load_config`` or MMEngine's ``Config.fromfile``.
        keep: Top-level keys whose references are kept.

    Raises:
        ValueError: A reference is unknown or circular.
    """
    plain = cfg.to_dict()
    resolved = {key: _replace(value, plain, (), key, keep) for key, value in plain.items()}
    # Formatting takes seconds on a config with a skeleton in every part.
    return Config(resolved, filename=cfg.filename, format_python_code=False)


def check(cfg: Config, parts: Collection[str] | None = None) -> None:
    """Raise ValueError if a config has an unknown type, key or reference, or contradicts itself.

    Args:
        cfg: Config with references.
        parts: Top-level keys to check, such as ``INFERENCE_PARTS``; None checks all.
    """
    _check_top_level(cfg)
    _import_custom(cfg)
    top = cfg.to_dict()
    plain = {key: _replace(top[key], top, (), key) for key in top if parts is None or key in parts}
    _check_agreement(plain)
    for path, node in _typed_nodes(plain, ""):
        _check_component(path, node)
    for path, node, known in untyped_nodes(plain):
        for key in node:
            if key not in known and not (path == "default_hooks" and "type" in (node[key] or ())):
                raise ValueError(f"{path} has no key {key!r}{_nearest(key, known)}")


def _replace(
    value: Any, top: Mapping[str, Any], chain: tuple[str, ...], path: str, keep: Collection[str] = ()
) -> Any:
    if isinstance(value, Mapping):
        return {key: _replace(item, top, chain, f"{path}.{key}", keep) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_replace(item, top, chain, f"{path}[{i}]", keep) for i, item in enumerate(value))
    if not is_reference(value):
        return value
    name = value[1:]
    if name not in top:
        raise ValueError(
            f"{path} refers to {value}, but the config has no top-level {name!r}{_nearest(name, top)}"
        )
    if name in chain:
        raise ValueError(f"{path}: circular reference {' -> '.join((*chain, name))}")
    return value if name in keep else _replace(copy.deepcopy(top[name]), top, (*chain, name), path, keep)


def _nearest(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, [str(k) for k in known], n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def _check_options(cfg: Config, options: Mapping[str, Any]) -> None:
    """Reject options whose first key is neither in the config nor referenced by an option: nothing would read them."""
    referred = [name[1:] for name in re.findall(r"\$\w+", str(list(options.values())))]
    known = [*cfg, *(key for key in TOP_LEVEL_KEYS if key not in cfg), *referred]
    for option in options:
        first = option.split(".")[0]
        if first not in known:
            owner = next((key for key in cfg if isinstance(cfg[key], Mapping) and first in cfg[key]), None)
            near = f"; did you mean '{owner}.{option}'?" if owner else _nearest(first, known)
            raise ValueError(
                f"`cfg_options` {option}: {cfg.filename or 'the config'} has no key {first!r}{near}"
            )


def _check_top_level(cfg: Config) -> None:
    """Reject top-level keys that look misspelt; other names are the config's own variables."""
    for key in cfg:
        if key not in TOP_LEVEL_KEYS:
            close = difflib.get_close_matches(key, TOP_LEVEL_KEYS, n=1, cutoff=0.87)
            if close:
                raise ValueError(f"the config has an unknown key {key!r}; did you mean {close[0]!r}?")


def _import_custom(cfg: Config) -> None:
    custom = cfg.get("custom_imports")
    if custom:
        from mmengine.utils import import_modules_from_strings

        import_modules_from_strings(**custom)


def _check_agreement(plain: Mapping[str, Any]) -> None:
    """All codecs, and all skeletons, of one config must be the same."""
    for name in ("codec", "keypoints"):
        if name not in plain:
            continue
        for path, value in _values_of(plain, name, ""):
            if value == plain[name] or not isinstance(value, Mapping):
                continue
            keys = [k for k in {**plain[name], **value} if plain[name].get(k) != value.get(k)]
            differences = ", ".join(f"{k}: {plain[name].get(k)!r} and {value.get(k)!r}" for k in sorted(keys))
            raise ValueError(
                f"inconsistent config: {name} and {path} differ in {differences}. "
                f"Set it once, in {name}, and write {path} = '${name}'"
            )


def _values_of(node: Any, name: str, path: str) -> Iterator[tuple[str, Any]]:
    items: Any = ()
    if isinstance(node, Mapping):
        items = ((f"{path}.{key}" if path else str(key), key, value) for key, value in node.items())
    elif isinstance(node, (list, tuple)):
        items = ((f"{path}[{i}]", None, value) for i, value in enumerate(node))
    for here, key, value in items:
        if key == name and here != name:
            yield here, value
        yield from _values_of(value, name, here)


def _typed_nodes(node: Any, path: str) -> Iterator[tuple[str, Mapping]]:
    if isinstance(node, Mapping):
        if isinstance(node.get("type"), str) and path:
            yield path, node
        for key, value in node.items():
            yield from _typed_nodes(value, f"{path}.{key}" if path else str(key))
    elif isinstance(node, (list, tuple)):
        for i, value in enumerate(node):
            yield from _typed_nodes(value, f"{path}[{i}]")


def _check_component(path: str, node: Mapping) -> None:
    name = node["type"].split(".")[-1] if node["type"].startswith("mmengine.") else node["type"]
    component = find_class(name, path)
    if component is None:
        if path.startswith("env_cfg") or "." in name or path.endswith("collate_fn"):
            return
        raise ValueError(f"{path}: unknown type {name!r}{_nearest(name, known_names())}")
    if isinstance(node.get("ema_type"), str) and find_class(node["ema_type"]) is None:
        raise ValueError(
            f"{path}: unknown ema_type {node['ema_type']!r}{_nearest(node['ema_type'], known_names())}"
        )
    accepted = _accepted_arguments(component)
    if accepted is None:
        return
    for key in node:
        if key not in accepted and key not in _BUILDER_KEYS:
            raise ValueError(f"{path}: {name} has no argument {key!r}{_nearest(key, accepted)}")


def _accepted_arguments(component: Any) -> set[str] | None:
    """Return the names of the arguments that a component accepts, None if they cannot be determined."""
    accepted: set[str] = set()
    classes = component.__mro__ if inspect.isclass(component) else (component,)
    for cls in classes:
        function = cls.__dict__.get("__init__") if inspect.isclass(cls) else cls
        if function is None:
            continue
        try:
            parameters = inspect.signature(function).parameters.values()
        except (TypeError, ValueError):
            return None
        accepted.update(p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            return accepted
        if not inspect.isclass(cls) or cls.__module__.split(".")[0] not in ("ehrpose", "mmengine", "mmcv"):
            return None
    return None
