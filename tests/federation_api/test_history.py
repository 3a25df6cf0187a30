"""Giving other servers a room's history and state."""

from typing import Any

import pytest

from homeserver.core.room_versions import rules_for
from homeserver.federation.errors import FederationError
from homeserver.federation.remote.events import (
    backfill,
    get_event,
    get_event_auth,
    get_missing_events,
    get_state,
    get_state_ids,
)
from homeserver.services.timeline import Draft
from homeserver.storage import accounts
from tests.support.certificates import Authority
from tests.support.federating_server import FederatingServer
from tests.support.federation_peer import FederationPeer

RULES = rules_for("10")


async def said(ours: FederatingServer, room_id: str, count: int) -> list[str]:
    """The IDs of some messages, in their order."""
    return [await ours.say(room_id, ours.user("ours"), f"message {number}") for number in range(count)]


async def test_backfill(ours: FederatingServer, peer: FederationPeer) -> None:
    room_id = await ours.room()
    messages = await said(ours, room_id, 5)
    room = await peer.join(ours.server_name, room_id, peer.user("alice"), "10")
    before = room.events[room.heads[0]].prev_event_ids
    answer = await backfill(peer.client, ours.server_name, room_id, RULES, before=before, limit=3)
    assert [event.event_id for event in answer.events] == messages[:1:-1]
    whole = await backfill(peer.client, ours.server_name, room_id, RULES, before=before, limit=1_000)
    assert len(whole.events) == 9 and whole.events[-1].type == "m.room.create"
    assert not whole.invalid


async def test_missing_events(ours: FederatingServer, peer: FederationPeer) -> None:
    room_id = await ours.room()
    room = await peer.join(ours.server_name, room_id, peer.user("alice"), "10")
    (joined,) = room.heads
    messages = await said(ours, room_id, 6)

    async def ask(**options: Any) -> list[str]:
        answer = await get_missing_events(
            peer.client, ours.server_name, room_id, RULES, latest=messages[-1:], **options
        )
        return [event.event_id for event in answer.events]

    assert await ask(earliest=[joined], limit=100) == messages[:-1]
    assert await ask(earliest=[messages[1]], limit=100) == messages[2:-1]
    assert await ask(earliest=[], limit=2) == messages[3:5]
    assert await ask(earliest=[], limit=0) == []
    depth = room.events[joined].depth
    assert await ask(earliest=[], min_depth=depth + 3, limit=100) == messages[2:-1]


async def test_events_and_state(ours: FederatingServer, peer: FederationPeer) -> None:
    room_id = await ours.room()
    room = await peer.join(ours.server_name, room_id, peer.user("alice"), "10")
    creator = ours.user("ours")
    (hello,) = await said(ours, room_id, 1)
    topic = await ours.timeline.send(room_id, Draft(creator, "m.room.topic", {"topic": "x"}, ""))
    after = await ours.say(room_id, creator, "after")
    client, server = peer.client, ours.server_name
    event = await get_event(client, server, hello, RULES, room_id)
    assert event.content["body"] == "message 0"
    at_topic = await get_state_ids(client, server, room_id, topic)
    at_after = await get_state_ids(client, server, room_id, after)
    assert topic not in at_topic.state and {*at_after.state} == {*at_topic.state, topic}
    whole = await get_state(client, server, room_id, after, RULES)
    assert {each.event_id for each in whole.state.events} == set(at_after.state)
    assert {each.event_id for each in whole.auth_chain.events} == set(at_after.auth_chain)
    assert room.state["m.room.create", ""] in at_after.auth_chain
    auth = await get_event_auth(client, server, room_id, hello, RULES)
    types = {each.type for each in auth.events}
    assert types == {"m.room.create", "m.room.power_levels", "m.room.member"}


async def test_only_servers_in_the_room_are_told(ours: FederatingServer, peer: FederationPeer) -> None:
    room_id = await ours.room()
    (hello,) = await said(ours, room_id, 1)
    client, server = peer.client, ours.server_name
    requests = [
        lambda room: backfill(client, server, room, RULES, before=[hello], limit=1),
        lambda room: get_missing_events(client, server, room, RULES, earliest=[], latest=[hello]),
        lambda room: get_state(client, server, room, hello, RULES),
        lambda room: get_state_ids(client, server, room, hello),
        lambda room: get_event_auth(client, server, room, hello, RULES),
        lambda room: get_event(client, server, hello, RULES, room),
    ]
    for request in requests:
        with pytest.raises(FederationError) as caught:
            await request(room_id)
        assert (caught.value.status, caught.value.errcode) == (403, "M_FORBIDDEN"), caught.value
    for request in requests[:-1]:
        with pytest.raises(FederationError) as caught:
            await request("!unknown:x.test")
        assert (caught.value.status, caught.value.errcode) == (404, "M_NOT_FOUND")


async def test_what_is_not_there(ours: FederatingServer, peer: FederationPeer) -> None:
    room_id = await ours.room()
    await peer.join(ours.server_name, room_id, peer.user("alice"), "10")
    client, server, unknown = peer.client, ours.server_name, "$" + "a" * 43
    for request in (
        get_state(client, server, room_id, unknown, RULES),
        get_state_ids(client, server, room_id, unknown),
        get_event_auth(client, server, room_id, unknown, RULES),
        get_event(client, server, unknown, RULES, room_id),
    ):
        with pytest.raises(FederationError) as caught:
            await request
        assert caught.value.status == 404
    nothing = await backfill(client, server, room_id, RULES, before=[unknown], limit=10)
    assert nothing.events == ()


async def test_an_event_of_another_room(ours: FederatingServer, peer: FederationPeer) -> None:
    secret, room_id = await ours.room(), await ours.room()
    (hidden,) = await said(ours, secret, 1)
    await peer.join(ours.server_name, room_id, peer.user("alice"), "10")
    client, server = peer.client, ours.server_name
    for request in (
        get_state(client, server, room_id, hidden, RULES),
        get_state_ids(client, server, room_id, hidden),
        get_event_auth(client, server, room_id, hidden, RULES),
    ):
        with pytest.raises(FederationError) as caught:
            await request
        assert caught.value.status == 404
    for answer in (
        await backfill(client, server, room_id, RULES, before=[hidden], limit=10),
        await get_missing_events(client, server, room_id, RULES, earliest=[], latest=[hidden]),
    ):
        assert answer.events == () and not answer.invalid


@pytest.mark.parametrize(
    ("visibility", "before_is_shown"),
    [("joined", False), ("invited", False), ("shared", True), ("world_readable", True), ("nonsense", True)],
)
async def test_history_that_the_server_may_not_see_is_redacted(
    ours: FederatingServer, peer: FederationPeer, visibility: str, before_is_shown: bool
) -> None:
    room_id = await ours.room("10", history_visibility={"history_visibility": visibility})
    (before,) = await said(ours, room_id, 1)
    await peer.join(ours.server_name, room_id, peer.user("alice"), "10")
    (after,) = await said(ours, room_id, 1)
    client, server = peer.client, ours.server_name
    answer = await backfill(client, server, room_id, RULES, before=[after], limit=100)
    shown = {event.event_id: event for event in answer.events}
    assert shown[after].content["body"] == "message 0"
    assert bool(shown[before].content) is before_is_shown
    missing = await get_missing_events(client, server, room_id, RULES, earliest=[], latest=[after], limit=100)
    assert bool(next(each for each in missing.events if each.event_id == before).content) is before_is_shown
    single = await get_event(client, server, before, RULES, room_id)
    assert bool(single.content) is before_is_shown and single.event_id == before


async def test_identifiers_that_are_none(ours: FederatingServer, peer: FederationPeer) -> None:
    base = "/_matrix/federation/v1"
    for path in (
        f"{base}/state/!r:x.test?event_id=none",
        f"{base}/state/%00?event_id=%24x",
        f"{base}/event/%24%00",
        f"{base}/event_auth/nothing/%24x",
        f"{base}/backfill/!r:x.test?v=x&limit=1",
        f"{base}/backfill/!r:x.test?v=%24x&limit=many",
        f"{base}/backfill/!r:x.test",
    ):
        target, _, query = path.partition("?")
        pairs = [tuple(part.split("=")) for part in query.replace("%24", "$").split("&") if part]
        with pytest.raises(FederationError) as caught:
            await peer.client.request(ours.server_name, "GET", target, query=pairs)  # type: ignore[arg-type]
        assert caught.value.status == 400, path


async def test_a_server_that_the_acl_denies(
    ours: FederatingServer, peer: FederationPeer, authority: Authority
) -> None:
    room_id = await ours.room()
    await peer.join(ours.server_name, room_id, peer.user("alice"), "10")
    (hello,) = await said(ours, room_id, 1)
    acl = {"allow": ["*"], "deny": [peer.server_name.partition(":")[0]]}
    await ours.timeline.send(room_id, Draft(ours.user("ours"), "m.room.server_acl", acl, ""))
    for request in (
        backfill(peer.client, ours.server_name, room_id, RULES, before=[hello], limit=1),
        get_missing_events(peer.client, ours.server_name, room_id, RULES, earliest=[], latest=[hello]),
        get_state(peer.client, ours.server_name, room_id, hello, RULES),
        get_state_ids(peer.client, ours.server_name, room_id, hello),
        get_event_auth(peer.client, ours.server_name, room_id, hello, RULES),
    ):
        with pytest.raises(FederationError) as caught:
            await request
        assert caught.value.status == 403 and "ACL" in caught.value.reason


async def test_what_erased_users_sent_while_a_server_was_not_there(
    ours: FederatingServer, peer: FederationPeer
) -> None:
    room_id = await ours.room()
    creator = ours.user("ours")
    (before,) = await said(ours, room_id, 1)
    room = await peer.join(ours.server_name, room_id, peer.user("alice"), "10")
    (joined,) = room.heads
    (after,) = await said(ours, room_id, 1)

    async def bodies() -> list[Any]:
        found = [
            await get_event(peer.client, ours.server_name, each, RULES, room_id) for each in (before, after)
        ]
        return [event.content.get("body") for event in found]

    assert await bodies() == ["message 0", "message 0"]
    await ours.account("ours")
    await ours.database.write(lambda tx: accounts.erase(tx, creator, 10**6))
    assert await bodies() == [None, "message 0"]
    whole = await backfill(peer.client, ours.server_name, room_id, RULES, before=[joined], limit=100)
    shown = {event.event_id: event for event in whole.events}
    assert before in shown and not whole.invalid
    # What was set for everybody stays.
    rules = [event for event in whole.events if event.type == "m.room.join_rules"]
    assert rules and all(event.content["join_rule"] for event in rules)
