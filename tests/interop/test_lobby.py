"""Rooms of every version between a Synapse and us, made on either side."""

from dataclasses import dataclass

import pytest

from homeserver.core.room_versions import ROOM_VERSIONS
from tests.support.agreement import agree
from tests.support.follower import Follower
from tests.support.network import until
from tests.support.our_server import OurServer
from tests.support.person import Person, Refused
from tests.support.synapse import Synapse

from .conftest import newcomer
from .scenarios import raise_power, sees_member

pytestmark = pytest.mark.asyncio(loop_scope="session")
every_version = pytest.mark.parametrize("version", ROOM_VERSIONS)


@dataclass(frozen=True)
class Cast:
    """Who meets: the host's server makes the room, the guest's joins it. The others are there to be banned."""

    host: Person
    hosts_friend: Person
    guest: Person
    guests_friend: Person


async def cast(at_home: Synapse | OurServer, away: Synapse | OurServer) -> Cast:
    """New users of both servers."""
    return Cast(
        await newcomer(at_home, "host"),
        await newcomer(at_home, "friend"),
        await newcomer(away, "guest"),
        await newcomer(away, "friend"),
    )


async def reads(reader: Person, room_id: str, *event_ids: str) -> None:
    """Wait until the reader's server shows the events."""

    async def all_there() -> bool:
        return all([await reader.event(room_id, event_id) is not None for event_id in event_ids])

    await until(all_there, f"{reader.user_id} to see {event_ids}")


async def sees_state(reader: Person, room_id: str, event_type: str, event_id: str) -> None:
    """Wait until this event is the room's state on the reader's server."""

    async def current() -> bool:
        event = (await reader.state(room_id)).get((event_type, ""))
        return event is not None and event["event_id"] == event_id

    await until(current, f"{reader.user_id} to see {event_id} as {event_type}")


async def sees_redacted(reader: Person, room_id: str, event_id: str) -> None:
    """Wait until the event is empty on the reader's server."""

    async def empty() -> bool:
        event = await reader.event(room_id, event_id)
        return event is not None and not event["content"]

    await until(empty, f"{reader.user_id} to see {event_id} redacted")


async def bans_and_unbans(moderator: Person, witness: Person, room_id: str, banned: Person) -> None:
    """The banned user's server keeps them out until they are unbanned."""
    await sees_member(moderator, room_id, banned, "join")
    await moderator.ban(room_id, banned.user_id, reason="for a test")
    await sees_member(witness, room_id, banned, "ban")
    with pytest.raises(Refused) as refused:
        await banned.join(room_id, via=[moderator.server_name])
    assert refused.value.status == 403  # M_FORBIDDEN of ours, M_BAD_STATE of Synapse
    await moderator.unban(room_id, banned.user_id)
    await sees_member(witness, room_id, banned, "leave")
    await banned.join(room_id, via=[moderator.server_name])
    for person in (moderator, witness):
        await sees_member(person, room_id, banned, "join")


async def live_in(cast: Cast, version: str, alias: str) -> None:
    """A room from its creation to a state that both servers agree about, with everything done from both sides."""
    host, guest = cast.host, cast.guest
    room_id = await host.create_room(
        version=version, preset="public_chat", room_alias_name=alias, topic="before the guest"
    )
    early = [await host.send(room_id, f"early {number}") for number in range(3)]
    assert await guest.join(f"#{alias}:{host.server_name}") == room_id
    at_home, away = Follower(host, room_id), Follower(guest, room_id)
    await at_home.update()
    await away.update()
    assert (await guest.content(room_id, "m.room.create") or {}).get("room_version", "1") == version

    from_host = [await host.send(room_id, f"host {number}") for number in range(3)]
    from_guest = [await guest.send(room_id, f"guest {number}") for number in range(3)]
    await at_home.until_event(*from_guest)
    await away.until_event(*from_host)

    await host.redact(room_id, from_guest[0], reason="by a moderator")
    await guest.redact(room_id, from_guest[1])
    await sees_redacted(guest, room_id, from_guest[0])
    await sees_redacted(host, room_id, from_guest[1])
    with pytest.raises(Refused) as refused:  # nobody has given the guest power yet
        await guest.set_state(room_id, "m.room.topic", {"topic": "not allowed"})
    assert refused.value.errcode == "M_FORBIDDEN"

    await raise_power(host, room_id, {guest.user_id: 50})
    await sees_state(
        guest,
        room_id,
        "m.room.power_levels",
        (await host.state(room_id))["m.room.power_levels", ""]["event_id"],
    )
    topic = await guest.set_state(room_id, "m.room.topic", {"topic": "by the guest"})
    await sees_state(host, room_id, "m.room.topic", topic)
    name = await host.set_state(room_id, "m.room.name", {"name": "by the host"})
    await sees_state(guest, room_id, "m.room.name", name)
    await guest.redact(room_id, from_host[0], reason="by a moderator from afar")
    await sees_redacted(host, room_id, from_host[0])

    for friend in (cast.hosts_friend, cast.guests_friend):
        await friend.join(f"#{alias}:{host.server_name}")
    await bans_and_unbans(guest, host, room_id, cast.hosts_friend)
    await bans_and_unbans(host, guest, room_id, cast.guests_friend)

    room = await agree(room_id, host, guest)
    assert {*early, *from_host, *from_guest, topic, name} <= set(room.event_ids)
    assert await guest.joined_members(room_id) == {
        person.user_id for person in (host, guest, cast.hosts_friend, cast.guests_friend)
    }


@every_version
async def test_a_user_of_synapse_joins_our_lobby(version: str, matrix_org: Synapse, ours: OurServer) -> None:
    alias = "lobby" if version == "12" else f"lobby-{version}"
    await live_in(await cast(ours, matrix_org), version, alias)


@every_version
async def test_our_user_joins_a_room_of_synapse(version: str, matrix_org: Synapse, ours: OurServer) -> None:
    await live_in(await cast(matrix_org, ours), version, f"synapse-{version}")
