"""Push rules over HTTP: every operation and parameter, what is refused, and how /sync tells of changes."""

import asyncio
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.client import no_news
from tests.support.room_server import ALICE, BOB, RoomClient, RoomServer

RULES = "/pushrules/global"
MASTER = f"{RULES}/override/.m.rule.master"
MESSAGE = f"{RULES}/underride/.m.rule.message"
CAKE: dict[str, Any] = {"pattern": "cake*lie", "actions": ["notify"]}
BEER: dict[str, Any] = {
    "conditions": [
        {"kind": "event_match", "key": "content.body", "pattern": "beer"},
        {"kind": "room_member_count", "is": "<=10"},
    ],
    "actions": ["notify", {"set_tweak": "sound", "value": "beeroclock.wav"}],
}


async def ids(client: RoomClient, kind: str) -> list[str]:
    """The IDs of the user's own rules of a kind, in their order."""
    rules = (await client.get(f"{RULES}/")).ok()[kind]
    return [rule["rule_id"] for rule in rules if not rule["default"]]


def told(answer: Any) -> Any:
    """The content of m.push_rules in an answer of /sync."""
    (event,) = (each for each in answer["account_data"]["events"] if each["type"] == "m.push_rules")
    assert set(event) == {"type", "content"}
    return event["content"]


async def test_all_rules(rooms: RoomServer) -> None:
    rulesets = (await rooms.alice.get("/pushrules/")).ok()
    assert list(rulesets) == ["global"]
    assert list(rulesets["global"]) == ["override", "content", "room", "sender", "underride"]
    assert len(rulesets["global"]["override"]) == 10 and len(rulesets["global"]["underride"]) == 5
    assert rulesets["global"]["override"][0] == {
        "rule_id": ".m.rule.master",
        "default": True,
        "enabled": False,
        "conditions": [],
        "actions": [],
    }
    for prefix in ("/_matrix/client/v3", "/_matrix/client/r0"):
        for path in ("/pushrules/", "/pushrules"):
            assert (await rooms.alice.http.get(prefix + path)).ok() == rulesets
        for path in ("/pushrules/global/", "/pushrules/global"):
            assert (await rooms.alice.http.get(prefix + path)).ok() == rulesets["global"]
    invited = (await rooms.bob.get(f"{RULES}/override/.m.rule.invite_for_me")).ok()
    assert invited["conditions"][2]["pattern"] == BOB


@pytest.mark.parametrize(
    ("kind", "rule_id", "body", "shown"),
    [
        ("content", "nocake", CAKE, CAKE),
        ("override", "beer", BEER, BEER),
        ("underride", "always", {"actions": []}, {"actions": [], "conditions": []}),
        ("room", "!dj234r78wl45Gh4D:matrix.org", {"actions": []}, {"actions": []}),
        ("sender", "@spambot:matrix.org", {"actions": ["dont_notify"]}, {"actions": []}),
        ("content", "SSByZWFsbHkgbGlrZSBjYWtl ü", {**CAKE, "other": 1}, CAKE),
    ],
)
async def test_a_life_of_a_rule(rooms: RoomServer, kind: str, rule_id: str, body: Any, shown: Any) -> None:
    alice, path = rooms.alice, f"{RULES}/{kind}/{quote(rule_id, safe='')}"
    (await alice.get(path)).refused(404, "M_NOT_FOUND")
    assert (await alice.put(path, body)).ok() == {}
    rule = {"rule_id": rule_id, "default": False, "enabled": True, **shown}
    assert (await alice.get(path)).ok() == rule
    assert (await alice.get(f"{RULES}/")).ok()[kind].count(rule) == 1
    assert (await alice.get(f"{path}/enabled")).ok() == {"enabled": True}
    assert (await alice.put(f"{path}/enabled", {"enabled": False})).ok() == {}
    assert (await alice.get(f"{path}/enabled")).ok() == {"enabled": False}
    assert (await alice.get(f"{path}/actions")).ok() == {"actions": shown["actions"]}
    actions = ["notify", {"set_tweak": "highlight"}]
    assert (await alice.put(f"{path}/actions", {"actions": actions})).ok() == {}
    assert (await alice.get(f"{path}/actions")).ok() == {"actions": actions}
    assert (await alice.get(path)).ok() == {**rule, "enabled": False, "actions": actions}
    assert (await alice.put(path, body)).ok() == {}
    assert (await alice.get(path)).ok() == {**rule, "enabled": False}
    (await rooms.bob.get(path)).refused(404, "M_NOT_FOUND")
    assert (await alice.delete(path)).ok() == {}
    (await alice.get(path)).refused(404, "M_NOT_FOUND")


async def test_default_rules_are_changed_and_not_deleted(rooms: RoomServer) -> None:
    alice = rooms.alice
    assert (await alice.put(f"{MASTER}/enabled", {"enabled": True})).ok() == {}
    assert (await alice.get(f"{MASTER}/enabled")).ok() == {"enabled": True}
    assert (await alice.put(f"{MESSAGE}/actions", {"actions": []})).ok() == {}
    assert (await alice.get(f"{MESSAGE}/actions")).ok() == {"actions": []}
    assert (await alice.get(MESSAGE)).ok()["default"] is True
    (await alice.delete(MESSAGE)).refused(400, "M_INVALID_PARAM")
    (await alice.put(MESSAGE, {"actions": []})).refused(400, "M_INVALID_PARAM")
    assert (await rooms.bob.get(f"{MASTER}/enabled")).ok() == {"enabled": False}


async def test_old_paths(rooms: RoomServer) -> None:
    http, path = rooms.alice.http, "/_matrix/client/r0/pushrules/global/content/x"
    assert (await http.put(path, CAKE)).ok() == {}
    assert (await http.get(path)).ok()["pattern"] == "cake*lie"
    assert (await http.put(f"{path}/enabled", {"enabled": False})).ok() == {}
    assert (await http.get(f"{path}/enabled")).ok() == {"enabled": False}
    assert (await http.put(f"{path}/actions", {"actions": []})).ok() == {}
    assert (await http.get(f"{path}/actions")).ok() == {"actions": []}
    assert (await http.delete(path)).ok() == {}


async def test_the_order_of_rules(rooms: RoomServer) -> None:
    alice = rooms.alice
    for rule_id in ("c", "b", "a"):
        (await alice.put(f"{RULES}/content/{rule_id}", CAKE)).ok()
    assert await ids(alice, "content") == ["a", "b", "c"]
    (await alice.put(f"{RULES}/content/d?after=b", CAKE)).ok()
    assert await ids(alice, "content") == ["a", "b", "d", "c"]
    (await alice.put(f"{RULES}/content/d?before=a", CAKE)).ok()
    assert await ids(alice, "content") == ["d", "a", "b", "c"]
    (await alice.put(f"{RULES}/content/a?before=c&after=d", CAKE)).ok()
    assert await ids(alice, "content") == ["d", "b", "a", "c"]
    (await alice.put(f"{RULES}/content/b", {**CAKE, "pattern": "other"})).ok()
    assert await ids(alice, "content") == ["d", "b", "a", "c"]
    for beside in ("someRuleId", ".m.rule.message", "e"):
        for name in ("before", "after"):
            answer = await alice.put(f"{RULES}/content/e?{name}={beside}", CAKE)
            assert answer.refused(400, "M_UNKNOWN")["error"] == f"before/after rule not found: {beside}"
    (await alice.put(f"{RULES}/underride/e?before=.m.rule.message", {"actions": []})).refused(
        400, "M_UNKNOWN"
    )
    assert await ids(alice, "content") == ["d", "b", "a", "c"]


@pytest.mark.parametrize(
    ("path", "body", "errcode"),
    [
        ("content/.m.mine", CAKE, "M_INVALID_PARAM"),
        ("content/a%2Fb", CAKE, "M_INVALID_PARAM"),
        ("content/a%5Cb", CAKE, "M_INVALID_PARAM"),
        ("content/", CAKE, "M_INVALID_PARAM"),
        ("device/x", CAKE, "M_INVALID_PARAM"),
        ("room/x", {"actions": []}, "M_INVALID_PARAM"),
        ("sender/x", {"actions": []}, "M_INVALID_PARAM"),
        ("content/x", {"actions": []}, "M_BAD_JSON"),
        ("content/x", {"pattern": "x"}, "M_BAD_JSON"),
        ("content/x", {"pattern": 7, "actions": []}, "M_BAD_JSON"),
        ("content/x", {"pattern": "x", "actions": ["shout"]}, "M_BAD_JSON"),
        ("content/x", {"pattern": "x", "actions": "notify"}, "M_BAD_JSON"),
        ("override/x", {"actions": [], "conditions": {}}, "M_BAD_JSON"),
        ("override/x", {"actions": [], "conditions": [{"kind": "event_match"}]}, "M_BAD_JSON"),
        ("override/x", [], "M_BAD_JSON"),
    ],
)
async def test_rules_that_are_refused(rooms: RoomServer, path: str, body: Any, errcode: str) -> None:
    (await rooms.alice.put(f"{RULES}/{path}", body)).refused(400, errcode)


async def test_too_large_a_rule(rooms: RoomServer) -> None:
    huge = [{"set_tweak": "x", "value": "x" * 300_000}]
    (await rooms.alice.put(f"{RULES}/content/x", {**CAKE, "actions": huge})).refused(413, "M_TOO_LARGE")
    (await rooms.alice.put(f"{MASTER}/actions", {"actions": huge})).refused(413, "M_TOO_LARGE")
    (await rooms.alice.http.put(f"/_matrix/client/v3{RULES}/content/x", content=b"x")).refused(
        400, "M_NOT_JSON"
    )


async def test_what_is_not_there(rooms: RoomServer) -> None:
    alice = rooms.alice
    for path in ("content/x", "override/.m.rule.message", "room/!r:ours.test", "override/.m.rule.unheard_of"):
        (await alice.get(f"{RULES}/{path}")).refused(404, "M_NOT_FOUND")
        (await alice.delete(f"{RULES}/{path}")).refused(404, "M_NOT_FOUND")
        (await alice.get(f"{RULES}/{path}/enabled")).refused(404, "M_NOT_FOUND")
        (await alice.put(f"{RULES}/{path}/enabled", {"enabled": True})).refused(404, "M_NOT_FOUND")
        (await alice.get(f"{RULES}/{path}/actions")).refused(404, "M_NOT_FOUND")
        (await alice.put(f"{RULES}/{path}/actions", {"actions": []})).refused(404, "M_NOT_FOUND")
    (await alice.get("/pushrules/device/")).refused(404, "M_UNRECOGNIZED")
    for path in ("nothing/x", "nothing/x/enabled", "nothing/x/actions"):
        (await alice.get(f"{RULES}/{path}")).refused(400, "M_INVALID_PARAM")
    (await alice.delete(f"{RULES}/nothing/x")).refused(400, "M_INVALID_PARAM")


@pytest.mark.parametrize("body", [{}, {"enabled": 1}, {"enabled": "true"}, {"enabled": None}])
async def test_enabled_is_a_boolean(rooms: RoomServer, body: Any) -> None:
    (await rooms.alice.put(f"{MASTER}/enabled", body)).refused(400, "M_BAD_JSON")


@pytest.mark.parametrize("body", [{}, {"actions": "notify"}, {"actions": ["shout"]}, {"actions": [{}]}])
async def test_actions_are_actions(rooms: RoomServer, body: Any) -> None:
    (await rooms.alice.put(f"{MASTER}/actions", body)).refused(400, "M_BAD_JSON")


async def test_without_an_access_token(rooms: RoomServer) -> None:
    v3 = "/_matrix/client/v3"
    for path in ("/pushrules/", f"{RULES}/", MASTER, f"{MASTER}/enabled", f"{MASTER}/actions"):
        (await rooms.client.get(v3 + path)).refused(401, "M_MISSING_TOKEN")
    for path in (MASTER, f"{MASTER}/enabled", f"{MASTER}/actions"):
        (await rooms.client.put(v3 + path)).refused(401, "M_MISSING_TOKEN")
    (await rooms.client.delete(v3 + MASTER)).refused(401, "M_MISSING_TOKEN")


async def test_sync_tells_of_changes(rooms: RoomServer) -> None:
    alice = rooms.alice
    answer = await alice.sync()
    assert told(answer) == (await alice.get("/pushrules/")).ok()
    changes = [
        alice.put(f"{RULES}/content/x", CAKE),
        alice.put(f"{RULES}/content/x/enabled", {"enabled": False}),
        alice.put(f"{MESSAGE}/actions", {"actions": []}),
        alice.delete(f"{RULES}/content/x"),
    ]
    for change in changes:
        since = answer["next_batch"]
        poll = asyncio.create_task(alice.sync(since, timeout=60_000))
        (await change).ok()
        answer = await asyncio.wait_for(poll, 30)
        assert told(answer) == (await alice.get("/pushrules/")).ok()
        assert "account_data" not in await alice.sync(answer["next_batch"])
        assert told(await alice.sync(since)) == told(answer)
    assert told(await rooms.bob.sync())["global"]["content"] == []


async def test_what_does_not_change_is_no_news(rooms: RoomServer) -> None:
    alice = rooms.alice
    (await alice.put(f"{RULES}/content/x", CAKE)).ok()
    since = (await alice.sync())["next_batch"]
    (await alice.put(f"{RULES}/content/x", CAKE)).ok()
    (await alice.put(f"{RULES}/content/x/enabled", {"enabled": True})).ok()
    (await alice.put(f"{MASTER}/enabled", {"enabled": False})).ok()
    (await alice.put(f"{MESSAGE}/actions", {"actions": ["notify"]})).ok()
    assert await alice.sync(since) == no_news(since)


async def test_filters_hold_them_back(rooms: RoomServer) -> None:
    assert "account_data" not in await rooms.alice.sync(
        filter='{"account_data":{"not_types":["m.push_rules"]}}'
    )
    only = '{"account_data":{"types":["m.push_rules"]}}'
    (await rooms.alice.put(f"/user/{ALICE}/account_data/x", {})).ok()
    assert len((await rooms.alice.sync(filter=only))["account_data"]["events"]) == 1
