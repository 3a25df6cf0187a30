"""Our users in rooms of a real Synapse, found by alias: from the first message to the last ban, on both databases."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.support.agreement import agree, seen
from tests.support.follower import Follower
from tests.support.network import until
from tests.support.our_server import OurServer
from tests.support.person import Person, Refused
from tests.support.synapse import Synapse

from .conftest import newcomer
from .scenarios import raise_power, sees_member

ALIAS = "#synapse:matrix.org"
SMALL_PAGE = 7

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.parametrize("ours", ["sqlite", "postgresql"], indirect=True),
]


@pytest_asyncio.fixture(loop_scope="session")
async def room_id(alice: Person) -> AsyncIterator[str]:
    """A room of alice's, which is #synapse:matrix.org as long as the test lasts."""
    room_id = await alice.create_room(preset="public_chat", room_alias_name="synapse", name="Synapse")
    yield room_id
    await alice.request("DELETE", "directory", "room", ALIAS)


async def displayname(person: Person, name: str) -> None:
    """Change the person's displayname."""
    await person.request("PUT", "profile", person.user_id, "displayname", body={"displayname": name})


async def eventful_history(alice: Person, carol: Person, room_id: str) -> None:
    """Messages, state changes, redactions and memberships, one after the other."""
    await carol.join(room_id)
    for number in range(12):
        await alice.send(room_id, f"before {number}")
        await alice.set_state(room_id, "m.room.topic", {"topic": f"topic {number}"})
        message = await carol.send(room_id, f"carol {number}")
        if number % 4 == 0:
            await carol.redact(room_id, message, reason="mistaken")
    await raise_power(alice, room_id, {carol.user_id: 50})
    await carol.set_state(room_id, "m.room.name", {"name": "Synapse, renamed"})
    await carol.leave(room_id)
    await alice.ban(room_id, carol.user_id)
    await alice.send(room_id, "carol is banned")
    await alice.unban(room_id, carol.user_id)
    await carol.join(room_id)
    await displayname(carol, "Carol, renamed")

    async def renamed() -> bool:
        member = await alice.content(room_id, "m.room.member", carol.user_id)
        return member is not None and member["displayname"] == "Carol, renamed"

    await until(renamed, "carol's new name in the room")


async def pages(person: Person, room_id: str, direction: str, **query: Any) -> list[dict[str, Any]]:
    """Everything /messages gives in small pages."""
    found: list[dict[str, Any]] = []
    while True:
        page = await person.messages(room_id, limit=SMALL_PAGE, dir=direction, **query)
        assert len(page["chunk"]) <= SMALL_PAGE
        found += page["chunk"]
        if "end" not in page:
            return found
        query["from"] = page["end"]


async def test_messages_state_and_redactions_cross_both_ways(
    alice: Person, bob: Person, room_id: str
) -> None:
    await bob.sync()
    assert await bob.join(ALIAS) == room_id
    ours, theirs = Follower(bob, room_id), Follower(alice, room_id)
    await ours.until(lambda view: view.membership == "join", "the join")
    await theirs.until(lambda view: ("m.room.member", bob.user_id) in view.state, "bob's join")
    assert ours.state["m.room.name", ""]["content"] == {"name": "Synapse"}
    assert set(ours.state) == set(await bob.state(room_id))

    # /sync waits for twice as long as the test does: each of these wakes it.
    waiting = asyncio.create_task(ours.until(lambda view: "hello, bob" in view.texts, "alice's message"))
    await alice.send(room_id, "hello, bob")
    await waiting
    waiting = asyncio.create_task(theirs.until(lambda view: "hello, alice" in view.texts, "bob's message"))
    await bob.send(room_id, "hello, alice")
    await waiting

    await raise_power(alice, room_id, {bob.user_id: 50})
    await ours.until(
        lambda view: bob.user_id in view.state["m.room.power_levels", ""]["content"]["users"], "bob's power"
    )
    topic = await bob.set_state(room_id, "m.room.topic", {"topic": "bob's"})
    await theirs.until_event(topic)
    topic = await alice.set_state(room_id, "m.room.topic", {"topic": "alice's"})
    await ours.until_event(topic)

    hers, his = await alice.send(room_id, "hers"), await bob.send(room_id, "his")
    await ours.until_event(hers)
    await theirs.until_event(his)
    await ours.until_event(await alice.redact(room_id, his, reason="a moderator may"))
    await theirs.until_event(await bob.redact(room_id, hers, reason="so may he"))
    room = await agree(room_id, alice, bob)
    for event_id in (hers, his):
        assert room.events[event_id]["content"] == {}
    assert await bob.content(room_id, "m.room.topic") == {"topic": "alice's"}


async def test_history_from_before_the_join_is_there_to_the_first_event(
    alice: Person, bob: Person, matrix_org: Synapse, room_id: str
) -> None:
    await eventful_history(alice, await newcomer(matrix_org, "carol"), room_id)
    await bob.join(ALIAS)
    expected = (await seen(alice, room_id)).event_ids
    assert len(expected) > 50

    backwards = [event["event_id"] for event in await pages(bob, room_id, "b")]
    assert backwards == expected
    forwards = [event["event_id"] for event in await pages(bob, room_id, "f")]
    assert forwards == expected[::-1]
    room = await agree(room_id, alice, bob)
    assert room.history[-1]["type"] == "m.room.create"

    middle = expected[len(expected) // 2]
    context = await bob.request("GET", "rooms", room_id, "context", middle, query={"limit": 10})
    around = [*reversed(context["events_before"]), context["event"], *context["events_after"]]
    at = len(expected) // 2
    assert [event["event_id"] for event in around] == expected[at - 5 : at + 6][::-1]


async def test_who_joins_by_sync_alone_reads_the_whole_room(
    alice: Person, bob: Person, matrix_org: Synapse, room_id: str
) -> None:
    await eventful_history(alice, await newcomer(matrix_org, "carol"), room_id)
    await bob.join(ALIAS)
    answer = await bob.sync()
    joined = answer["rooms"]["join"][room_id]
    timeline = joined["timeline"]["events"]
    earlier = await pages(bob, room_id, "b", **{"from": joined["timeline"]["prev_batch"]})
    events = [event["event_id"] for event in (*earlier[::-1], *timeline)]
    assert events == (await seen(alice, room_id)).event_ids[::-1]
    at_the_start = {
        (event["type"], event["state_key"]): event["event_id"]
        for event in (*joined.get("state", {}).get("events", ()), *timeline)
        if "state_key" in event
    }
    assert at_the_start == (await seen(alice, room_id)).state


async def test_history_for_members_only_is_not_shown_to_who_came_later(
    alice: Person, bob: Person, room_id: str
) -> None:
    await alice.send(room_id, "for everybody")
    await alice.set_state(room_id, "m.room.history_visibility", {"history_visibility": "joined"})
    secret = await alice.send(room_id, "for those who are there")
    await bob.join(ALIAS)
    hello = await alice.send(room_id, "hello, bob")
    await Follower(bob, room_id).until_event(hello)
    texts = [event["content"].get("body") for event in await bob.history(room_id)]
    assert "for everybody" in texts and "hello, bob" in texts
    assert "for those who are there" not in texts
    with pytest.raises(Refused) as refused:
        await bob.request("GET", "rooms", room_id, "event", secret)
    assert refused.value.status in (403, 404)


async def test_names_and_members_are_the_same_on_both_sides(
    alice: Person, bob: Person, ours: OurServer, matrix_org: Synapse, room_id: str
) -> None:
    await displayname(alice, "Alice A.")
    await displayname(bob, "Bob B.")
    await bob.join(ALIAS)
    carol, dave = await newcomer(matrix_org, "carol"), await newcomer(ours, "dave")
    await carol.join(ALIAS)
    await dave.join(ALIAS)

    async def names(person: Person) -> dict[str, str | None]:
        members = await person.request("GET", "rooms", room_id, "joined_members")
        return {user_id: member.get("display_name") for user_id, member in members["joined"].items()}

    async def same_names(expected: dict[str, str]) -> bool:
        shown = [await names(person) for person in (alice, bob, carol, dave)]
        return all(of_one.items() >= expected.items() and of_one == shown[0] for of_one in shown)

    await until(
        lambda: same_names({alice.user_id: "Alice A.", bob.user_id: "Bob B."}), "names in member lists"
    )
    assert set(await names(bob)) == {person.user_id for person in (alice, bob, carol, dave)}
    await displayname(alice, "Alice Z.")
    await displayname(bob, "Bob Z.")
    await until(lambda: same_names({alice.user_id: "Alice Z.", bob.user_id: "Bob Z."}), "changed names")
    for asking, asked, name in ((alice, bob, "Bob Z."), (bob, alice, "Alice Z.")):
        profile = await asking.request("GET", "profile", asked.user_id)
        assert profile["displayname"] == name

    def memberships(answer: Any) -> dict[str, str]:
        return {event["state_key"]: event["event_id"] for event in answer["chunk"]}

    lists = [memberships(await person.request("GET", "rooms", room_id, "members")) for person in (alice, bob)]
    assert lists[0] == lists[1]
    await agree(room_id, alice, bob, carol, dave)


async def test_aliases_of_either_server_lead_to_the_room(
    alice: Person, bob: Person, ours: OurServer, matrix_org: Synapse, room_id: str
) -> None:
    await bob.join(ALIAS)
    of_ours = f"#{room_id[1:9].lower()}:{ours.server_name}"
    await bob.set_alias(of_ours, room_id)
    for person, alias, server in ((alice, of_ours, ours.server_name), (bob, ALIAS, "matrix.org")):
        found = await person.request("GET", "directory", "room", alias)
        assert found["room_id"] == room_id
        assert server in found["servers"]
    assert await (await newcomer(matrix_org, "carol")).join(of_ours) == room_id
    for person, server in ((alice, ours.server_name), (bob, "matrix.org")):
        with pytest.raises(Refused) as refused:
            await person.request("GET", "directory", "room", f"#no-such-room:{server}")
        assert (refused.value.status, refused.value.errcode) == (404, "M_NOT_FOUND")


async def test_who_leaves_and_comes_back_reads_what_was_said_meanwhile(
    alice: Person, bob: Person, room_id: str
) -> None:
    await bob.join(ALIAS)
    view = Follower(bob, room_id)
    await view.update()
    await bob.send(room_id, "I must go")
    await bob.leave(room_id)
    await view.until(lambda view: view.membership == "leave", "his leaving")
    await sees_member(alice, room_id, bob, "leave")
    missed = [await alice.send(room_id, f"bob is not here {number}") for number in range(25)]
    await alice.set_state(room_id, "m.room.topic", {"topic": "changed meanwhile"})
    history = {event["event_id"] for event in await bob.history(room_id)}
    assert not history.intersection(missed)
    with pytest.raises(Refused) as refused:
        await bob.send(room_id, "I am not there")
    assert refused.value.errcode == "M_FORBIDDEN"

    await bob.join(ALIAS)
    assert await bob.content(room_id, "m.room.topic") == {"topic": "changed meanwhile"}
    back = await bob.send(room_id, "I am back")
    await view.until_event(back)
    assert view.membership == "join"
    room = await agree(room_id, alice, bob)
    order = [event["event_id"] for event in await pages(bob, room_id, "b")]
    assert order == (await seen(alice, room_id)).event_ids
    assert set(missed) <= set(room.event_ids)
    assert set(missed) <= set(view.event_ids)


async def test_invites_cross_both_ways(
    alice: Person, bob: Person, matrix_org: Synapse, ours: OurServer
) -> None:
    carol, dave = await newcomer(matrix_org, "carol"), await newcomer(ours, "dave")
    for host, guest, refusing in ((alice, bob, dave), (bob, alice, carol)):
        private = await host.create_room(preset="private_chat", name="Private", invite=[guest.user_id])
        view = Follower(guest, private)
        await view.until(lambda view: view.membership == "invite", "the invite")
        told = {event["type"]: event["content"] for event in view.invite_state}
        assert told["m.room.name"] == {"name": "Private"}
        assert told["m.room.member"]["membership"] == "invite"
        assert await guest.join(private) == private
        await view.until(lambda view: view.membership == "join", "the join")
        await host.invite(private, refusing.user_id)
        view = Follower(refusing, private)
        await view.until(lambda view: view.membership == "invite", "the second invite")
        await refusing.leave(private)
        await sees_member(host, private, refusing, "leave")
        await agree(private, host, guest)


async def test_kicks_and_bans_hold_on_both_sides(
    alice: Person, bob: Person, matrix_org: Synapse, room_id: str
) -> None:
    carol = await newcomer(matrix_org, "carol")
    await bob.join(ALIAS)
    await carol.join(ALIAS)
    view = Follower(bob, room_id)
    await view.update()
    await alice.kick(room_id, bob.user_id, reason="out")
    await view.until(lambda view: view.membership == "leave", "the kick")
    assert view.state["m.room.member", bob.user_id]["content"]["reason"] == "out"
    await bob.join(ALIAS)
    await view.until(lambda view: view.membership == "join", "the join")
    await alice.ban(room_id, bob.user_id)
    await view.until(lambda view: view.membership == "leave", "the ban")
    with pytest.raises(Refused) as refused:
        await bob.join(ALIAS)
    assert (refused.value.status, refused.value.errcode) == (403, "M_FORBIDDEN")
    await alice.unban(room_id, bob.user_id)
    await bob.join(ALIAS)

    await raise_power(alice, room_id, {bob.user_id: 50})
    await view.until(
        lambda view: bob.user_id in view.state["m.room.power_levels", ""]["content"]["users"], "bob's power"
    )
    of_carol = Follower(carol, room_id)
    await of_carol.until(lambda view: view.membership == "join", "the join")
    await bob.kick(room_id, carol.user_id)
    await of_carol.until(lambda view: view.membership == "leave", "the kick")
    await carol.join(ALIAS)
    await sees_member(bob, room_id, carol, "join")
    await bob.ban(room_id, carol.user_id)
    await sees_member(alice, room_id, carol, "ban")
    with pytest.raises(Refused) as refused:
        await carol.join(ALIAS)
    assert refused.value.status == 403
    await bob.unban(room_id, carol.user_id)
    await sees_member(alice, room_id, carol, "leave")
    await carol.join(ALIAS)
    await sees_member(bob, room_id, carol, "join")
    await agree(room_id, alice, bob, carol)


async def test_forks_of_the_graph_come_together(
    alice: Person, bob: Person, ours: OurServer, matrix_org: Synapse, room_id: str
) -> None:
    """Everybody writes at the same time, so that the graph branches all the time."""
    carol, dave = await newcomer(matrix_org, "carol"), await newcomer(ours, "dave")
    people = (alice, bob, carol, dave)
    for person in people[1:]:
        await person.join(ALIAS)
    await raise_power(alice, room_id, dict.fromkeys((person.user_id for person in people[1:]), 50))
    await until(lambda: _has_power(bob, room_id, dave.user_id), "the power levels to reach the other server")

    async def talk(person: Person) -> list[str]:
        sent = []
        for number in range(10):
            sent.append(await person.send(room_id, f"{person.user_id} {number}"))
            sent.append(
                await person.set_state(room_id, "m.room.topic", {"topic": f"{person.user_id} {number}"})
            )
        return sent

    sent = [event_id for events in await asyncio.gather(*map(talk, people)) for event_id in events]
    # Whoever writes last ties the loose ends together, so that both servers see the same graph.
    room = await agree(room_id, alice, bob)
    assert set(sent) <= set(room.event_ids)


async def _has_power(person: Person, room_id: str, user_id: str) -> bool:
    levels = await person.content(room_id, "m.room.power_levels")
    return levels is not None and user_id in levels["users"]
