"""The command line: the server itself, and one module for each subcommand.

A subcommand module has `add_arguments(parser)` and `run(arguments) -> int`, the exit code. What goes wrong
in a way that a person can mend is raised as one of the errors in `failures`: one message, exit code 1.
"""

from __future__ import annotations

import argparse
from importlib.metadata import version
from pathlib import Path

from homeserver.cli import (
    check_config,
    doctor,
    failures,
    federation,
    generate_config,
    generate_signing_key,
    register_user,
    serve,
)

DEFAULT_CONFIG = Path("homeserver.yaml")

SUBCOMMANDS = {
    "generate-config": (generate_config, "write a homeserver.yaml and a signing key"),
    "generate-signing-key": (generate_signing_key, "write the signing key that homeserver.yaml names"),
    "check-config": (check_config, "say whether homeserver.yaml and the files it names can be used"),
    "doctor": (
        doctor,
        "look at this or another server as its peers do, and say what is wrong and what to do",
    ),
    "federation": (federation, "say how it goes with other servers, or try one again"),
    "register-user": (register_user, "make an account on the running server"),
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m homeserver",
        description="A Matrix homeserver. Without a subcommand it serves until SIGTERM or Ctrl-C; SIGHUP "
        "makes it read the TLS certificate again.",
    )
    parser.add_argument("--version", action="version", version=f"homeserver {version('homeserver')}")
    _add_config(parser, DEFAULT_CONFIG)
    commands = parser.add_subparsers(dest="command", metavar="SUBCOMMAND")
    for name, (module, what) in SUBCOMMANDS.items():
        command = commands.add_parser(name, help=what, description=what[0].upper() + what[1:] + ".")
        # Accepted after the subcommand too; without a default, so that it does not undo the one before it.
        _add_config(command, argparse.SUPPRESS)
        module.add_arguments(command)
    return parser


def _add_config(parser: argparse.ArgumentParser, default: Path | str) -> None:
    parser.add_argument(
        "-c",
        "--config",
        "--config-path",
        dest="config",
        type=Path,
        default=default,
        metavar="FILE",
        help="the configuration (default: homeserver.yaml in this directory)",
    )


def main(argv: list[str]) -> int:
    """Do what the arguments say; returns the exit code: 0, 1 for what went wrong, 2 for wrong arguments."""
    arguments = _parser().parse_args(argv)
    run = SUBCOMMANDS[arguments.command][0].run if arguments.command else serve.run
    return failures.shown(lambda: run(arguments))
