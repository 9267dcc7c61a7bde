"""What a training prints: the log file has everything, the console only what is news to its reader."""

from __future__ import annotations

import logging

# MMEngine's warnings about its own old names, which it uses itself.
_OLD_NAMES = ('"FileClient" will be deprecated', '"HardDiskBackend" is the alias')
# Said of every run on one device.
_USUAL = "Distributed training is not used"


def quieten_console(logger: logging.Logger, level: str | int | None = None) -> None:
    """Keep the config, the environment and the list of hooks out of the console; the log file keeps them.

    Args:
        logger: MMEngine's logger; its handlers for files are left alone.
        level: Least level of what the console shows, such as ``"WARNING"``; None leaves it as it is.

    Raises:
        ValueError: The level is unknown.
    """
    known = logging._nameToLevel
    if isinstance(level, str) and level not in known:
        raise ValueError(f"console_level must be one of {', '.join(known)}, got {level!r}")
    for handler in logger.handlers:
        if type(handler) is logging.StreamHandler:
            handler.addFilter(_is_news)
            if level is not None:
                handler.setLevel(level)


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a record belongs on the console: no listing of several lines below a warning, no old names."""
    text = record.getMessage()
    if record.levelno >= logging.WARNING:
        return not text.startswith(_OLD_NAMES)
    return "\n" not in text.strip() and not text.startswith(_USUAL)
