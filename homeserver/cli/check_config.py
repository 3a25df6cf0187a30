"""`check-config`: whether homeserver.yaml and the files it names can be used, without starting anything."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from homeserver.cli.failures import EXIT_OK, CommandError
from homeserver.config import Settings, load_settings, load_signing_keys
from homeserver.core.signing import key_id_of
from homeserver.tls import CertificateStore


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """check-config has no arguments of its own."""


def run(arguments: argparse.Namespace) -> int:
    """Check and say what was found. Raises CommandError, ConfigError, TLSError for what cannot be used."""
    loaded = load_settings(arguments.config)
    for warning in loaded.warnings:
        print(f"Warning: {warning}")
    for note in loaded.notes:
        print(f"Note:    {note}")
    settings = loaded.settings
    keys = load_signing_keys(settings.keys.signing_key_path)
    check_directories(settings)
    print(f"{arguments.config} can be used.")
    print(f"  server:      {settings.server_name}, for clients {settings.server.public_baseurl}")
    print(f"  signing key: {key_id_of(keys[0])} in {settings.keys.signing_key_path}")
    print(f"  database:    {describe_database(settings)}")
    print(f"  certificate: {_describe_certificate(settings)}")
    for listener in settings.server.listeners:
        protocol = "TLS" if listener.tls else "plain HTTP"
        where, what = ", ".join(listener.bind_addresses), ", ".join(sorted(listener.resource_names))
        print(f"  listens on:  port {listener.port} of {where}: {protocol}, {what}")
    return EXIT_OK


def check_directories(settings: Settings) -> None:
    """Make the directories that the server writes to. Raises CommandError when one cannot be written."""
    database = settings.storage.database
    wanted: dict[str, Path] = {}
    if needs_own_certificate(settings):
        wanted["data_directory"] = settings.server.data_directory
    if database.name == "sqlite3" and database.args["database"] != ":memory:":
        wanted["database.args.database"] = Path(database.args["database"]).parent
    if settings.server.pid_file is not None:
        wanted["pid_file"] = settings.server.pid_file.parent
    for key, directory in wanted.items():
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CommandError(
                f"{key}: the directory {directory} cannot be made ({error.strerror}). Make it and give it "
                "to the user that runs the server (chown), or change the path in homeserver.yaml"
            ) from None
        if not os.access(directory, os.W_OK | os.X_OK):
            raise CommandError(
                f"{key}: the directory {directory} cannot be written. Give it to the user that runs the "
                "server (chown), or change the path in homeserver.yaml"
            )


def needs_own_certificate(settings: Settings) -> bool:
    """Whether the server makes or obtains its certificate."""
    return settings.tls.tls_certificate_path is None and any(each.tls for each in settings.server.listeners)


def describe_database(settings: Settings) -> str:
    """The database in a few words, without its password."""
    database = settings.storage.database
    if database.name == "sqlite3":
        return f"SQLite, {database.args['database']}"
    name, host = database.args.get("database", ""), database.args.get("host", "this machine")
    return f"PostgreSQL, {name} on {host}".replace("  ", " ")


def _describe_certificate(settings: Settings) -> str:
    if not any(listener.tls for listener in settings.server.listeners):
        return "none needed, no listener has tls: true"
    acme = settings.tls.acme
    if acme.enabled:
        return f"obtained for {', '.join(acme.domains)} from {acme.directory_url}"
    paths = settings.tls.tls_certificate_path, settings.tls.tls_private_key_path
    if paths[0] is None or paths[1] is None:
        return "none given, so a self-signed one is made; see docs/federation.md"
    certificate = CertificateStore(paths[0], paths[1]).certificate
    names = ", ".join(certificate.names) or "no name"
    return f"for {names}, until {certificate.not_after:%Y-%m-%d}"
