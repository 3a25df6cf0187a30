"""Reports, and how administrators read them, over HTTP."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from homeserver.services.reports import MAX_REASON_LENGTH
from tests.support.client import Answer, Client
from tests.support.whole import V3, WholeServer, create_room, membership, say

ADMIN = "/_synapse/admin/v1"


async def report(client: Client, what: str, body: Any = None) -> Answer:
    return await client.post(f"{V3}/{what}", {"reason": "it is rude"} if body is None else body)


def in_room(room_id: str, event_id: str | None = None) -> str:
    return f"rooms/{quote(room_id)}/report" + (f"/{quote(event_id)}" if event_id else "")


async def test_an_event(whole: WholeServer) -> None:
    root, alice, bob = (
        await whole.register_admin("root"),
        await whole.register("a"),
        await whole.register("b"),
    )
    room_id = await create_room(alice, name="Here", room_alias_name="here")
    (await membership(bob, room_id, "join")).ok()
    event_id = await say(bob, room_id, "rude")
    path = in_room(room_id, event_id)
    assert (await report(alice, path)).ok() == {}
    assert (await report(alice, path, {"reason": "again", "score": -100})).ok() == {}
    assert (await report(alice, path, {})).ok() == {}
    listed = (await root.get(f"{ADMIN}/event_reports")).ok()
    assert listed["total"] == 3 and "next_token" not in listed
    about = {
        "room_id": room_id,
        "event_id": event_id,
        "user_id": alice.user_id,
        "sender": bob.user_id,
        "name": "Here",
        "canonical_alias": f"#here:{whole.server_name}",
    }
    said = [(each.pop("reason"), each.pop("score")) for each in listed["event_reports"]]
    assert said == [("", None), ("again", -100), ("it is rude", None)]
    for each in listed["event_reports"]:
        assert {key: each[key] for key in about} == about and each["received_ts"] > 1_700_000_000_000
    number = listed["event_reports"][1]["id"]
    whole_report = (await root.get(f"{ADMIN}/event_reports/{number}")).ok()
    assert whole_report["event_json"]["content"]["body"] == "rude" and whole_report["score"] == -100
    assert (await root.delete(f"{ADMIN}/event_reports/{number}")).ok() == {}
    for method in ("GET", "DELETE"):
        (await root.request(method, f"{ADMIN}/event_reports/{number}")).refused(404, "M_NOT_FOUND")
        (await root.request(method, f"{ADMIN}/event_reports/x")).refused(400, "M_INVALID_PARAM")
        (await alice.request(method, f"{ADMIN}/event_reports/{number}")).refused(403, "M_FORBIDDEN")


async def test_pages_and_filters(whole: WholeServer) -> None:
    root, alice, bob = (
        await whole.register_admin("root"),
        await whole.register("a_x"),
        await whole.register("b"),
    )
    room_id, other = await create_room(alice), await create_room(bob)
    for client, room in ((alice, room_id), (alice, room_id), (bob, other)):
        (await report(client, in_room(room, await say(client, room, "rude")))).ok()
    every = [each["id"] for each in (await root.get(f"{ADMIN}/event_reports?dir=f")).ok()["event_reports"]]
    assert len(every) == 3 and every == sorted(every)

    async def listed(query: str) -> tuple[list[int], int, Any]:
        answer = (await root.get(f"{ADMIN}/event_reports?dir=f&{query}")).ok()
        return [each["id"] for each in answer["event_reports"]], answer["total"], answer.get("next_token")

    assert await listed("limit=2") == (every[:2], 3, 2)
    assert await listed("limit=2&from=2") == (every[2:], 3, None)
    assert await listed("user_id=a_x") == (every[:2], 2, None)
    assert await listed("user_id=aZx") == ([], 0, None)
    assert await listed(f"room_id={quote(other)}") == (every[2:], 1, None)
    assert await listed(f"event_sender_user_id={quote(bob.user_id)}") == (every[2:], 1, None)
    for wrong in ("dir=x", "limit=-1", "from=-1", "from=x"):
        (await root.get(f"{ADMIN}/event_reports?{wrong}")).refused(400, "M_INVALID_PARAM")
    (await alice.get(f"{ADMIN}/event_reports")).refused(403, "M_FORBIDDEN")
    (await whole.client.get(f"{ADMIN}/event_reports")).refused(401, "M_MISSING_TOKEN")


async def test_rooms_and_users(whole: WholeServer) -> None:
    root, alice, bob = (
        await whole.register_admin("root"),
        await whole.register("a"),
        await whole.register("b"),
    )
    room_id = await create_room(bob)
    assert (await report(alice, in_room(room_id))).ok() == {}, "not being in it"
    for user_id in (bob.user_id, "@far:away.test"):
        assert (await report(alice, f"users/{quote(user_id)}/report", {"reason": ""})).ok() == {}
    (one,) = (await root.get(f"{ADMIN}/room_reports")).ok()["room_reports"]
    assert (one["room_id"], one["user_id"], one["reason"]) == (room_id, alice.user_id, "it is rude")
    users = (await root.get(f"{ADMIN}/user_reports?dir=f")).ok()["user_reports"]
    assert [each["target_user_id"] for each in users] == [bob.user_id, "@far:away.test"]
    found = (await root.get(f"{ADMIN}/user_reports?target_user_id=away")).ok()
    assert [each["id"] for each in found["user_reports"]] == [users[1]["id"]]
    assert (await root.delete(f"{ADMIN}/room_reports/{one['id']}")).ok() == {}
    (await root.delete(f"{ADMIN}/user_reports/{one['id']}")).refused(404, "M_NOT_FOUND")
    assert (await root.delete(f"{ADMIN}/user_reports/{users[0]['id']}")).ok() == {}
    assert (await root.get(f"{ADMIN}/user_reports")).ok()["total"] == 1
    assert (await root.get(f"{ADMIN}/room_reports")).ok()["total"] == 0


async def test_what_is_refused(whole: WholeServer) -> None:
    alice, bob = await whole.register("a"), await whole.register("b")
    room_id = await create_room(bob)
    event_id = await say(bob, room_id, "rude")
    (await report(alice, in_room(room_id, event_id))).refused(404, "M_NOT_FOUND")
    (await report(bob, in_room(room_id, "$nothing"))).refused(404, "M_NOT_FOUND")
    (await report(bob, in_room("!nowhere:test", event_id))).refused(404, "M_NOT_FOUND")
    (await report(bob, in_room("!nowhere:test"))).refused(404, "M_NOT_FOUND")
    (await report(bob, f"users/{quote(whole.user_id('nobody'))}/report")).refused(404, "M_NOT_FOUND")
    (await report(bob, "users/nobody/report")).refused(404, "M_NOT_FOUND")
    for path in (in_room(room_id), in_room(room_id, event_id), f"users/{alice.user_id}/report"):
        (await report(bob, path, {"reason": 1})).refused(400, "M_BAD_JSON")
        (await report(bob, path, {"reason": "x" * (MAX_REASON_LENGTH + 1)})).refused(400, "M_INVALID_PARAM")
        (await report(whole.client, path)).refused(401, "M_MISSING_TOKEN")
    (await report(bob, in_room(room_id), {})).refused(400, "M_BAD_JSON")
    (await report(bob, in_room(room_id, event_id), {"score": "-1"})).refused(400, "M_BAD_JSON")


@pytest.mark.parametrize("whole_settings", [{"rc_reports": {"per_second": 0.001, "burst_count": 1}}])
async def test_reports_are_limited(whole: WholeServer) -> None:
    alice = await whole.register("a")
    (await report(alice, "users/@far:away.test/report")).ok()
    (await report(alice, "users/@far:away.test/report")).refused(429, "M_LIMIT_EXCEEDED")
