"""Findings on whether our own server runs on this machine, and on what follows when it does not. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from homeserver.doctor.facts import ListenerFacts
from homeserver.doctor.findings import Finding, Level, Section, ok, problem

NOT_RUNNING = "server-not-running"
# What is found of a server that does not run, directly or behind a proxy: all these say it once more.
CONSEQUENCES = frozenset(
    {"tcp-refused", "proxy-no-backend", "well-known-not-ours", "client-unreachable", "client-not-matrix"}
)


def judge_listeners(listeners: Sequence[ListenerFacts]) -> Iterator[Finding]:
    """One finding on each listener, or one on all when none is open."""
    if all(each.error for each in listeners):
        where = ", ".join(each.url for each in listeners)
        yield problem(
            NOT_RUNNING,
            f"this server at {where}",
            f"{listeners[0].error}: it does not run",
            "start it (python -m homeserver -c homeserver.yaml), then let the doctor look again: only then can it see what "
            "others get",
        )
        return
    for each in listeners:
        looked_at = f"this server at {each.url}"
        if each.error is None:
            yield ok("listener", looked_at, "it listens")
        else:
            yield problem(
                "listener-closed",
                looked_at,
                each.error,
                "restart the server: it was started with other listeners than homeserver.yaml has now",
            )


def without_consequences(sections: Sequence[Section]) -> list[Section]:
    """The sections; where the server does not run, what is so because of that counts as not looked at."""
    findings = [each for section in sections for each in section.findings]
    if not any(each.code == NOT_RUNNING for each in findings):
        return list(sections)
    return [Section(each.title, [_excused(finding) for finding in each.findings]) for each in sections]


def _excused(finding: Finding) -> Finding:
    if finding.code not in CONSEQUENCES or finding.level not in (Level.PROBLEM, Level.WARNING):
        return finding
    found = f"{finding.found}; no wonder while the server does not run"
    return replace(finding, level=Level.SKIPPED, found=found, remedy="")
