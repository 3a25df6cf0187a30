"""`generate-signing-key`: the signing key that an existing homeserver.yaml names."""

from __future__ import annotations

import argparse

from homeserver.cli.failures import EXIT_OK, CommandError
from homeserver.config import create_signing_key, load_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """generate-signing-key has no arguments of its own."""


def run(arguments: argparse.Namespace) -> int:
    """Write the key; never overwrites one. Raises CommandError, ConfigError."""
    path = load_settings(arguments.config).settings.keys.signing_key_path
    try:
        create_signing_key(path)
    except FileExistsError:
        raise CommandError(
            f"{path} is there already and is not overwritten: other servers know this one by that key"
        ) from None
    print(f"Written: {path}")
    return EXIT_OK
