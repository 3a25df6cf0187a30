"""The handshakes to join, leave and knock on rooms through a server that is in them.

Spec: https://spec.matrix.org/v1.19/server-server-api/#joining-rooms
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from homeserver.core.events import Event, EventReference
from homeserver.core.identifiers import is_valid_event_id, is_valid_server_name, is_valid_user_id
from homeserver.core.json_stream import JSONLists
from homeserver.core.room_versions import EventIDFormat, RoomRules, UnknownRoomVersion, rules_for
from homeserver.federation.errors import FederationError
from homeserver.federation.remote.answers import (
    ManyPDUs,
    PDUs,
    as_object,
    as_pair,
    field,
    invalid,
    is_object,
    items,
    one_pdu,
    optional,
    read_lists,
    valid_items,
)
from homeserver.federation.settings import MEGABYTE
from homeserver.federation.transport import FederationClient, matrix_path

_Answer = TypeVar("_Answer")

SEND_JOIN_BYTES = 150 * MEGABYTE
SEND_JOIN_TIMEOUT = 300.0
_MAX_REFERENCES = 20
_MAX_STRIPPED_STATE = 500
_MAX_SERVERS = 100_000


@dataclass(frozen=True)
class MembershipTemplate:
    """What a make_join, make_leave or make_knock offers, checked: `room_id`, `sender`, `state_key`, `type`
    and `membership` are those that were asked for, so only the rest is here.

    Build the event with `make_event`. `authorised_via` is `join_authorised_via_users_server`, a user of the
    resident server (restricted rooms). Whatever else the template's content had is left out: nobody else
    chooses what we sign.
    """

    rules: RoomRules
    prev_events: tuple[EventReference, ...]
    auth_events: tuple[EventReference, ...]
    depth: int
    authorised_via: str | None


@dataclass(frozen=True)
class JoinedRoom:
    """The answer to send_join. `event` is the join event with the resident server's signature, if it was sent
    back.

    With `members_omitted`, `state` lacks membership events, and `servers_in_room` names the servers in the
    room.
    """

    event: Event | None
    state: PDUs
    auth_chain: PDUs
    members_omitted: bool
    servers_in_room: tuple[str, ...]


async def make_join(
    client: FederationClient, destination: str, room_id: str, user_id: str, versions: Collection[str]
) -> MembershipTemplate:
    """A template for a join event. `versions` are the room versions we support.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_joinroomiduserid
    """
    query = [("ver", version) for version in versions]
    return await _make(client, destination, "join", room_id, user_id, query)


async def make_leave(
    client: FederationClient, destination: str, room_id: str, user_id: str
) -> MembershipTemplate:
    """A template for a leave event, to reject an invite or retract a knock.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_leaveroomiduserid
    """
    return await _make(client, destination, "leave", room_id, user_id, [])


async def make_knock(
    client: FederationClient, destination: str, room_id: str, user_id: str, versions: Collection[str]
) -> MembershipTemplate:
    """A template for a knock event. `versions` are the room versions we support.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_knockroomiduserid
    """
    query = [("ver", version) for version in versions]
    return await _make(client, destination, "knock", room_id, user_id, query)


async def send_join(
    client: FederationClient,
    destination: str,
    event: Event,
    *,
    omit_members: bool = False,
    timeout: float = SEND_JOIN_TIMEOUT,
    max_response_bytes: int = SEND_JOIN_BYTES,
) -> JoinedRoom:
    """Send a join event and get the room's state before it. Falls back to v1 for servers that do not know v2.

    The answer, which may be very large, is parsed while it comes, off the event loop, and of its events little more than their
    JSON is held. Hashes and signatures are not checked here.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_joinroomideventid
    """
    pdus = ManyPDUs(destination, event.rules, event.room_id)

    async def ask(version: str) -> dict[str, Any]:
        reader = JSONLists(
            {name: pdus.take(name) for name in ("state", "auth_chain")}, in_pair=version == "v1"
        )
        async with client.stream(
            destination,
            "PUT",
            _send_path("join", version, event),
            query=[("omit_members", "true")] if omit_members and version == "v2" else [],
            body=event.canonical,
            timeout=timeout,
        ) as response:
            return await read_lists(response, destination, reader, max_response_bytes)

    answer = await _second_or_first(ask)
    for name in ("state", "auth_chain"):
        field(destination, answer, name, list)
    signed = optional(destination, answer, "event", dict)
    members_omitted = optional(destination, answer, "members_omitted", bool) is True
    servers: tuple[str, ...] = ()
    if members_omitted:
        servers = items(destination, answer, "servers_in_room", is_valid_server_name, _MAX_SERVERS)
    return JoinedRoom(
        event=None
        if signed is None
        else one_pdu(destination, signed, event.rules, event.room_id, event.event_id),
        state=pdus.found("state"),
        auth_chain=pdus.found("auth_chain"),
        members_omitted=members_omitted,
        servers_in_room=servers,
    )


async def send_leave(client: FederationClient, destination: str, event: Event) -> None:
    """Send a leave event. Falls back to v1 for servers that do not know v2.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_leaveroomideventid
    """

    async def ask(version: str) -> None:
        path = _send_path("leave", version, event)
        answer = await client.request(destination, "PUT", path, body=event.canonical)
        (as_object if version == "v2" else as_pair)(destination, answer)

    await _second_or_first(ask)


async def send_knock(client: FederationClient, destination: str, event: Event) -> tuple[dict[str, Any], ...]:
    """Send a knock event; returns `knock_room_state`, as PDUs or stripped state. Not to be believed without a
    check.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1send_knockroomideventid
    """
    path = matrix_path("_matrix", "federation", "v1", "send_knock", event.room_id, event.event_id)
    answer = as_object(destination, await client.request(destination, "PUT", path, body=event.canonical))
    return valid_items(destination, answer, "knock_room_state", is_object, _MAX_STRIPPED_STATE)


async def _make(
    client: FederationClient,
    destination: str,
    membership: str,
    room_id: str,
    user_id: str,
    query: Sequence[tuple[str, str]],
) -> MembershipTemplate:
    path = matrix_path("_matrix", "federation", "v1", f"make_{membership}", room_id, user_id)
    answer = as_object(destination, await client.request(destination, "GET", path, query=query))
    # "If not provided, the room version is assumed to be either "1" or "2"": their events have the same
    # format.
    version = optional(destination, answer, "room_version", str) or "1"
    offered = [value for _, value in query]
    try:
        rules = rules_for(version)
    except UnknownRoomVersion as error:
        raise invalid(destination, f"the room version {version!r:.50} is not supported") from error
    if offered and version not in offered:
        raise invalid(destination, f"the room version {version!r:.50} was not offered")
    event = field(destination, answer, "event", dict)
    content = _check_template(destination, event, membership, room_id, user_id)
    authorised_via = None
    if membership == "join" and "join_authorised_via_users_server" in content:
        authorised_via = content["join_authorised_via_users_server"]
        if not is_valid_user_id(authorised_via):
            raise invalid(destination, "join_authorised_via_users_server is not a user ID")
    depth = field(destination, event, "depth", int)
    if not 0 <= depth <= rules.max_depth:
        raise invalid(destination, "depth is out of range")
    return MembershipTemplate(
        rules,
        _references(destination, event, "prev_events", rules),
        _references(destination, event, "auth_events", rules),
        depth,
        authorised_via,
    )


def _check_template(
    destination: str, event: dict[str, Any], membership: str, room_id: str, user_id: str
) -> dict[str, Any]:
    """ "Before signing the returned template [...] the sending server MUST verify that" all these are as asked
    for.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_joinroomiduserid
    """
    expected = {"room_id": room_id, "sender": user_id, "state_key": user_id, "type": "m.room.member"}
    for name, value in expected.items():
        if event.get(name) != value:
            raise invalid(destination, f"the template's {name} is {event.get(name)!r:.300}, not {value!r}")
    content: dict[str, Any] = field(destination, event, "content", dict)
    if content.get("membership") != membership:
        raise invalid(destination, f"the template's membership is not {membership!r}")
    return content


def _references(
    destination: str, event: dict[str, Any], name: str, rules: RoomRules
) -> tuple[EventReference, ...]:
    if rules.event_id_format is not EventIDFormat.SERVER_CHOSEN:
        return items(destination, event, name, is_valid_event_id, _MAX_REFERENCES)
    pairs = items(destination, event, name, _is_reference_with_hashes, _MAX_REFERENCES)
    return tuple((event_id, hashes) for event_id, hashes in pairs)


def _is_reference_with_hashes(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and is_valid_event_id(value[0])
        and isinstance(value[1], dict)
        and all(isinstance(each, str) for each in value[1].values())
    )


def _send_path(membership: str, version: str, event: Event) -> str:
    return matrix_path("_matrix", "federation", version, f"send_{membership}", event.room_id, event.event_id)


async def _second_or_first(ask: Callable[[str], Awaitable[_Answer]]) -> _Answer:
    """What the second version ("v2") of an endpoint answers, and where that is unknown the first."""
    try:
        return await ask("v2")
    except FederationError as error:
        if not error.unrecognised:
            raise
    return await ask("v1")
