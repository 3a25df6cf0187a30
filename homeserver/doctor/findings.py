"""What the doctor finds: one sentence on what was looked at, one on what came back, one on what to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum


class Level(Enum):
    """How bad it is. SKIPPED: not looked at, because of what was found before."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    PROBLEM = "problem"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    code: a stable name, such as `certificate-expired`. looked_at: what was tried. found: what came back. remedy: what to do; empty
    where all is well.
    """

    code: str
    level: Level
    looked_at: str
    found: str
    remedy: str = ""


@dataclass(slots=True)
class Section:
    """The findings of one step."""

    title: str
    findings: list[Finding] = field(default_factory=list)

    def add(self, *findings: Finding) -> None:
        """Add findings."""
        self.findings += findings


def ok(code: str, looked_at: str, found: str) -> Finding:
    """All is well."""
    return Finding(code, Level.OK, looked_at, found)


def note(code: str, looked_at: str, found: str, remedy: str = "") -> Finding:
    """Worth knowing."""
    return Finding(code, Level.NOTE, looked_at, found, remedy)


def warning(code: str, looked_at: str, found: str, remedy: str) -> Finding:
    """It works, and not for everybody or not for long."""
    return Finding(code, Level.WARNING, looked_at, found, remedy)


def problem(code: str, looked_at: str, found: str, remedy: str) -> Finding:
    """Federation, or clients, do not work because of this."""
    return Finding(code, Level.PROBLEM, looked_at, found, remedy)


def skipped(code: str, looked_at: str, why: str) -> Finding:
    """Not looked at."""
    return Finding(code, Level.SKIPPED, looked_at, why)


def worst(findings: Iterable[Finding]) -> Level:
    """The worst level; OK where there is nothing."""
    order = (Level.PROBLEM, Level.WARNING, Level.NOTE, Level.OK, Level.SKIPPED)
    levels = {finding.level for finding in findings}
    return next((level for level in order if level in levels), Level.OK)
