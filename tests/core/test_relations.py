"""What an event's `m.relates_to` says."""

from typing import Any

import pytest

from homeserver.core.relations import Relation, may_be_replaced, may_replace, relation_of
from tests.support.stored_rooms import an_event

PARENT = "$parent"


def relates(rel_type: Any = "m.thread", event_id: Any = PARENT, **more: Any) -> dict[str, Any]:
    return {"m.relates_to": {"rel_type": rel_type, "event_id": event_id, **more}}


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"m.relates_to": None},
        {"m.relates_to": []},
        {"m.relates_to": {"m.in_reply_to": {"event_id": PARENT}}},
        {"m.relates_to": {"rel_type": "m.thread"}},
        relates(rel_type=""),
        relates(rel_type=1),
        relates(rel_type=["m.thread"]),
        relates(rel_type="x" * 256),
        relates(event_id="parent"),
        relates(event_id={"event_id": PARENT}),
        relates(event_id="$" + "x" * 255),
        relates(event_id="$a\0b"),
    ],
)
def test_what_does_not_match_the_schema_is_no_relation(content: dict[str, Any]) -> None:
    assert relation_of(content) is None


def test_the_key_is_of_annotations_alone() -> None:
    assert relation_of(relates("m.annotation", key="👍")) == Relation(PARENT, "m.annotation", "👍")
    assert relation_of(relates("m.annotation", key=1)) == Relation(PARENT, "m.annotation", None)
    assert relation_of(relates("m.annotation")) == Relation(PARENT, "m.annotation", None)
    assert relation_of(relates("org.example", key="x")) == Relation(PARENT, "org.example", None)


def test_what_can_replace_and_be_replaced() -> None:
    new_content: dict[str, Any] = {"m.new_content": {"body": "b"}, **relates("m.replace")}
    assert may_replace(an_event(content=new_content))
    assert may_replace(an_event(type="m.room.encrypted", content=relates("m.replace")))
    assert not may_replace(an_event(content=relates("m.replace")))
    assert not may_replace(an_event(content={**new_content, "m.new_content": "b"}))
    assert not may_replace(an_event(content=new_content, state_key=""))
    assert may_be_replaced(an_event(content=relates("m.thread")))
    assert not may_be_replaced(an_event(content=new_content))
    assert not may_be_replaced(an_event(state_key=""))
