"""`federation status [SERVER]` and `federation retry SERVER`: how it goes with other servers.

The status is read from the database, whether the server runs or not; to try again is asked of the running server, with a request
that its own key signs.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import time
from collections.abc import Iterable

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from homeserver.cli.failures import EXIT_OK, CommandError
from homeserver.cli.local_server import LocalServer
from homeserver.cli.printable import printable
from homeserver.config import Settings, load_settings, load_signing_keys
from homeserver.federation.operator_requests import operator_request
from homeserver.services.operator import RETRY
from homeserver.storage import federation_health
from homeserver.storage.database import Transaction, open_database
from homeserver.storage.federation_health import DestinationHealth, InboundError

MOST_SHOWN = 1_000
NEWEST_ERRORS = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of federation."""
    commands = parser.add_subparsers(dest="federation_command", metavar="status|retry", required=True)
    status = commands.add_parser("status", help="how it goes with every server, or with one")
    status.add_argument("server_name", nargs="?", metavar="SERVER")
    retry = commands.add_parser("retry", help="try a server that does not answer again, at once")
    retry.add_argument("server_name", metavar="SERVER")
    retry.add_argument(
        "--url", metavar="URL", help="the running server's address, if it is not on this machine"
    )


def run(arguments: argparse.Namespace) -> int:
    """Raises CommandError, ConfigError, DatabaseError."""
    settings = load_settings(arguments.config).settings
    if arguments.federation_command == "retry":
        return _retry(settings, arguments.server_name, arguments.url)
    destinations, errors = asyncio.run(_read(settings, arguments.server_name))
    if arguments.server_name and not destinations and not errors:
        raise CommandError(f"this server has had nothing to do with {arguments.server_name} so far")
    console = Console(highlight=False)
    _print_destinations(console, destinations, in_full=bool(arguments.server_name))
    _print_errors(console, errors)
    return EXIT_OK


def _retry(settings: Settings, server_name: str, url: str | None) -> int:
    key = load_signing_keys(settings.keys.signing_key_path)[0]
    own_name, now = str(settings.server_name), time.time_ns() // 1_000_000
    body = operator_request(RETRY, {"destination": server_name}, own_name, key, now)
    LocalServer(settings, url).call("POST", "/_homeserver/v1/federation/retry", body)
    print(f"{server_name} is tried again now; `federation status {server_name}` says how it went.")
    return EXIT_OK


async def _read(
    settings: Settings, server_name: str | None
) -> tuple[list[DestinationHealth], list[tuple[str, InboundError]]]:
    own_name = str(settings.server_name)

    async def work(tx: Transaction) -> tuple[list[DestinationHealth], list[tuple[str, InboundError]]]:
        if server_name is None:
            found, _ = await federation_health.page(tx, own_name, limit=MOST_SHOWN)
            return found, await federation_health.newest_inbound_errors(tx, NEWEST_ERRORS)
        one = await federation_health.one(tx, own_name, server_name)
        errors = await federation_health.inbound_errors(tx, [server_name])
        return [one] if one else [], [(server_name, each) for each in errors.get(server_name, [])]

    database = await open_database(settings.storage.database)
    try:
        return await database.read(work)
    finally:
        await database.close()


def _print_destinations(console: Console, destinations: list[DestinationHealth], *, in_full: bool) -> None:
    if not destinations:
        console.print("No other server is in a room with this one, and nothing waits to be sent.")
        return
    table = Table("server", "state", "waiting", "last success", "last failure", box=None, pad_edge=False)
    for each in sorted(destinations, key=lambda each: (each.retry_at is None, each.destination)):
        state = "healthy" if each.retry_at is None else f"no answer, next try {_when(each.retry_at)}"
        failure = f"{_when(each.last_failure)}: {printable(each.reason or '')}" if each.last_failure else ""
        table.add_row(
            each.destination,
            state,
            str(each.queued),
            _when(each.last_success),
            escape(failure if in_full else failure[:100]),
        )
    console.print(table)
    failing = sum(each.retry_at is not None for each in destinations)
    if failing and not in_full:
        advice = "`doctor SERVER` looks at one, `federation retry SERVER` tries again"
        console.print(f"\n{failing} of {len(destinations)} do not answer; {advice}.")


def _print_errors(console: Console, errors: Iterable[tuple[str, InboundError]]) -> None:
    rows = list(errors)
    if not rows:
        return
    console.print("\nWhat was refused to other servers last:")
    table = Table("when", "server", "request", "why", box=None, pad_edge=False)
    for origin, error in rows:
        table.add_row(_when(error.at_ms), *map(escape, map(printable, (origin, error.what, error.reason))))
    console.print(table)


def _when(milliseconds: int | None) -> str:
    if not milliseconds:
        return "never"
    return datetime.datetime.fromtimestamp(milliseconds / 1000).strftime("%Y-%m-%d %H:%M:%S")
