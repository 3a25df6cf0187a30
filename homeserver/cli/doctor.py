"""`doctor`: what is wrong with a server as its peers and clients see it, and what to do."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys

from rich.console import Console
from rich.text import Text

from homeserver.cli.failures import EXIT_FAILURE, EXIT_OK
from homeserver.cli.printable import printable
from homeserver.config import load_settings
from homeserver.doctor import Examination, Finding, Level, as_report
from homeserver.doctor.examination import LONG_POLL_SECONDS
from homeserver.examining import examine

# A sign, and one for terminals without it; a style.
SIGNS: dict[Level, tuple[str, str, str]] = {
    Level.OK: ("✓", "ok", "green"),
    Level.NOTE: ("·", "--", "cyan"),
    Level.WARNING: ("!", "!!", "yellow"),
    Level.PROBLEM: ("✗", "XX", "bold red"),
    Level.SKIPPED: ("-", "..", "dim"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of doctor."""
    parser.add_argument(
        "server_name",
        nargs="?",
        metavar="SERVER",
        help="another server (default: the one of homeserver.yaml)",
    )
    parser.add_argument(
        "--json", action="store_true", help="the report as JSON, in the federation tester's shape"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="leave out what takes long through the proxy: a poll of 30 s, a large upload",
    )


def run(arguments: argparse.Namespace) -> int:
    """Examine and print; exit code 1 when there is a problem. Raises ConfigError when homeserver.yaml cannot be used."""
    other = arguments.server_name
    # To look at another server one needs no configuration; where there is one, its authorities and ranges count.
    settings = (
        load_settings(arguments.config).settings if other is None or arguments.config.exists() else None
    )
    name = other or str(settings.server_name if settings else "")
    long_poll_s = 0.0 if arguments.quick else LONG_POLL_SECONDS
    examination = asyncio.run(examine(name, settings, long_poll_s=long_poll_s))
    if arguments.json:
        print(json.dumps(as_report(examination), indent=2, ensure_ascii=False))
    else:
        print_examination(examination, Console(highlight=False, soft_wrap=not sys.stdout.isatty()))
    return EXIT_FAILURE if examination.problems else EXIT_OK


def print_examination(examination: Examination, console: Console) -> None:
    """The findings as a checklist, each problem with what to do."""
    console.print(Text(printable(f"The doctor looks at {examination.facts.server_name}"), style="bold"))
    for section in examination.sections:
        if not section.findings:
            continue
        console.print()
        console.print(Text(section.title, style="bold"))
        for finding in section.findings:
            _print_finding(finding, console)
    console.print()
    console.print(Text(_verdict(examination), style="bold"))


def _print_finding(finding: Finding, console: Console) -> None:
    sign, plain, style = SIGNS[finding.level]
    can_show = (console.encoding or "").lower().startswith("utf")
    line = Text(f" {sign if can_show else plain} ", style=style)
    console.print(line.append(printable(f"{finding.looked_at}: {finding.found}"), style=""))
    if finding.remedy:
        remedy = Text(f"{'→' if can_show else '->'} {printable(finding.remedy)}", style="italic")
        for part in remedy.wrap(console, console.width - 5) if console.is_terminal else [remedy]:
            console.print(Text("     ").append(part))


def _verdict(examination: Examination) -> str:
    problems = len(examination.problems)
    warnings = sum(finding.level is Level.WARNING for finding in examination.findings)
    others = f"; {warnings} warning{'s' if warnings != 1 else ''}" if warnings else ""
    if problems:
        return f"{problems} problem{'s' if problems != 1 else ''} to mend{others}. Mend the first one first: others may go with it."
    return f"All is well: servers and clients can come{others}."
