"""`generate-config`: a homeserver.yaml and a signing key for a new server."""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from pathlib import Path

from homeserver.cli.failures import EXIT_OK, CommandError
from homeserver.config import ServerName, create_signing_key, load_settings, load_signing_keys
from homeserver.config.values import parse_server_name

TEMPLATE = """\
# The configuration of this homeserver. Every setting is explained in docs/configuration.md;
# `python -m homeserver -c {file_name} check-config` says whether this file can be used.

# The part after the colon in @user:{plain_name}. It cannot be changed once the server has been used.
server_name: {server_name}

# Where the database and uploaded files are kept. Relative paths are taken from this file's directory.
data_directory: {data_directory}

# The key that other servers know this one by. Keep a copy of it in a safe place.
signing_key_path: {signing_key_path}

# With this, `register-user` makes accounts. Keep it secret.
registration_shared_secret: {secret}
{tls}
# Who may make an account without you: nobody.
enable_registration: false
"""

TLS_GIVEN = """
tls_certificate_path: {certificate}
tls_private_key_path: {private_key}
"""

TLS_MISSING = """
# Other servers connect only to a server with a certificate that they can check: see docs/federation.md.
# The server obtains one itself (port 80 or 443 must reach it), or takes files. Without either it makes a self-signed one.
# acme: {{enabled: true}}
# tls_certificate_path: /etc/letsencrypt/live/{host}/fullchain.pem
# tls_private_key_path: /etc/letsencrypt/live/{host}/privkey.pem
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of generate-config."""
    parser.add_argument("--server-name", metavar="NAME", help="the part after the colon in @user:example.org")
    parser.add_argument("--data-directory", metavar="DIR", help="default: data, beside the file")
    parser.add_argument(
        "--signing-key-path", metavar="FILE", help="default: NAME.signing.key, beside the file"
    )
    parser.add_argument("--tls-certificate-path", metavar="FILE", help="default: a self-signed certificate")
    parser.add_argument("--tls-private-key-path", metavar="FILE")


def run(arguments: argparse.Namespace) -> int:
    """Write the two files; never overwrites one. Raises CommandError, ConfigError."""
    path: Path = arguments.config
    if path.exists():
        raise CommandError(
            f"{path} is there already and is not overwritten. Move it, or give another -c FILE"
        )
    name = _server_name(arguments.server_name)
    certificate, private_key = arguments.tls_certificate_path, arguments.tls_private_key_path
    if bool(certificate) != bool(private_key):
        raise CommandError(
            "--tls-certificate-path and --tls-private-key-path belong together: give both or none"
        )
    directory, key_path = arguments.data_directory, arguments.signing_key_path
    text = TEMPLATE.format(
        file_name=path.name,
        plain_name=name,
        server_name=_quoted(name),
        data_directory=_quoted(_absolute(directory) if directory else "data"),
        signing_key_path=_quoted(_absolute(key_path) if key_path else f"{name}.signing.key"),
        secret=_quoted(secrets.token_urlsafe(32)),
        tls=TLS_GIVEN.format(
            certificate=_quoted(_absolute(certificate)), private_key=_quoted(_absolute(private_key))
        )
        if certificate
        else TLS_MISSING.format(host=name.host),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    # The file has a secret in it, so only its owner may read it.
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    try:
        key = load_settings(path).settings.keys.signing_key_path
        made = _make_key(key)
    except BaseException:
        path.unlink()  # half a configuration would stand in the way of the next try
        raise
    print(f"Written: {path} for the server {name}")
    print(f"Written: {key}" if made else f"Kept:    {key}, the signing key that was there already")
    print(f"Next:    {sys.executable} -m homeserver -c {path}")
    return EXIT_OK


def _server_name(given: str | None) -> ServerName:
    if given is None:
        raise CommandError(
            "--server-name is missing: the part after the colon in @user:example.org, usually your domain "
            "(localhost:8448 to try it on this machine)"
        )
    try:
        return parse_server_name(given)
    except ValueError as error:
        raise CommandError(f'--server-name: found "{given}", but allowed is {error}') from None


def _make_key(path: Path) -> bool:
    """Whether the key was made; a key that is there is checked and kept."""
    try:
        create_signing_key(path)
    except FileExistsError:
        load_signing_keys(path)
        return False
    return True


def _absolute(path: str) -> str:
    """A path of the command line is taken from the current directory, one of the file from the file's."""
    return str(Path(path).expanduser().absolute())


def _quoted(value: str) -> str:
    """A text in YAML, in double quotes, so that nothing in it has a meaning."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
