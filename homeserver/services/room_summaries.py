"""What is told of rooms to those who may join or read them: summaries, and who may have them.

Everything here runs inside a unit of work: it awaits nothing but `tx`.
Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidhierarchy
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from homeserver.core.events import Event, StateKey
from homeserver.core.identifiers import is_valid_room_id, is_valid_server_name
from homeserver.core.room_versions import RoomRules
from homeserver.services.peer_access import acl_refusal
from homeserver.services.public_rooms import JOIN_RULES, SHOWN, room_entry
from homeserver.services.restricted_joins import MAX_CONDITIONS
from homeserver.services.room_state import RoomStates
from homeserver.storage import events as stored_events
from homeserver.storage import memberships, rooms
from homeserver.storage.database import Transaction
from homeserver.storage.rooms import Room

CHILD = "m.space.child"
SPACE = "m.space"
MAX_CHILDREN = 1_000
"""How many children of a space are looked at; the first in their order."""
MAX_VIA = 3

OPEN_TO_ASK = ("public", "knock", "knock_restricted")
_ENCRYPTION: StateKey = ("m.room.encryption", "")
_MAX_ORDER = 50


@dataclass(frozen=True, slots=True)
class Child:
    """A room that a space names: the servers to ask about it, and the stripped event that names it."""

    room_id: str
    via: tuple[str, ...]
    is_suggested: bool
    stripped: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Summary:
    """A room as outsiders may know it. entry: a RoomSummary of the specification. room: None for one that only others are in.

    join_rule: `invite` where the room's version does not know the one that is set. children: of a space, in their order;
    empty where they were not asked for.
    """

    entry: Mapping[str, Any]
    join_rule: str
    allowed_room_ids: tuple[str, ...]
    children: tuple[Child, ...] = ()
    room: Room | None = None

    @property
    def is_space(self) -> bool:
        """Whether it has children to look at."""
        return self.entry.get("room_type") == SPACE

    @property
    def is_open(self) -> bool:
        """Whether anybody may join, ask to join, or read along."""
        return self.join_rule in OPEN_TO_ASK or bool(self.entry["world_readable"])


async def local_summaries(tx: Transaction, states: RoomStates, known: Sequence[Room]) -> list[Summary]:
    """Summaries of rooms that our server is in, without their children, in the order given."""
    ids = [await states.ids(tx, room.current_state, (*SHOWN, _ENCRYPTION)) for room in known]
    found = await stored_events.load_accepted(tx, [event_id for entry in ids for event_id in entry.values()])
    joined = await memberships.joined_counts(tx, [room.room_nid for room in known])
    return [
        _summary(
            room,
            joined.get(room.room_nid, 0),
            {key: found[event_id] for key, event_id in entry.items() if event_id in found},
        )
        for room, entry in zip(known, ids, strict=True)
    ]


def _summary(room: Room, joined: int, state: Mapping[StateKey, Event]) -> Summary:
    entry = room_entry(room, joined, state) | {"room_version": room.version}
    encryption = state[_ENCRYPTION].content.get("algorithm") if _ENCRYPTION in state else None
    if isinstance(encryption, str):
        entry["encryption"] = encryption
    join_rule = _join_rule(state.get(JOIN_RULES), room.rules)
    allowed = _allowed(state.get(JOIN_RULES)) if join_rule in ("restricted", "knock_restricted") else ()
    if allowed:
        entry["allowed_room_ids"] = list(allowed)
    return Summary(entry, join_rule, allowed, room=room)


def _join_rule(event: Event | None, rules: RoomRules) -> str:
    """The join rule that is in force."""
    rule = event.content.get("join_rule") if event else None
    supported = {
        "public": True,
        "knock": rules.knock,
        "restricted": rules.restricted_join,
        "knock_restricted": rules.knock_restricted_join,
    }
    return rule if isinstance(rule, str) and supported.get(rule, False) else "invite"


def _allowed(event: Event | None) -> tuple[str, ...]:
    """The rooms whose members may join."""
    allow = event.content.get("allow") if event else None
    named = [
        condition.get("room_id")
        for condition in (allow[:MAX_CONDITIONS] if isinstance(allow, list) else [])
        if isinstance(condition, Mapping) and condition.get("type") == "m.room_membership"
    ]
    return tuple(
        dict.fromkeys(room_id for room_id in named if isinstance(room_id, str) and is_valid_room_id(room_id))
    )


async def children_of(
    tx: Transaction, states: RoomStates, summary: Summary, *, suggested_only: bool
) -> tuple[Child, ...]:
    """The children of a space that our server is in; none for another room."""
    if summary.room is None or not summary.is_space:
        return ()
    ids = await states.ids_of_type(tx, summary.room.current_state, CHILD)
    found = await stored_events.load_accepted(tx, ids.values())
    return in_order([_stripped(event) for event in found.values()], suggested_only=suggested_only)


def _stripped(event: Event) -> dict[str, Any]:
    return {
        "type": event.type,
        "state_key": event.state_key,
        "content": event.content,
        "sender": event.sender,
        "origin_server_ts": event.origin_server_ts,
    }


def in_order(stripped: Sequence[Mapping[str, Any]], *, suggested_only: bool) -> tuple[Child, ...]:
    """The children that stripped m.space.child events name, in their order.

    "When not present or invalid [via], the child room is not considered to be part of the space."
    Spec: https://spec.matrix.org/v1.19/client-server-api/#ordering-of-children-within-a-space
    """
    children: dict[str, Child] = {}
    for event in sorted(stripped, key=_place):
        via, room_id = event["content"].get("via"), event["state_key"]
        if event["type"] != CHILD or not is_valid_room_id(room_id) or not isinstance(via, list):
            continue
        servers = tuple(server for server in via if is_valid_server_name(server))
        is_suggested = event["content"].get("suggested") is True
        if servers and (is_suggested or not suggested_only):
            children.setdefault(room_id, Child(room_id, servers[:MAX_VIA], is_suggested, event))
    return tuple(children.values())[:MAX_CHILDREN]


def _place(event: Mapping[str, Any]) -> tuple[bool, str, int, str]:
    """ "first order the children with a valid `order` key lexicographically by Unicode code-points", then by time, then by ID."""
    order = event["content"].get("order")
    is_valid = (
        isinstance(order, str)
        and 0 < len(order) <= _MAX_ORDER
        and all(" " <= character <= "~" for character in order)
    )
    return not is_valid, order if is_valid else "", event["origin_server_ts"], event["state_key"]


async def user_may_know(tx: Transaction, summary: Summary, user_id: str, *, membership: str | None) -> bool:
    """Whether a room may be shown to a user of ours, who has this membership in it.

    Members, those who may join (as invited, by a public room or a condition), those who may knock, and everybody in a room that
    the world may read.
    """
    if summary.entry["world_readable"] or membership in ("join", "invite"):
        return True
    if membership == "ban":
        return False
    if summary.is_open:
        return True
    if summary.join_rule != "restricted":
        return False
    joined = {each.room_id for each in await memberships.of_user(tx, user_id, ["join"])}
    return not joined.isdisjoint(summary.allowed_room_ids)


async def server_may_know(
    tx: Transaction, states: RoomStates, summary: Summary, server: str, our_name: str
) -> bool | None:
    """Whether another server could peek into a room of ours or have a user join it; None when we cannot tell."""
    room = summary.room
    assert room is not None, "other servers are told of rooms that we are in"
    if await acl_refusal(tx, states, room, server):
        return False
    if summary.is_open or await memberships.is_server_joined(tx, room.room_nid, server):
        return True
    if await memberships.local_users(tx, room.room_nid, server, ["invite"]):
        return True
    known = await rooms.get_many(tx, summary.allowed_room_ids) if summary.join_rule == "restricted" else {}
    nids = [other.room_nid for other in known.values()]
    if await memberships.rooms_of_server(tx, server, nids):
        return True
    # What we know of a room that we have left may be out of date.
    ours = await memberships.rooms_of_server(tx, our_name, nids)
    is_certain = summary.join_rule != "restricted" or len(ours) == len(summary.allowed_room_ids)
    return False if is_certain else None
