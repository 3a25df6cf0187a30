"""The redaction algorithm of every room version, against the lists of the specification."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.core.events import Event, compute_event_id, redact
from homeserver.core.redaction import redact_content, redact_pdu
from homeserver.core.room_versions import RoomRules, rules_for
from tests.core.strategies import (
    CONTENT_KEYS,
    EVENT_TYPES,
    QUICK,
    contents,
    create_event,
    events,
    next_event,
    room_rules,
)

LISTS = json.loads((Path(__file__).parent / "vectors" / "redactions.json").read_text())
ALL_CONTENT_KEYS = sorted(
    set(CONTENT_KEYS)
    | {key for lists in LISTS.values() for keys in lists["content"].values() if keys != "all" for key in keys}
)


@pytest.mark.parametrize("version", LISTS)
def test_the_keys_of_the_event_that_are_kept(version: str) -> None:
    kept = set(LISTS[version]["top_level"])
    others = {"unsigned", "redacts", "age", "membership", "origin", "prev_state", "org.example"}
    pdu = {**dict.fromkeys(kept | others, "x"), "type": "m.room.message", "content": {"body": "x"}}
    assert redact_pdu(pdu, rules_for(version)) == {key: pdu[key] for key in kept} | {"content": {}}


@pytest.mark.parametrize("version", LISTS)
@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_the_keys_of_the_content_that_are_kept(version: str, event_type: str) -> None:
    content: dict[str, Any] = dict.fromkeys(ALL_CONTENT_KEYS, "x")
    content["third_party_invite"] = {"display_name": "x", "signed": {"token": "y"}}
    listed = LISTS[version]["content"].get(event_type, [])
    if listed == "all":
        expected = content
    else:
        expected = {key: content[key] for key in listed if key != "third_party_invite.signed"}
        if "third_party_invite.signed" in listed:
            expected["third_party_invite"] = {"signed": {"token": "y"}}
    assert redact_content(content, event_type, rules_for(version)) == expected


@pytest.mark.parametrize(
    ("invite", "left"),
    [
        ({"signed": 1, "display_name": 2}, {"third_party_invite": {"signed": 1}}),
        ({"display_name": 2}, {"third_party_invite": {}}),
        ("x", {}),
        (None, {}),
        (["signed"], {}),
    ],
)
def test_third_party_invites_that_are_not_well_formed(invite: object, left: dict[str, Any]) -> None:
    content = {"third_party_invite": invite}
    assert redact_content(content, "m.room.member", rules_for("11")) == left
    assert redact_content(content, "m.room.member", rules_for("10")) == {}


@pytest.mark.parametrize("pdu", [{}, {"type": 1}, {"content": [], "type": "m.room.create"}, {"type": ["a"]}])
def test_what_is_not_an_event_is_redacted_too(pdu: dict[str, Any]) -> None:
    redacted = redact_pdu(pdu, rules_for("12"))
    assert redacted["content"] == {}


@QUICK
@given(events())
def test_redaction_is_idempotent_and_keeps_the_event_id(event: Event) -> None:
    once = redact_pdu(event.pdu, event.rules)
    assert redact_pdu(once, event.rules) == once
    assert compute_event_id(once, event.rules) == event.event_id
    redacted = redact(event)
    assert redacted.event_id == event.event_id
    assert redacted.room_id == event.room_id
    assert redact(redacted) == redacted
    assert (redacted.type, redacted.state_key, redacted.sender) == (event.type, event.state_key, event.sender)


@QUICK
@given(contents, st.sampled_from(EVENT_TYPES), room_rules)
def test_redaction_only_takes_away(content: dict[str, Any], event_type: str, rules: RoomRules) -> None:
    before = json.dumps(content)
    left = redact_content(content, event_type, rules)
    assert set(left) <= set(content)
    assert json.dumps(content) == before


def test_a_redacted_event_of_ours_keeps_what_authorisation_needs() -> None:
    create = create_event(rules_for("11"), **{"m.federate": False, "predecessor": {}})
    assert redact(create).content == create.content
    join = next_event(
        create,
        type="m.room.member",
        state_key="@alice:domain",
        content={"membership": "join", "displayname": "A"},
    )
    assert redact(join).content == {"membership": "join"}
