"""Logging: to standard error, or as a `log_config` file (Python's dictConfig form, in YAML) says."""

from __future__ import annotations

import logging
import logging.config
from pathlib import Path
from typing import Any

import yaml

from homeserver.config import ConfigError, LoggingSettings, Problem

FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"

# Libraries that log at INFO what only a developer of theirs wants to read.
QUIET = ("aiohttp.access", "asyncio", "aiosqlite")


def configure(settings: LoggingSettings) -> str | None:
    """Set logging up. Returns a note for the operator, if there is one. Raises ConfigError."""
    if settings.log_config is None:
        _use_default(settings.log_level)
        return None
    config = _read(settings.log_config)
    if foreign := _foreign_classes(config):
        _use_default(settings.log_level)
        return (
            f"log_config: {settings.log_config} names parts of another program "
            f"({', '.join(sorted(foreign))}), so messages go to standard error, as without it"
        )
    # Loggers that exist already (they are module-level) must go on working.
    config.setdefault("disable_existing_loggers", False)
    try:
        logging.config.dictConfig(config)
    except (ValueError, TypeError, AttributeError, ImportError, OSError) as error:
        cause = error.__cause__ or error
        message = f"{error} ({cause}); its form is that of Python's logging.config.dictConfig"
        raise ConfigError(f"log_config {settings.log_config}", [Problem("", message)]) from None
    return None


def _use_default(level: str) -> None:
    # The format names neither, and finding them out is most of what a line costs.
    # https://docs.python.org/3/howto/logging.html#optimization
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.basicConfig(format=FORMAT, level=level, force=True)
    if level != "DEBUG":
        for name in QUIET:
            logging.getLogger(name).setLevel(logging.WARNING)


def _read(path: Path) -> dict[str, Any]:
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        message = f"cannot be read ({error.strerror}); correct the path, or remove log_config for the default"
        raise ConfigError(f"log_config {path}", [Problem("", message)]) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"log_config {path}", [Problem("", f"this is not valid YAML: {error}")]) from None
    if not isinstance(config, dict) or config.get("version") != 1:
        message = 'this is not a logging configuration; its first line should be "version: 1"'
        raise ConfigError(f"log_config {path}", [Problem("", message)])
    return config


def _foreign_classes(config: dict[str, Any]) -> set[str]:
    """Classes of Synapse in the file: they are not installed here."""
    named: set[str] = set()
    for section in ("filters", "formatters", "handlers"):
        parts = config.get(section)
        for part in parts.values() if isinstance(parts, dict) else ():
            if isinstance(part, dict):
                named |= {str(part.get(key)) for key in ("()", "class")}
    return {name for name in named if name.startswith("synapse.")}
