"""Orders of events, and judging them by their auth events."""

from dataclasses import dataclass
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st
from signedjson.key import generate_signing_key

from homeserver.core.event_order import by_prev_events, judge_by_auth_events, ordered
from homeserver.core.events import Event, make_event
from homeserver.core.probable_event_id import probable_event_id
from homeserver.core.room_versions import ROOM_VERSIONS, rules_for

KEY = generate_signing_key("x")
ALICE = "@alice:a.test"


@dataclass(frozen=True)
class Node:
    """What `ordered` needs of an event."""

    event_id: str
    prev_event_ids: tuple[str, ...] = ()


def nodes(*edges: tuple[str, str]) -> list[Event]:
    """Events by ID with the IDs of their parents, separated by spaces."""
    return cast("list[Event]", [Node(name, tuple(parents.split())) for name, parents in edges])


def names(events: list[Event]) -> str:
    return " ".join(event.event_id for event in events)


def test_parents_come_first_and_else_the_order_given() -> None:
    events = nodes(("d", "b c"), ("c", "a"), ("a", "elsewhere"), ("b", "a"), ("x", ""))
    assert names(ordered(events, by_prev_events)) == "a c b d x"


def test_circles_are_left_out() -> None:
    events = nodes(("a", "b"), ("b", "a"), ("c", "b"), ("d", ""), ("e", "e"))
    assert names(ordered(events, by_prev_events)) == "d"


@given(st.permutations(range(30)))
def test_any_order_will_do(numbers: list[int]) -> None:
    events = nodes(*((str(number), f"{number - 1} {number - 3}") for number in numbers))
    assert names(ordered(events, by_prev_events)) == " ".join(str(number) for number in range(30))


def make(
    event_type: str, content: dict[str, Any], state_key: str | None, *auth: Event, sender: str = ALICE
) -> Event:
    """An event of a room of version 10."""
    return make_event(
        rules_for("10"),
        server_name="a.test",
        signing_key=KEY,
        room_id="!r:a.test",
        type=event_type,
        sender=sender,
        content=content,
        state_key=state_key,
        prev_events=[event.event_id for event in auth],
        auth_events=[event.event_id for event in auth],
        depth=1,
        origin_server_ts=1,
    )


def test_judging_a_room() -> None:
    create = make("m.room.create", {"creator": ALICE, "room_version": "10"}, "")
    joined = make("m.room.member", {"membership": "join"}, ALICE, create)
    levels = make("m.room.power_levels", {"users": {ALICE: 100}}, "", create, joined)
    stranger = make("m.room.topic", {"topic": "x"}, "", create, levels, sender="@mallory:a.test")
    after = make("m.room.name", {"name": "x"}, "", create, stranger)
    orphan = make("m.room.name", {"name": "y"}, "", create, make("m.room.x", {}, ""))
    judged = judge_by_auth_events([orphan, after, stranger, levels, joined, create], {})
    assert list(judged.accepted) == [create.event_id, joined.event_id, levels.event_id]
    assert set(judged.rejected) == {stranger.event_id, after.event_id}
    assert list(judged.unjudged) == [orphan.event_id]
    known = {event.event_id: event for event in (create, joined)}
    again = judge_by_auth_events([levels], known, {joined.event_id})
    assert "was itself rejected" in again.rejected[levels.event_id]


def test_the_probable_id_of_what_is_refused() -> None:
    event = make("m.room.message", {"body": "x"}, None)
    assert probable_event_id(dict(event.pdu), None) == event.event_id
    assert probable_event_id({"event_id": "$a:b", "room_id": "!r:b"}, None) == "$a:b"
    for rules in (None, *ROOM_VERSIONS.values()):
        for nonsense in (None, [], "x", {}, {"room_id": 7}, {"content": 1, "type": []}, {"a": float("nan")}):
            probable_event_id(nonsense, rules)  # never raises
