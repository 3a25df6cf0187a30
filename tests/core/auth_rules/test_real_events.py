"""Rooms of events as this server makes them pass the rules in every room version."""

from __future__ import annotations

from typing import Any

import pytest
from signedjson.key import generate_signing_key

from homeserver.core.auth_rules import auth_keys, authorise, check_auth_events
from homeserver.core.events import Event, StateKey, make_event, parse_pdu, reference_to
from homeserver.core.room_versions import ROOM_VERSIONS
from homeserver.core.signing import sign_event_as
from tests.core.auth_rules.builder import ALICE, ALL, BOB, CAROL

KEY = generate_signing_key("1")


class SignedRoom:
    """A room of signed events; each is parsed again as if it came from another server, judged and applied."""

    def __init__(self, version: str) -> None:
        self.rules = ROOM_VERSIONS[version]
        self.state: dict[StateKey, Event] = {}
        self.events: dict[str, Event] = {}
        self.last: Event | None = None

    def send(
        self, type: str, sender: str, content: dict[str, Any], state_key: str | None, also: str = ""
    ) -> None:
        keys = auth_keys(self.rules, type, sender, state_key, content)
        server = sender.partition(":")[2]
        in_v1 = self.rules.version in ("1", "2")
        first_room_id = None if self.rules.room_id_is_create_hash else f"!room:{server}"
        event = make_event(
            self.rules,
            server_name=server,
            signing_key=KEY,
            room_id=self.last.room_id if self.last else first_room_id,
            type=type,
            sender=sender,
            content=content,
            state_key=state_key,
            prev_events=[reference_to(self.last)] if self.last else [],
            auth_events=[reference_to(self.state[key]) for key in sorted(keys) if key in self.state],
            depth=len(self.events) + 1,
            origin_server_ts=len(self.events),
            event_id=f"${len(self.events)}:{server}" if in_v1 else None,
        )
        if also:
            event = sign_event_as(event, also, KEY)
        received = parse_pdu(event.pdu, self.rules)
        assert check_auth_events(received, self.events, set()) is None
        assert authorise(received, self.state) is None
        self.events[received.event_id] = self.last = received
        if received.is_state:
            self.state[received.key] = received


@pytest.mark.parametrize("version", ALL)
def test_a_room(version: str) -> None:
    room = SignedRoom(version)
    creator = {} if room.rules.implicit_room_creator else {"creator": ALICE}
    room.send("m.room.create", ALICE, {"room_version": version, **creator}, "")
    room.send("m.room.member", ALICE, {"membership": "join"}, ALICE)
    users = {} if room.rules.privileged_creators else {ALICE: 100}
    room.send("m.room.power_levels", ALICE, {"users": users}, "")
    room.send("m.room.join_rules", ALICE, {"join_rule": "invite"}, "")
    room.send("m.room.member", ALICE, {"membership": "invite"}, BOB)
    room.send("m.room.member", BOB, {"membership": "join"}, BOB)
    room.send("m.room.message", BOB, {"body": "hello"}, None)
    room.send("m.room.power_levels", ALICE, {"users": {**users, BOB: 50}}, "")
    if room.rules.restricted_join:
        room.send("m.room.join_rules", ALICE, {"join_rule": "restricted"}, "")
        vouched = {"membership": "join", "join_authorised_via_users_server": BOB}
        room.send("m.room.member", CAROL, vouched, CAROL, also="b.example")
    room.send("m.room.name", BOB, {"name": "room"}, "")
    room.send("m.room.member", BOB, {"membership": "ban"}, CAROL)
