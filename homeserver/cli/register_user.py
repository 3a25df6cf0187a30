"""`register-user`: make an account on the running server, by its shared secret."""

from __future__ import annotations

import argparse
import getpass
import hashlib
import hmac
import sys
from pathlib import Path
from typing import Any

from homeserver.cli.failures import EXIT_OK, CommandError
from homeserver.cli.local_server import LocalServer
from homeserver.config import Settings, load_settings

REGISTER = "/_synapse/admin/v1/register"
REMEDIES = {
    "M_USER_IN_USE": "Choose another name",
    "M_UNRECOGNIZED": "Has it a registration_shared_secret, and is it the right server?",
    "M_FORBIDDEN": "If its registration_shared_secret was changed while it ran, start it again",
    "": "Nothing was registered",
}
"""What to do, by errcode; `""` for all others."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of register-user."""
    parser.add_argument("user", nargs="?", metavar="NAME", help="the part between @ and :")
    parser.add_argument("-u", "--user", dest="user_option", metavar="NAME", help=argparse.SUPPRESS)
    password = parser.add_mutually_exclusive_group()
    password.add_argument("-p", "--password", metavar="PASSWORD", help="asked for if missing")
    password.add_argument(
        "--password-file", metavar="FILE", help="its first line is the password; - is the input"
    )
    parser.add_argument("-a", "--admin", action="store_true", help="make the user an administrator")
    parser.add_argument("--url", metavar="URL", help="the server's address, if it is not on this machine")


def run(arguments: argparse.Namespace) -> int:
    """Register the user. Raises CommandError, ConfigError."""
    settings = load_settings(arguments.config).settings
    secret = settings.registration.registration_shared_secret
    if secret is None:
        raise CommandError(
            f"registration_shared_secret is not set in {arguments.config}. Set it to a long random text and "
            "start the server again"
        )
    user = _user(arguments.user or arguments.user_option, settings)
    password = _password(arguments)
    server = LocalServer(settings, arguments.url, REMEDIES)
    nonce = str(_part(server, "nonce", server.call("GET", REGISTER)))
    body = {
        "nonce": nonce,
        "username": user,
        "password": password,
        "admin": arguments.admin,
        "mac": _mac(secret, nonce, user, password, arguments.admin),
    }
    user_id = _part(server, "user_id", server.call("POST", REGISTER, body))
    kind = "Administrator" if arguments.admin else "User"
    print(f"{kind} {user_id} is registered.")
    return EXIT_OK


def _part(server: LocalServer, key: str, answer: dict[str, Any]) -> Any:
    if key not in answer:
        raise CommandError(f"what answers at {server.base} is not this server; give its address with --url")
    return answer[key]


def _mac(secret: str, nonce: str, user: str, password: str, admin: bool) -> str:
    """HMAC-SHA1 over the parts, separated by NUL: the form that /_synapse/admin/v1/register defines."""
    parts = (nonce, user, password, "admin" if admin else "notadmin")
    return hmac.new(secret.encode(), b"\0".join(part.encode() for part in parts), hashlib.sha1).hexdigest()


def _user(given: str | None, settings: Settings) -> str:
    user = given
    if not user:
        if not sys.stdin.isatty():
            raise CommandError("the name is missing and there is no terminal to ask on: register-user NAME")
        user = input("Name (the part between @ and :): ").strip()
    # A whole user ID is taken too, if it is one of this server.
    localpart, colon, server = user.removeprefix("@").partition(":")
    if colon and server != settings.server_name:
        raise CommandError(f"{user} is a user of {server}, and this server is {settings.server_name}")
    if not localpart:
        raise CommandError("the name is empty; it is the part between @ and : of the user ID")
    return localpart


def _password(arguments: argparse.Namespace) -> str:
    if arguments.password is not None:
        password = str(arguments.password)
    elif arguments.password_file is not None:
        password = _first_line(arguments.password_file)
    elif sys.stdin.isatty():
        password = getpass.getpass("Password: ")
        if getpass.getpass("The same again: ") != password:
            raise CommandError("the two passwords differ; nothing was registered")
    else:
        raise CommandError("the password is missing and there is no terminal to ask on: --password-file FILE")
    if not password:
        raise CommandError("the password is empty; nothing was registered")
    return password


def _first_line(path: str) -> str:
    try:
        if path == "-":
            return sys.stdin.readline().rstrip("\r\n")
        with Path(path).open(encoding="utf-8") as file:
            return file.readline().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"--password-file: {path} cannot be read ({error})") from None
