"""Hypothesis strategies of room versions, identifiers, JSON and events, for every test of the core."""

import json
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from signedjson.key import decode_signing_key_base64

from homeserver.core.events import Event, make_event, reference_to
from homeserver.core.room_versions import ROOM_VERSIONS, EventIDFormat, RoomRules

SERVER_NAME = "domain"
SIGNING_KEY = decode_signing_key_base64("ed25519", "1", "YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1")
KEY_ID = "ed25519:1"
VERIFY_KEY = SIGNING_KEY.verify_key

QUICK = settings(max_examples=50, deadline=None)
"""For property tests: a busy machine is no failure, and many properties in seconds beat one in a minute."""

EVENT_TYPES = (
    "m.room.create",
    "m.room.member",
    "m.room.join_rules",
    "m.room.power_levels",
    "m.room.aliases",
    "m.room.history_visibility",
    "m.room.redaction",
    "m.room.message",
    "m.room.third_party_invite",
    "org.example.other",
)
CONTENT_KEYS = (
    "membership",
    "creator",
    "join_rule",
    "allow",
    "ban",
    "users",
    "users_default",
    "invite",
    "aliases",
    "history_visibility",
    "redacts",
    "third_party_invite",
    "signed",
    "join_authorised_via_users_server",
    "body",
    "reason",
)

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
safe_integers = st.integers(-(2**53) + 1, 2**53 - 1)
canonical_values = st.recursive(
    st.none() | st.booleans() | safe_integers | texts,
    lambda children: st.lists(children, max_size=4) | st.dictionaries(texts, children, max_size=4),
    max_leaves=12,
)
contents = st.dictionaries(st.sampled_from(CONTENT_KEYS) | texts, canonical_values, max_size=6)
room_rules = st.sampled_from(list(ROOM_VERSIONS.values()))
localparts = st.text("abcdefghijklmnopqrstuvwxyz0123456789._=/+-", min_size=1, max_size=20)
user_ids = st.builds(lambda localpart: f"@{localpart}:{SERVER_NAME}", localparts)


def create_event(rules: RoomRules, **content: Any) -> Event:
    """A room's create event, by @alice:domain."""
    return make_event(
        rules,
        server_name=SERVER_NAME,
        signing_key=SIGNING_KEY,
        room_id=None if rules.room_id_is_create_hash else "!room:domain",
        type="m.room.create",
        sender="@alice:domain",
        content={"room_version": rules.version, **content},
        state_key="",
        prev_events=[],
        auth_events=[],
        depth=1,
        origin_server_ts=1_000_000,
        event_id="$create:domain" if rules.event_id_format is EventIDFormat.SERVER_CHOSEN else None,
    )


def next_event(parent: Event, **changed: Any) -> Event:
    """An event after `parent` in its room: a message by @alice:domain unless `changed` says otherwise."""
    arguments: dict[str, Any] = {
        "server_name": SERVER_NAME,
        "signing_key": SIGNING_KEY,
        "room_id": parent.room_id,
        "type": "m.room.message",
        "sender": "@alice:domain",
        "content": {"msgtype": "m.text", "body": "hello"},
        "state_key": None,
        "prev_events": [reference_to(parent)],
        "auth_events": [] if parent.rules.room_id_is_create_hash else [reference_to(parent)],
        "depth": parent.depth + 1,
        "origin_server_ts": 1_000_001,
    }
    if parent.rules.event_id_format is EventIDFormat.SERVER_CHOSEN:
        arguments["event_id"] = "$next:domain"
    return make_event(parent.rules, **{**arguments, **changed})


def pdu_of(event: Event, **changed: Any) -> dict[str, Any]:
    """The event's PDU as another server would send it, with some fields changed; None is JSON's null."""
    return {**json.loads(event.canonical), **changed}


@st.composite
def events(draw: st.DrawFn, rules: st.SearchStrategy[RoomRules] = room_rules) -> Event:
    """An event of ours of any room version, type and content."""
    create = create_event(draw(rules))
    event_type = draw(st.sampled_from(EVENT_TYPES))
    if event_type == "m.room.create":
        return create_event(create.rules, **draw(contents))
    return next_event(
        create,
        type=event_type,
        sender=draw(user_ids),
        content=draw(contents),
        state_key=draw(st.none() | texts.filter(lambda text: "\0" not in text)),
        depth=draw(st.integers(0, 2**53 - 1)),
        origin_server_ts=draw(safe_integers),
        redacts="$redacted:domain" if event_type == "m.room.redaction" and draw(st.booleans()) else None,
    )
