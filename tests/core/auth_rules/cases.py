"""Tables of cases: an event, and the rule of each version that refuses it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from homeserver.core.auth_rules import authorise
from homeserver.core.auth_rules.refusal import rule_numbers
from homeserver.core.events import Event
from homeserver.core.power_levels import CREATE
from homeserver.core.room_versions import ROOM_VERSIONS
from tests.core.auth_rules.builder import (
    ALL,
    Room,
)

FOREIGN = "@eve:elsewhere.example"
NAME = "m.room.name"


@dataclass(frozen=True)
class Case:
    """`make` gives the event to be judged by the room's state; `rule` is the refusal, None if allowed.

    `{member}` and the like in `rule` stand for the version's own number.
    """

    name: str
    make: Callable[[Room], Event]
    rule: str | None
    versions: tuple[str, ...] = ALL


def run(case: Case, version: str, room: Room) -> None:
    event = case.make(room)
    refusal = authorise(event, room.state)
    if case.rule is None:
        assert refusal is None, refusal
    else:
        numbers = rule_numbers(ROOM_VERSIONS[version])
        values = {name: getattr(numbers, name) for name in numbers.__slots__}
        assert refusal is not None
        assert refusal.rule == f"v{version} " + case.rule.format(**values)
        assert len(refusal.reason) > 15


def table(cases: list[Case]) -> Any:
    pairs = [(case, version) for case in cases for version in case.versions]
    return pytest.mark.parametrize(
        ("case", "version"), pairs, ids=[f"{case.name}-v{version}" for case, version in pairs]
    )


def after(*steps: Callable[[Room], Any]) -> Callable[[Room], Event]:
    """Does the steps; the last one gives the event."""

    def make(room: Room) -> Event:
        for step in steps[:-1]:
            step(room)
        event: Event = steps[-1](room)
        return event

    return make


def member(user: str, membership: str, **more: Any) -> Callable[[Room], Event]:
    return lambda room: room.membership(user, membership, **more)


def now(user: str, membership: str, sender: str | None = None) -> Callable[[Room], Event]:
    return lambda room: room.member(user, membership, sender=sender)


def rule_is(rule: str) -> Callable[[Room], Event]:
    return lambda room: room.join_rule(rule)


def state_event(type: str, sender: str, key: str | None = "", **content: Any) -> Callable[[Room], Event]:
    return lambda room: room.event(type, sender, content, key)


def first_join(user: str) -> Callable[[Room], Event]:
    def make(room: Room) -> Event:
        room.state = {CREATE: room.create}
        return room.membership(user, "join", prev=[room.create.event_id])

    return make
