"""Every way into and out of rooms between a Synapse and us, both ways: invites, knocks, restricted rooms, kicks, bans, returns."""

import itertools
import json
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.agreement import agree
from tests.support.network import until
from tests.support.our_server import OurServer
from tests.support.person import Person, Refused
from tests.support.synapse import Synapse

from .conftest import newcomer
from .scenarios import sees_member

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.parametrize("direction", ["our room", "their room"]),
]

_numbers = itertools.count()


@dataclass(frozen=True)
class Meeting:
    """The host's server makes rooms; the guest and the friend live on the other."""

    host: Person
    guest: Person
    friend: Person


@pytest.fixture
def servers(
    direction: str, matrix_org: Synapse, ours: OurServer
) -> tuple[Synapse | OurServer, Synapse | OurServer]:
    """The host's and the guest's server."""
    return (ours, matrix_org) if direction == "our room" else (matrix_org, ours)


async def meet(servers: tuple[Synapse | OurServer, Synapse | OurServer]) -> Meeting:
    """New users."""
    home, away = servers
    return Meeting(
        await newcomer(home, "host"), await newcomer(away, "guest"), await newcomer(away, "friend")
    )


async def room(host: Person, version: str, join_rule: str = "invite", **content: Any) -> str:
    """A room with a name that the host has made."""
    rule = {
        "type": "m.room.join_rules",
        "state_key": "",
        "content": {"join_rule": join_rule, **content},
    }
    return await host.create_room(
        version=version, preset="private_chat", name="Private", initial_state=[rule]
    )


async def standing(person: Person, room_id: str) -> tuple[str | None, dict[str, Any]]:
    """In which section of an initial /sync the room is, and what it says there."""
    # Synapse keeps its answer to an initial /sync for a while, so each of them asks for something else.
    other = f"!other{next(_numbers)}:elsewhere.test"
    wanted = json.dumps({"room": {"rooms": [room_id], "not_rooms": [other], "include_leave": False}})
    answer = await person.request("GET", "sync", query={"filter": wanted, "timeout": 0})
    for section, rooms in answer.get("rooms", {}).items():
        if room_id in rooms:
            return section, rooms[room_id]
    return None, {}


async def stands(person: Person, room_id: str, *sections: str | None) -> dict[str, Any]:
    """Wait until /sync shows the room in one of these sections, or not at all (None); what it says there."""
    found: dict[str, Any] = {}

    async def so() -> bool:
        where, what = await standing(person, room_id)
        found.clear()
        found.update(what)
        return where in sections

    await until(so, f"{person.user_id} to see {room_id} in {sections}")
    return found


async def is_out(person: Person, room_id: str) -> None:
    """Wait until the person is neither in the room nor invited. Synapse shows rooms that one was removed from."""
    await stands(person, room_id, None, "leave")


def told(events: list[dict[str, Any]]) -> dict[str, Any]:
    """Content by type."""
    return {event["type"]: event["content"] for event in events}


Servers = tuple[Synapse | OurServer, Synapse | OurServer]


@pytest.mark.parametrize("version", ["1", "6", "10", "11", "12"])
async def test_an_invite_is_shown_and_accepted(servers: Servers, version: str) -> None:
    people = await meet(servers)
    host, guest = people.host, people.guest
    room_id = await room(host, version)
    await host.send(room_id, "before")
    await host.invite(room_id, guest.user_id, reason="come in")
    shown = told((await stands(guest, room_id, "invite"))["invite_state"]["events"])
    assert shown["m.room.name"] == {"name": "Private"} and "m.room.create" in shown
    assert shown["m.room.member"]["reason"] == "come in"
    assert await guest.join(room_id) == room_id
    await stands(guest, room_id, "join")
    await guest.send(room_id, "thank you")
    await agree(room_id, host, guest)
    # One who is there invites another of the same server, and of the other.
    await guest.invite(room_id, people.friend.user_id)
    await people.friend.join(room_id)
    await agree(room_id, host, guest, people.friend)


@pytest.mark.parametrize("version", ["1", "10", "12"])
async def test_an_invite_is_refused_and_repeated(servers: Servers, version: str) -> None:
    people = await meet(servers)
    host, guest = people.host, people.guest
    room_id = await room(host, version)
    for attempt in range(2):
        await host.invite(room_id, guest.user_id)
        await stands(guest, room_id, "invite")
        await guest.leave(room_id, reason=f"no {attempt}")
        await sees_member(host, room_id, guest, "leave")
        member = await host.content(room_id, "m.room.member", guest.user_id)
        assert member is not None and member["reason"] == f"no {attempt}"
        await is_out(guest, room_id)
    await guest.request("POST", "rooms", room_id, "forget")
    with pytest.raises(Refused) as refused:
        await guest.join(room_id, via=[host.server_name])
    assert refused.value.status == 403
    await host.invite(room_id, guest.user_id)
    await guest.join(room_id)
    await agree(room_id, host, guest)


@pytest.mark.parametrize("version", ["10", "12"])
async def test_an_invite_that_was_cancelled_lets_nobody_in(servers: Servers, version: str) -> None:
    people = await meet(servers)
    host, guest = people.host, people.guest
    room_id = await room(host, version)
    await host.invite(room_id, guest.user_id)
    await stands(guest, room_id, "invite")
    await host.kick(room_id, guest.user_id, reason="a mistake")
    with pytest.raises(Refused) as refused:
        await guest.join(room_id, via=[host.server_name])
    assert refused.value.status == 403
    await is_out(guest, room_id)
    await host.invite(room_id, guest.user_id)
    await guest.join(room_id)
    await agree(room_id, host, guest)


@pytest.mark.parametrize("version", ["7", "10", "12"])
async def test_knocks_are_answered_and_taken_back(servers: Servers, version: str) -> None:
    people = await meet(servers)
    host, guest, friend = people.host, people.guest, people.friend
    room_id = await room(host, version, "knock")
    via = [host.server_name]
    await guest.knock(room_id, via=via, reason="please")
    shown = told((await stands(guest, room_id, "knock"))["knock_state"]["events"])
    assert shown["m.room.name"] == {"name": "Private"}
    await sees_member(host, room_id, guest, "knock")
    await host.invite(room_id, guest.user_id)
    await stands(guest, room_id, "invite")
    await guest.join(room_id)
    await agree(room_id, host, guest)

    # Now the other server is in the room itself.
    await friend.knock(room_id, via=via)
    await sees_member(host, room_id, friend, "knock")
    await friend.leave(room_id)
    await sees_member(host, room_id, friend, "leave")
    await friend.knock(room_id, via=via)
    await sees_member(host, room_id, friend, "knock")
    await host.kick(room_id, friend.user_id, reason="no")
    await sees_member(guest, room_id, friend, "leave")
    await is_out(friend, room_id)
    await agree(room_id, host, guest)


@pytest.mark.parametrize("version", ["7", "11"])
async def test_a_knock_is_taken_back_from_outside(servers: Servers, version: str, direction: str) -> None:
    people = await meet(servers)
    host, guest = people.host, people.guest
    room_id = await room(host, version, "knock")
    await guest.knock(room_id, via=[host.server_name])
    await sees_member(host, room_id, guest, "knock")
    await guest.leave(room_id)
    if direction == "their room":  # Synapse tells nobody
        await sees_member(host, room_id, guest, "leave")
    await is_out(guest, room_id)
    closed = await room(host, version)
    with pytest.raises(Refused) as refused:
        await guest.knock(closed, via=[host.server_name])
    assert (refused.value.status, refused.value.errcode) == (403, "M_FORBIDDEN")


@pytest.mark.parametrize(
    ("version", "join_rule"), [("8", "restricted"), ("10", "knock_restricted"), ("12", "restricted")]
)
async def test_a_restricted_room(servers: Servers, version: str, join_rule: str) -> None:
    people = await meet(servers)
    host, guest, friend = people.host, people.guest, people.friend
    space = await host.create_room(
        version=version, preset="public_chat", creation_content={"type": "m.space"}
    )
    allow = [{"type": "m.room_membership", "room_id": space}]
    room_id = await room(host, version, join_rule, allow=allow)
    via = [host.server_name]
    with pytest.raises(Refused) as refused:
        await guest.join(room_id, via=via)
    assert (refused.value.status, refused.value.errcode) == (403, "M_FORBIDDEN")
    await guest.join(space, via=via)
    await guest.join(room_id, via=via)
    member = await guest.content(room_id, "m.room.member", guest.user_id)
    assert member is not None and member["join_authorised_via_users_server"] == host.user_id
    await agree(room_id, host, guest)
    # The guest's server is in both rooms now, but nobody of it may invite.
    await friend.join(space, via=via)
    await friend.join(room_id, via=via)
    await agree(room_id, host, guest, friend)
    await guest.leave(room_id)
    await guest.join(room_id, via=via)
    await agree(room_id, host, guest, friend)


@pytest.mark.parametrize("version", ["1", "10", "12"])
async def test_kicks_bans_and_unbans(servers: Servers, version: str) -> None:
    people = await meet(servers)
    host, guest, friend = people.host, people.guest, people.friend
    room_id = await room(host, version, "public")
    via = [host.server_name]
    await guest.join(room_id, via=via)
    await friend.join(room_id, via=via)
    await sees_member(host, room_id, friend, "join")
    await host.kick(room_id, friend.user_id, reason="out")
    await sees_member(guest, room_id, friend, "leave")
    await is_out(friend, room_id)
    await friend.join(room_id, via=via)
    await sees_member(host, room_id, friend, "join")
    await host.ban(room_id, friend.user_id)
    await sees_member(guest, room_id, friend, "ban")
    with pytest.raises(Refused) as refused:
        await friend.join(room_id, via=via)
    assert refused.value.status == 403
    await host.unban(room_id, friend.user_id)
    await sees_member(guest, room_id, friend, "leave")
    await friend.join(room_id, via=via)
    await agree(room_id, host, guest, friend)
    # The last of a server, so that nobody is left there to be told of what comes later.
    await friend.leave(room_id)
    await sees_member(host, room_id, friend, "leave")
    await host.ban(room_id, guest.user_id)
    await is_out(guest, room_id)
    with pytest.raises(Refused):
        await guest.join(room_id, via=via)
    await host.unban(room_id, guest.user_id)
    await guest.join(room_id, via=via)
    await agree(room_id, host, guest)


@pytest.mark.parametrize("version", ["1", "10", "12"])
async def test_all_of_a_server_leave_and_come_back(servers: Servers, version: str) -> None:
    people = await meet(servers)
    host, guest, friend = people.host, people.guest, people.friend
    room_id = await room(host, version, "invite")
    for person in (guest, friend):
        await host.invite(room_id, person.user_id)
        await person.join(room_id)
    for person in (guest, friend):
        await person.leave(room_id)
        await sees_member(host, room_id, person, "leave")
    await host.send(room_id, "nobody hears this")
    topic = await host.set_state(room_id, "m.room.topic", {"topic": "changed meanwhile"})
    await host.invite(room_id, friend.user_id)
    await stands(friend, room_id, "invite")
    await friend.leave(room_id)
    await sees_member(host, room_id, friend, "leave")
    await host.invite(room_id, guest.user_id)
    await stands(guest, room_id, "invite")
    await guest.join(room_id)
    assert (await guest.state(room_id))["m.room.topic", ""]["event_id"] == topic
    back = await guest.send(room_id, "I am back")
    room_now = await agree(room_id, host, guest)
    assert back in room_now.event_ids
