"""Rooms in a few lines: events without real hashes and signatures, which the rules under test do not look at."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from homeserver.core.auth_rules import auth_keys
from homeserver.core.events import Event, StateKey
from homeserver.core.power_levels import CREATE
from homeserver.core.room_versions import ROOM_VERSIONS, EventIDFormat

ALICE, BOB, CAROL, DAVE = "@alice:a.example", "@bob:b.example", "@carol:c.example", "@dave:a.example"
ALL = tuple(ROOM_VERSIONS)


def versions(first: int, last: int = 12) -> tuple[str, ...]:
    """The room versions from `first` to `last`."""
    return tuple(str(number) for number in range(first, last + 1))


class Room:
    """A room of one version, created by Alice, and its state. `send` applies an event, `event` only makes it."""

    def __init__(
        self, version: str, *, create: Mapping[str, Any] | None = None, creator: str = ALICE
    ) -> None:
        self.rules = ROOM_VERSIONS[version]
        self.state: dict[StateKey, Event] = {}
        self.events: dict[str, Event] = {}
        self.clock = 0
        content: dict[str, Any] = {"room_version": version}
        if not self.rules.implicit_room_creator:
            content["creator"] = creator
        content |= create or {}
        self.room_id = "" if self.rules.room_id_is_create_hash else "!room:" + creator.partition(":")[2]
        self.create = self.send("m.room.create", creator, content, "", prev=())
        if self.rules.room_id_is_create_hash:
            self.room_id = "!" + self.create.event_id[1:]

    def event(
        self,
        type: str,
        sender: str,
        content: Mapping[str, Any] | None = None,
        state_key: str | None = None,
        *,
        state: Mapping[StateKey, Event] | None = None,
        auth: Sequence[str] | None = None,
        prev: Sequence[str] = ("$previous",),
        ts: int | None = None,
        depth: int | None = None,
        event_id: str | None = None,
        **fields: Any,
    ) -> Event:
        """An event authorised by `state` (the room's own by default), or by the events of `auth`."""
        self.clock += 1
        content = content or {}
        if auth is None:
            base = self.state if state is None else state
            keys = auth_keys(self.rules, type, sender, state_key, content)
            auth = [base[key].event_id for key in sorted(keys) if key in base]
        pdu: dict[str, Any] = {
            "type": type,
            "sender": sender,
            "content": content,
            "depth": self.clock if depth is None else depth,
            "origin_server_ts": self.clock if ts is None else ts,
            "prev_events": [self._reference(event_id) for event_id in prev],
            "auth_events": [self._reference(event_id) for event_id in auth],
            "hashes": {},
            "signatures": {sender.partition(":")[2]: {"ed25519:1": "signature"}},
            **fields,
        }
        if self.room_id:
            pdu.setdefault("room_id", self.room_id)
        if state_key is not None:
            pdu["state_key"] = state_key
        if event_id is None:
            event_id = self._event_id(sender)
        event = Event(self.rules, event_id, b"", pdu=pdu)
        self.events[event_id] = event
        return event

    def send(
        self, type: str, sender: str, content: Mapping[str, Any] | None = None, *args: Any, **more: Any
    ) -> Event:
        """Makes the event and, if it is a state event, puts it in the room's state, allowed or not."""
        event = self.event(type, sender, content, *args, **more)
        if event.is_state:
            self.state[event.key] = event
        return event

    def member(self, user: str, membership: str, *, sender: str | None = None, **content: Any) -> Event:
        """Sends a membership event."""
        return self.send("m.room.member", sender or user, {"membership": membership, **content}, user)

    def membership(
        self,
        user: str,
        membership: str,
        *,
        sender: str | None = None,
        prev: Sequence[str] = ("$p",),
        signatures: Mapping[str, Any] | None = None,
        **content: Any,
    ) -> Event:
        """Makes a membership event."""
        fields = {} if signatures is None else {"signatures": signatures}
        return self.event(
            "m.room.member", sender or user, {"membership": membership, **content}, user, prev=prev, **fields
        )

    def levels(self, sender: str = ALICE, **content: Any) -> Event:
        """Sends an m.room.power_levels event. In rooms with privileged creators Alice is left out of `users`."""
        return self.send("m.room.power_levels", sender, self.without_creator(content), "")

    def without_creator(self, content: dict[str, Any]) -> dict[str, Any]:
        """The content of an m.room.power_levels event as this room version can have it."""
        if self.rules.privileged_creators and isinstance(content.get("users"), dict):
            return content | {
                "users": {user: level for user, level in content["users"].items() if user != ALICE}
            }
        return content

    def join_rule(self, rule: str) -> Event:
        """Sends an m.room.join_rules event."""
        return self.send("m.room.join_rules", ALICE, {"join_rule": rule}, "")

    def ids(self, state: Mapping[StateKey, Event] | None = None) -> dict[StateKey, str]:
        """The state as event IDs."""
        return {key: event.event_id for key, event in (self.state if state is None else state).items()}

    def _reference(self, event_id: str) -> Any:
        return [event_id, {}] if self.rules.event_id_format is EventIDFormat.SERVER_CHOSEN else event_id

    def _event_id(self, sender: str) -> str:
        if self.rules.event_id_format is EventIDFormat.SERVER_CHOSEN:
            return f"${self.clock}:{sender.partition(':')[2]}"
        return "$" + hashlib.sha256(str(self.clock).encode()).hexdigest()[:43]


def busy_room(version: str, **create: Any) -> Room:
    """A public room that Alice (100 or creator) made, with Bob (50), Carol (0) in it; Dave is outside."""
    room = Room(version, create=create)
    room.member(ALICE, "join")
    room.levels(users={ALICE: 100, BOB: 50}, invite=10, redact=40)
    room.join_rule("public")
    room.member(BOB, "join")
    room.member(CAROL, "join")
    return room


def without_create(state: Mapping[StateKey, Event]) -> dict[StateKey, Event]:
    """The state without its m.room.create event."""
    return {key: event for key, event in state.items() if key != CREATE}
