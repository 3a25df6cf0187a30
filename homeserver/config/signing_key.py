"""The file with our signing key, in signedjson's format: lines of `ed25519 KEY_VERSION BASE64_SEED`."""

from __future__ import annotations

import os
import secrets
import string
from pathlib import Path

from signedjson.key import decode_signing_key_base64, generate_signing_key, write_signing_keys
from signedjson.types import SigningKey

from .convert import Problem
from .load import ConfigError

KEY_VERSION_LENGTH = 6


def load_signing_keys(path: Path) -> list[SigningKey]:
    """The keys in the file; the first one signs. Each has the attributes `alg` and `version`.

    Raises ConfigError that says what to do.
    """
    try:
        lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        keys = [_signing_key(line) for line in lines]
    except FileNotFoundError:
        raise _error(
            path,
            "there is no such file. If this server is new, `python -m homeserver generate-signing-key` "
            "writes it; if not, put the old file back: other servers know this one by its key",
        ) from None
    except OSError as error:
        message = f"it cannot be read ({error.strerror}); the user that runs the server must be able to"
        raise _error(path, message) from None
    except ValueError as error:
        message = (
            f'a line is not of the form "ed25519 NAME BASE64" ({error}); put back the file as it was written'
        )
        raise _error(path, message) from None
    if not keys:
        raise _error(path, "the file is empty; put back the key")
    return keys


def _signing_key(fields: list[str]) -> SigningKey:
    if len(fields) != 3:
        raise ValueError(f"it has {len(fields)} parts")
    return decode_signing_key_base64(*fields)


def _error(path: Path, message: str) -> ConfigError:
    return ConfigError(f"The signing key {path}", [Problem("", message)])


def create_signing_key(path: Path) -> SigningKey:
    """Write a new key, readable by its owner only. Raises FileExistsError rather than overwrite, OSError."""
    letters = string.ascii_letters + string.digits
    key = generate_signing_key("".join(secrets.choice(letters) for _ in range(KEY_VERSION_LENGTH)))
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        write_signing_keys(file, [key])
    return key
