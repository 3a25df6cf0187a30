"""The figures, for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from measures import Figures
from rich.console import Console
from rich.table import Table


def table(title: str, measured: Sequence[Figures], memory: int) -> None:
    """Print them as a table."""
    shown = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 3, 0, 0))
    shown.add_column("")
    for heading in ("per second", "p50 ms", "p95 ms", "p99 ms", "CPU ms each"):
        shown.add_column(heading, justify="right", no_wrap=True)
    for each in measured:
        shown.add_row(
            each.what,
            f"{each.rate:,.0f}" if each.rate >= 20 else f"{each.rate:.1f}",
            *(f"{each.percentile(percent):.1f}" for percent in (50, 95, 99)),
            f"{each.processor_seconds * 1000 / each.count:.2f}",
        )
    console = Console(highlight=False, width=None if Console().is_terminal else 120)
    console.print(shown)
    for each in measured:
        for name, value in each.more.items():
            console.print(f"{name}: {value:,.0f} [dim]({each.what})[/]")
    console.print(f"memory of the server at the end: {memory / 1024**2:.0f} MB")


def json_of(measured: Sequence[Figures], memory: int, database: str) -> dict[str, Any]:
    """The same for a program."""
    return {
        "database": database,
        "memory_bytes": memory,
        "measures": [
            {
                "what": each.what,
                "count": each.count,
                "per_second": round(each.rate, 2),
                "ms": {f"p{percent}": round(each.percentile(percent), 3) for percent in (50, 95, 99)},
                "processor_ms_each": round(each.processor_seconds * 1000 / each.count, 3),
                **each.more,
            }
            for each in measured
        ],
    }
