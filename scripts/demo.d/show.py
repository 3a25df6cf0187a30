"""What a person sees."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import processes
from layout import SERVERS, Demo, Server
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text
from room import Crossing, View

COLOURS = dict(zip([*SERVERS, *SERVERS.values()], ["magenta", "cyan", "yellow"] * 2, strict=True))
SHOWN = 20  # messages
WIDTH_WITHOUT_TERMINAL = 120

if hasattr(sys.stdout, "reconfigure"):
    sys.stdout.reconfigure(errors="replace")  # a terminal that knows only ASCII gets question marks
console = Console(highlight=False, emoji=False, width=None if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL)


def name(of: str) -> str:
    """The name of a server or a person, in its colour."""
    return f"[{COLOURS[of]}]{of}[/]"


def names(of: Iterable[str]) -> str:
    """Several names: a, b and c."""
    *most, last = [name(each) for each in of]
    return f"{', '.join(most)} and {last}" if most else last


def plural(count: int, noun: str) -> str:
    """1 message, 2 messages."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def milliseconds(value: float) -> str:
    """A duration, with a colour for how it feels."""
    colour = "green" if value < 100 else "yellow" if value < 1000 else "red"
    return f"[{colour}]{value:.0f} ms[/]"


def running(demo: Demo, seconds: float, *, first: bool) -> None:
    """All is up: who is where, and what to do now."""
    console.print(f"\n[bold]Three servers, one room[/], {seconds:.1f} s after the start.\n")
    people(demo)
    console.print(f"\nThe room: [bold]{demo.alias}[/] ({demo.room_id})")
    if first:
        console.print(
            "Next:     [bold]scripts/demo chat[/] sends messages across all three; docs/demo.md says what to look at"
        )


def people(demo: Demo) -> None:
    """The servers and their people, with passwords."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for heading in ("server", "state", "memory", "database", "clients connect to", "user", "password"):
        table.add_column(heading, no_wrap=True, header_style="dim")
    for server in demo.servers.values():
        pid = processes.pid_of(server)
        used = processes.memory(pid) if pid else None
        table.add_row(
            f"[{COLOURS[server.name]}]{server.server_name}[/]",
            f"[green]runs[/], process {pid}" if pid else "[red]stopped[/]",
            _size(used),
            _size(_database_size(server)),
            server.client_url,
            SERVERS[server.name],
            escape(demo.person(server).password),
        )
    console.print(table)


def _database_size(server: Server) -> int:
    return sum(path.stat().st_size for path in server.directory.glob(f"{server.database_path.name}*"))


def _size(number: int | None) -> str:
    return "-" if number is None else f"{number / 1024**2:.1f} MB"


def said(crossing: Crossing) -> None:
    """A message, and when each saw it."""
    console.print(f"{name(crossing.sender)} [dim]on {crossing.server}[/]  [bold]{escape(crossing.text)}[/]")
    times = [
        f"{name(who)} " + (milliseconds(value) if value is not None else "[red]not in time[/]")
        for who, value in crossing.seen.items()
    ]
    console.print("    [dim]seen by[/] " + " [dim]·[/] ".join(times) + "\n")


def summary(demo: Demo, crossings: Sequence[Crossing], running_servers: Sequence[Server]) -> bool:
    """What came of the chat; whether everybody who is there saw everything."""
    away = [server for server in demo.servers.values() if server not in running_servers]
    lost = [each for each in crossings if None in each.seen.values()]
    across = [
        value
        for each in crossings
        for who, value in each.seen.items()
        if value is not None and who != each.sender
    ]
    if lost:
        console.print(
            f"[red]{plural(len(lost), 'message')} did not reach everybody in time.[/] "
            f"{escape(str(demo.directory))}/*/log may say why."
        )
    elif across:
        console.print(
            f"[green]Everybody saw everything[/], in the same room on {plural(len(running_servers), 'server')}: "
            f"from one server to another in {milliseconds(statistics.median(across))} (the slowest "
            f"{milliseconds(max(across))})."
        )
    for server in away:
        console.print(
            f"{name(server.name)} is stopped; {name(SERVERS[server.name])} will get this when it is back: "
            f"scripts/demo start {server.name}"
        )
    return not lost


def room(view: View) -> None:
    """The newest messages, and which of the people have each."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("time", header_style="dim", style="dim", no_wrap=True)
    table.add_column("message", header_style="dim")
    for who in view.has:
        table.add_column(name(who), justify="center", no_wrap=True)
    for event in view.messages[-SHOWN:]:
        when = datetime.fromtimestamp(event["origin_server_ts"] / 1000).astimezone()
        sender = event["sender"].split(":")[0].removeprefix("@")
        line = Text.assemble((f"{sender}: ", COLOURS.get(sender, "")), str(event["content"].get("body", "")))
        marks = ["[green]✓[/]" if event["event_id"] in ids else "[red]-[/]" for ids in view.has.values()]
        table.add_row(f"{when:%H:%M:%S}", line, *marks)
    console.print(table)
    missing = view.missing()
    compared = plural(len(view.messages), "message")
    if not view.messages:
        console.print("Nobody has said anything yet: scripts/demo chat")
    elif not missing:
        console.print(f"\n{names(view.has)} {_verb(view.has)} the same {compared}.")
    lacks(missing)


def _verb(who: Mapping[str, object]) -> str:
    return "has" if len(who) == 1 else "have"


def lacks(missing: Mapping[str, int]) -> None:
    """Who has not got everything."""
    for who, count in missing.items():
        console.print(f"[red]{name(who)} lacks {plural(count, 'message')}.[/]")


def mended(missed: Mapping[str, int], seconds: float, lacking: Mapping[str, int]) -> None:
    """What those who were away have got meanwhile."""
    for who, count in missed.items():
        if count and who not in lacking:
            console.print(
                f"{name(who)} had missed {plural(count, 'message')} and has got them all, "
                f"{seconds:.1f} s after the servers were up."
            )
    lacks(lacking)


def stopped(results: Mapping[str, str]) -> None:
    """What became of each server that was to be stopped."""
    for server, result in results.items():
        more = " (it did not end by itself within ten seconds)" if result == "killed" else ""
        console.print(f"{name(server)} {'was ' if result != 'was not running' else ''}{result}{more}")
