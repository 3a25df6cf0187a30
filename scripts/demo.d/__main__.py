"""scripts/demo: three homeservers on this machine in a federation of their own, with three people in one room."""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import client
import faults
import files
import processes
import room
import show
from layout import FIRST_PORT, SERVERS, Demo, DemoError, Server, load_demo, locked, new_demo
from rich.markup import escape

from homeserver.cli.doctor import print_examination

EPILOG = """\
The first time: scripts/demo start, then scripts/demo chat. docs/demo.md says what there is to look at, and how to
break it and watch it mend."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__, epilog=EPILOG)
    parser.add_argument(
        "--directory",
        type=Path,
        default=os.environ.get("DEMO_DIRECTORY"),
        help="where the demo keeps everything (default: $DEMO_DIRECTORY, or demo beside README.md)",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    start = commands.add_parser(
        "start", help="start the servers; the first time also make users and the room"
    )
    start.add_argument("servers", nargs="*", metavar="SERVER", help=f"only these: {', '.join(SERVERS)}")
    start.add_argument(
        "--first-port",
        type=int,
        default=os.environ.get("DEMO_FIRST_PORT"),
        help=f"the first of six ports, chosen at the first start (default: $DEMO_FIRST_PORT, or {FIRST_PORT})",
    )
    stop = commands.add_parser("stop", help="stop the servers")
    stop.add_argument("servers", nargs="*", metavar="SERVER", help=f"only these: {', '.join(SERVERS)}")
    commands.add_parser("status", help="which servers run, their addresses, the users and passwords")
    chat = commands.add_parser("chat", help="everybody says something, and sees it on every server")
    chat.add_argument("text", nargs="?", help="say this, in place of something of the demo's own")
    chat.add_argument(
        "--as",
        dest="person",
        choices=SERVERS.values(),
        help=f"who says the text (default: {next(iter(SERVERS.values()))})",
    )
    commands.add_parser("room", help="the newest messages, and which of the servers have them")
    commands.add_parser("doctor", help="what the doctor says of each server")
    broken = commands.add_parser(
        "break",
        help=f"break {faults.BROKEN} in one way, see what the doctor says, and mend it again",
    )
    broken.add_argument(
        "fault",
        choices=faults.FAULTS,
        help="; ".join(f"{name}: {fault.what}" for name, fault in faults.FAULTS.items()),
    )
    commands.add_parser("clean", help="stop the servers and remove everything")
    return parser


def main() -> int:
    """Do what the command line says; returns the exit code: 0, 1 for what went wrong, 2 for wrong arguments."""
    arguments = _parser().parse_args()
    directory = (arguments.directory or processes.REPOSITORY / "demo").absolute()
    try:
        return {
            "start": _start,
            "stop": _stop,
            "status": _status,
            "chat": _chat,
            "room": _room,
            "doctor": _doctor,
            "break": _break,
            "clean": _clean,
        }[arguments.command](directory, arguments)
    except DemoError as error:
        print(f"scripts/demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _start(directory: Path, arguments: argparse.Namespace) -> int:
    before = time.monotonic()
    port = arguments.first_port
    demo = load_demo(directory)
    if demo is None:
        demo = new_demo(directory, FIRST_PORT if port is None else port)
    elif port not in (None, demo.first_port):
        raise DemoError(
            f"the demo in {directory} has the ports from {demo.first_port} on, and they are part of its names. "
            "For others remove it first: scripts/demo clean"
        )
    chosen = _chosen(demo, arguments.servers)
    first = demo.room_id is None
    if first and len(chosen) < len(demo.servers):
        raise DemoError(
            "the first start makes users and the room, so it takes all servers: scripts/demo start"
        )
    with locked(directory):
        demo.save()
        files.write_files(demo)
        away: dict[str, float] = {}
        idle = [server for server in chosen if processes.pid_of(server) is None]
        for server in chosen:
            if server not in idle:
                show.console.print(f"{show.name(server.name)} was running already")
        if idle:
            # Their logs say when they were last awake.
            away = {
                SERVERS[each.name]: each.log_path.stat().st_mtime for each in idle if each.log_path.exists()
            }
            with show.console.status(f"Starting {show.names(each.name for each in idle)} ..."):
                processes.start(idle, client.answers)
        lacking = _together(demo, away, first=first)
        if idle:
            show.running(demo, time.monotonic() - before, first=first)
    return 1 if lacking else 0


def _together(demo: Demo, away: Mapping[str, float], *, first: bool) -> Mapping[str, int]:
    """When all servers run: bring all people into the room, and wait until they have the same messages.

    `away`: since when which people were away, in seconds since 1970. Returns who lacks how many messages.
    """
    if len(_running(demo)) < len(demo.servers):
        return {}
    with show.console.status("Making the users and the room ..." if first else "Looking at the room ..."):
        asyncio.run(room.set_up(demo))
        seconds, lacking = asyncio.run(room.caught_up(demo))
        missed = asyncio.run(room.missed(demo, away))
    show.mended(missed, seconds, lacking)
    return lacking


def _stop(directory: Path, arguments: argparse.Namespace) -> int:
    demo = load_demo(directory)
    if demo is None:
        show.console.print(f"There is no demo in {escape(str(directory))}, so nothing runs.")
        return 0
    with locked(directory):
        show.stopped(processes.stop(_chosen(demo, arguments.servers)))
    return 0


def _status(directory: Path, arguments: argparse.Namespace) -> int:
    demo = _existing(directory)
    show.people(demo)
    away = [server.name for server in demo.servers.values() if server not in _running(demo)]
    if not away:
        return 0
    which = f" {' '.join(away)}" if len(away) < len(demo.servers) else ""
    show.console.print(f"\nTo start {show.names(away)}: scripts/demo start{which}")
    return 1


def _chat(directory: Path, arguments: argparse.Namespace) -> int:
    demo = _existing(directory)
    running = _running(demo, least=1)
    if arguments.text is None:
        if arguments.person:
            raise DemoError("--as says who says a text, so give one: scripts/demo chat --as bob 'Hello'")
        texts = dict(zip(demo.servers, room.ROUNDS[demo.chats % len(room.ROUNDS)], strict=True))
        lines = [(server, texts[server.name]) for server in running]
        demo.chats += 1
        demo.save()
    else:
        person = arguments.person or next(iter(SERVERS.values()))
        lines = [(server, arguments.text) for server in running if SERVERS[server.name] == person]
        if not lines:
            raise DemoError(f"the server of {person} does not run: scripts/demo start")
    return 0 if asyncio.run(_talk(demo, running, lines)) else 1


async def _talk(demo: Demo, running: Sequence[Server], lines: Sequence[tuple[Server, str]]) -> bool:
    crossings = []
    async for crossing in room.chat(demo, running, lines):
        show.said(crossing)
        crossings.append(crossing)
    return show.summary(demo, crossings, running)


def _room(directory: Path, arguments: argparse.Namespace) -> int:
    demo = _existing(directory)
    view = asyncio.run(room.view(demo, _running(demo, least=1)))
    show.room(view)
    return 1 if view.missing() else 0


def _doctor(directory: Path, arguments: argparse.Namespace) -> int:
    demo = _existing(directory)
    _running(demo, least=len(demo.servers))
    examinations = [faults.looked_at(server) for server in demo.servers.values()]
    for examination in examinations:
        print_examination(examination, show.console)
        show.console.print()
    return 1 if any(examination.problems for examination in examinations) else 0


def _break(directory: Path, arguments: argparse.Namespace) -> int:
    demo = _existing(directory)
    _running(demo, least=len(demo.servers))
    fault = faults.FAULTS[arguments.fault]
    with locked(directory):
        show.console.print(f"{show.name(faults.BROKEN)}: {fault.what}.\n")
        examination = fault.show(demo, demo.servers[faults.BROKEN])
    print_examination(examination, show.console)
    show.console.print(f"\n{show.name(faults.BROKEN)} is mended again.")
    return 0 if examination.problems else 1


def _clean(directory: Path, arguments: argparse.Namespace) -> int:
    demo = load_demo(directory)
    if demo is None:
        show.console.print(f"There is no demo in {escape(str(directory))}.")
        return 0
    with locked(directory):
        processes.stop(demo.servers.values())
        shutil.rmtree(directory)
    show.console.print(f"The servers are stopped, and {escape(str(directory))} is removed.")
    return 0


def _existing(directory: Path) -> Demo:
    demo = load_demo(directory)
    if demo is None:
        raise DemoError(f"there is no demo in {directory} yet: scripts/demo start")
    return demo


def _chosen(demo: Demo, names: Sequence[str]) -> list[Server]:
    """The servers of these names; all for none."""
    unknown = [name for name in names if name not in demo.servers]
    if unknown:
        raise DemoError(f"there is no server {unknown[0]} here, only {', '.join(demo.servers)}")
    return [server for name, server in demo.servers.items() if not names or name in names]


def _running(demo: Demo, least: int = 0) -> list[Server]:
    running = [server for server in demo.servers.values() if processes.pid_of(server) is not None]
    if len(running) < least:
        raise DemoError(
            "not all servers run: scripts/demo start" if running else "no server runs: scripts/demo start"
        )
    return running


if __name__ == "__main__":
    sys.exit(main())
