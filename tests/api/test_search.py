"""Full-text search over HTTP."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from homeserver.core import search as core_search
from tests.support.certificates import Authority
from tests.support.client import Client
from tests.support.whole import V3, WholeServer, create_room, membership, say, send_path


async def search(client: Client, term: str, *, next_batch: str | None = None, **criteria: Any) -> Any:
    """The room_events of an answer."""
    path = f"{V3}/search" + (f"?next_batch={quote(next_batch)}" if next_batch else "")
    body = {"search_categories": {"room_events": {"search_term": term, **criteria}}}
    return (await client.post(path, body)).ok()["search_categories"]["room_events"]


def found(answer: Any) -> list[str]:
    """The event IDs of the results."""
    return [result["result"]["event_id"] for result in answer["results"]]


def visible_to(whom: str) -> list[dict[str, Any]]:
    """The initial state of a room with this history visibility."""
    content = {"history_visibility": whom}
    return [{"type": "m.room.history_visibility", "state_key": "", "content": content}]


async def redact(client: Client, room_id: str, event_id: str) -> None:
    await client.put(f"{V3}/rooms/{quote(room_id)}/redact/{quote(event_id)}/redaction", {})


async def test_messages_names_and_topics_are_found(whole: WholeServer) -> None:
    alice = await whole.register("alice")
    room_id = await create_room(alice, name="Gardening club", topic="All about our gardens")
    one = await say(alice, room_id, "The garden is green")
    two = await say(alice, room_id, "gardens, gardens and a garden")
    await say(alice, room_id, "something else")
    answer = await search(alice, "GARDENS")
    assert answer["count"] == 4
    assert answer["highlights"] == ["garden", "gardening", "gardens"]
    assert "next_batch" not in answer and "groups" not in answer and "state" not in answer
    assert {one, two} < set(found(answer))
    ranks = [result["rank"] for result in answer["results"]]
    assert ranks == sorted(ranks, reverse=True) and ranks[-1] > 0
    assert "context" not in answer["results"][0]
    assert answer["results"][0]["result"]["room_id"] == room_id
    assert {"type", "content", "sender", "origin_server_ts", "unsigned"} <= answer["results"][0][
        "result"
    ].keys()
    for keys, kinds in (
        (["content.body"], {"m.room.message"}),
        (["content.name", "content.topic"], {"m.room.name", "m.room.topic"}),
        ([], set()),
    ):
        narrowed = await search(alice, "garden", keys=keys)
        assert {result["result"]["type"] for result in narrowed["results"]} == kinds
    assert found(await search(alice, "garden", order_by="recent", keys=["content.body"])) == [two, one]
    nothing = await search(alice, "hedgehog")
    assert nothing == {"count": 0, "highlights": [], "results": []}
    assert (await search(alice, ""))["results"] == []
    assert (await alice.post(f"{V3}/search", {"search_categories": {}})).ok() == {"search_categories": {}}


async def test_long_terms_and_texts_keep_nobody_waiting(
    whole: WholeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = await whole.register("alice")
    said = await say(alice, await create_room(alice), "tea")
    split, threads = core_search._split, set()

    def noted(text: str) -> list[str]:
        threads.add(threading.get_ident())
        return split(text)

    monkeypatch.setattr(core_search, "_split", noted)
    answer = await search(alice, "tea")
    assert (found(answer), answer["highlights"]) == ([said], ["tea"])
    assert threads and threading.get_ident() not in threads


async def test_pages_hold_together_while_more_is_said(whole: WholeServer) -> None:
    alice = await whole.register("alice")
    room_id = await create_room(alice)
    said = [await say(alice, room_id, f"tea number {number}") for number in range(7)]
    criteria = {"order_by": "recent", "filter": {"limit": 3}}
    first = await search(alice, "tea", **criteria)
    assert (found(first), first["count"]) == (said[:3:-1], 7)
    await say(alice, room_id, "tea, later")
    second = await search(alice, "tea", next_batch=first["next_batch"], **criteria)
    assert (found(second), second["count"]) == (said[3:0:-1], 7)
    third = await search(alice, "tea", next_batch=second["next_batch"], **criteria)
    assert found(third) == said[:1]
    assert "next_batch" not in third
    exact = await search(alice, "tea", filter={"limit": 8})
    assert len(found(exact)) == 8 and "next_batch" not in exact
    by_rank = await search(alice, "tea", filter={"limit": 5})
    rest = await search(alice, "tea", next_batch=by_rank["next_batch"], filter={"limit": 5})
    assert len({*found(by_rank), *found(rest)}) == 8


async def test_groups_and_paging_within_them(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    here, there = await create_room(alice), await create_room(alice)
    for room_id in (here, there):
        (await membership(bob, room_id, "join")).ok()
    said = {
        "alice here": [await say(alice, here, f"tea {number}") for number in range(3)],
        "bob here": [await say(bob, here, "tea too")],
        "alice there": [await say(alice, there, "more tea")],
    }
    criteria = {
        "order_by": "recent",
        "filter": {"limit": 3},
        "groupings": {"group_by": [{"key": "room_id"}, {"key": "sender"}]},
    }
    answer = await search(alice, "tea", **criteria)
    assert found(answer) == [*said["alice there"], *said["bob here"], said["alice here"][2]]
    rooms, senders = answer["groups"]["room_id"], answer["groups"]["sender"]
    assert rooms[there] == {"order": 0, "results": said["alice there"]}
    assert (rooms[here]["order"], rooms[here]["results"]) == (1, [*said["bob here"], said["alice here"][2]])
    assert senders[bob.user_id] == {"order": 1, "results": said["bob here"]}
    assert senders[alice.user_id]["results"] == [*said["alice there"], said["alice here"][2]]
    for token in (rooms[here]["next_batch"], senders[alice.user_id]["next_batch"]):
        more = await search(alice, "tea", next_batch=token, **criteria)
        assert found(more) == said["alice here"][1::-1]
        assert "next_batch" not in more


async def test_the_context_of_results(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    (await alice.put(f"{V3}/profile/{alice.user_id}/displayname", {"displayname": "Alice"})).ok()
    room_id = await create_room(alice)
    (await membership(bob, room_id, "join")).ok()
    before = [await say(bob, room_id, f"before {number}") for number in range(6)]
    tea = await say(alice, room_id, "tea")
    after = [await say(bob, room_id, f"after {number}") for number in range(6)]
    (await alice.put(f"{V3}/profile/{alice.user_id}/displayname", {"displayname": "Alice the Great"})).ok()
    answer = await search(alice, "tea", event_context={})
    context = answer["results"][0]["context"]
    assert [event["event_id"] for event in context["events_before"]] == before[:0:-1]
    assert [event["event_id"] for event in context["events_after"]] == after[:5]
    assert "profile_info" not in context
    page = await alice.get(f"{V3}/rooms/{quote(room_id)}/messages?dir=b&limit=1&from={context['start']}")
    assert [event["event_id"] for event in page.ok()["chunk"]] == before[:1]
    page = await alice.get(f"{V3}/rooms/{quote(room_id)}/messages?dir=f&limit=1&from={context['end']}")
    assert [event["event_id"] for event in page.ok()["chunk"]] == after[5:]
    wanted = {"before_limit": 1, "after_limit": 0, "include_profile": True}
    context = (await search(alice, "tea", event_context=wanted))["results"][0]["context"]
    assert [event["event_id"] for event in context["events_before"]] == before[-1:]
    assert context["events_after"] == []
    assert context["profile_info"] == {
        alice.user_id: {"displayname": "Alice"},
        bob.user_id: {"displayname": "bob"},
    }
    assert found(answer) == [tea]


async def test_the_state_of_the_rooms_of_the_results(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    here, there = await create_room(alice, name="Here"), await create_room(alice, name="There")
    for room_id in (here, there):
        (await membership(bob, room_id, "join")).ok()
        await say(alice, room_id, "tea")
    (await membership(bob, there, "leave")).ok()
    (await alice.put(f"{V3}/rooms/{quote(there)}/state/m.room.name", {"name": "Nowhere"})).ok()
    state = (await search(bob, "tea", include_state=True))["state"]
    names = {
        room_id: event["content"]["name"]
        for room_id, events in state.items()
        for event in events
        if event["type"] == "m.room.name"
    }
    assert names == {here: "Here", there: "There"}


async def test_filters(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    here, there = await create_room(alice), await create_room(alice)
    (await membership(bob, here, "join")).ok()
    mine = await say(alice, here, "tea")
    bobs = await say(bob, here, "tea")
    other = await say(alice, there, "tea")
    picture = (
        await alice.put(send_path(here), {"msgtype": "m.image", "body": "tea.png", "url": "mxc://a/b"})
    ).ok()["event_id"]
    for wanted, expected in (
        ({"rooms": [there]}, {other}),
        ({"not_rooms": [here]}, {other}),
        ({"rooms": [here], "not_rooms": [here]}, set()),
        ({"senders": [bob.user_id]}, {bobs}),
        ({"not_senders": [alice.user_id]}, {bobs}),
        ({"types": ["m.room.m*"], "rooms": [here]}, {mine, bobs, picture}),
        ({"not_types": ["m.room.message"]}, set()),
        ({"contains_url": True}, {picture}),
        ({"contains_url": False, "rooms": [here]}, {mine, bobs}),
        ({"limit": 0}, set()),
    ):
        assert set(found(await search(alice, "tea", filter=wanted))) == expected, wanted


async def test_only_what_one_may_see_is_found_and_counted(whole: WholeServer) -> None:
    alice, bob, carol = [await whole.register(name) for name in ("alice", "bob", "carol")]
    room_id = await create_room(alice, initial_state=visible_to("joined"))
    await say(alice, room_id, "a secret before")
    (await membership(bob, room_id, "join")).ok()
    open_one = await say(alice, room_id, "no secret")
    (await membership(bob, room_id, "leave")).ok()
    await say(alice, room_id, "a secret after")
    answer = await search(bob, "secret")
    assert (found(answer), answer["count"]) == ([open_one], 1)
    paged = await search(bob, "secret", filter={"limit": 1}, groupings={"group_by": [{"key": "room_id"}]})
    assert "next_batch" not in paged and "next_batch" not in paged["groups"]["room_id"][room_id]
    assert (await search(alice, "secret"))["count"] == 3
    assert found(await search(carol, "secret")) == []
    assert found(await search(carol, "secret", filter={"rooms": [room_id, "!nowhere"]})) == []
    (await bob.post(f"{V3}/rooms/{quote(room_id)}/forget")).ok()
    assert found(await search(bob, "secret")) == []


async def test_rooms_that_all_the_world_may_read_are_found_by_name(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    room_id = await create_room(alice, initial_state=visible_to("world_readable"))
    tea = await say(alice, room_id, "tea")
    assert found(await search(bob, "tea")) == []
    peeked = await search(bob, "tea", filter={"rooms": [room_id]}, include_state=True, event_context={})
    assert found(peeked) == [tea]
    assert list(peeked["state"]) == [room_id]


async def test_encrypted_rooms_and_ignored_people_are_left_out(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    room_id, encrypted = await create_room(alice), await create_room(alice)
    (await membership(bob, room_id, "join")).ok()
    tea = await say(alice, room_id, "tea")
    bobs = await say(bob, room_id, "tea")
    hidden = await say(alice, encrypted, "tea")
    assert set(found(await search(alice, "tea"))) == {tea, bobs, hidden}
    encryption = {"algorithm": "m.megolm.v1.aes-sha2"}
    (await alice.put(f"{V3}/rooms/{quote(encrypted)}/state/m.room.encryption", encryption)).ok()
    ignored = {"ignored_users": {bob.user_id: {}}}
    path = f"{V3}/user/{quote(alice.user_id)}/account_data/m.ignored_user_list"
    (await alice.put(path, ignored)).ok()
    assert found(await search(alice, "tea")) == [tea]


async def test_what_is_redacted_is_found_no_more(whole: WholeServer) -> None:
    alice = await whole.register("alice")
    room_id = await create_room(alice)
    indexed = await say(alice, room_id, "a secret")
    assert found(await search(alice, "secret")) == [indexed]
    await redact(alice, room_id, indexed)
    at_once = await say(alice, room_id, "another secret")
    await redact(alice, room_id, at_once)
    assert found(await search(alice, "secret")) == []
    kept = await say(alice, room_id, "no secret")
    assert found(await search(alice, "secret")) == [kept]


async def test_bad_requests(whole: WholeServer) -> None:
    alice = await whole.register("alice")
    room_events: list[Any] = [
        {},
        {"search_term": 1},
        {"search_term": "a", "keys": ["content.url"]},
        {"search_term": "a", "order_by": "age"},
        {"search_term": "a", "filter": {"limit": -1}},
        {"search_term": "a", "filter": {"senders": ["alice"]}},
        {"search_term": "a", "event_context": {"before_limit": -1}},
        {"search_term": "a", "groupings": {"group_by": [{"key": "type"}]}},
    ]
    for criteria in room_events:
        answer = await alice.post(f"{V3}/search", {"search_categories": {"room_events": criteria}})
        answer.refused(400, "M_BAD_JSON")
    (await alice.post(f"{V3}/search", {})).refused(400, "M_BAD_JSON")
    body = {"search_categories": {"room_events": {"search_term": "a"}}}
    for token in ("nonsense", "1.2", "1.2.3.type.m", "-1.2.3"):
        (await alice.post(f"{V3}/search?next_batch={token}", body)).refused(400, "M_INVALID_PARAM")
    (await whole.client.post(f"{V3}/search", body)).refused(401, "M_MISSING_TOKEN")


async def test_it_can_be_switched_off(tmp_path: Path) -> None:
    async with WholeServer(Authority(tmp_path), tmp_path, more={"enable_search": False}) as server:
        alice = await server.register("alice")
        body = {"search_categories": {"room_events": {"search_term": "a"}}}
        (await alice.post(f"{V3}/search", body)).refused(403, "M_FORBIDDEN")
