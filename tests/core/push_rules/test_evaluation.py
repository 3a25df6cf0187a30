"""Which events rules match: every default rule, every kind of condition, and what actions come to."""

from collections.abc import Mapping
from typing import Any

import pytest

from homeserver.core.power_levels import PowerLevels
from homeserver.core.push_rules import (
    Changes,
    Kind,
    PushContext,
    PushRule,
    matches,
    matching_rule,
    outcome,
    ruleset,
)
from homeserver.core.room_versions import rules_for

ALICE, BOB, CAROL = "@alice:a.test", "@bob:b.test", "@carol:a.test"
ROOM = "!room:a.test"
LEVELS = PowerLevels(
    rules_for("11"), {"users": {BOB: 50, CAROL: 49}, "notifications": {"call": 60}}, frozenset()
)
CONTEXT = PushContext(3, LEVELS, "Alice M.")
PAIR = PushContext(2, LEVELS, "Alice M.")


def event(kind: str, content: Mapping[str, Any], sender: str = BOB, **more: Any) -> dict[str, Any]:
    return {"type": kind, "content": content, "sender": sender, "room_id": ROOM, "event_id": "$e", **more}


def text(body: str, **content: Any) -> dict[str, Any]:
    return event("m.room.message", {"msgtype": "m.text", "body": body, **content})


def member(membership: str, user_id: str) -> dict[str, Any]:
    return event("m.room.member", {"membership": membership}, state_key=user_id)


NOTICE = event("m.room.message", {"msgtype": "m.notice", "body": "x"})
MENTION = text("hi", **{"m.mentions": {"user_ids": [CAROL, ALICE]}})
ROOM_MENTION = text("hi", **{"m.mentions": {"room": True}})
EDIT = text("* hi", **{"m.relates_to": {"rel_type": "m.replace", "event_id": "$x"}})
ENCRYPTED = event("m.room.encrypted", {"algorithm": "m.megolm.v1.aes-sha2"})


@pytest.mark.parametrize(
    ("rule_id", "told", "context", "expected"),
    [
        (".m.rule.master", text("anything"), CONTEXT, True),
        (".m.rule.master", event("x", {}), CONTEXT, True),
        (".m.rule.suppress_notices", NOTICE, CONTEXT, True),
        (".m.rule.suppress_notices", text("m.notice"), CONTEXT, False),
        (".m.rule.invite_for_me", member("invite", ALICE), CONTEXT, True),
        (".m.rule.invite_for_me", member("invite", CAROL), CONTEXT, False),
        (".m.rule.invite_for_me", member("join", ALICE), CONTEXT, False),
        (".m.rule.member_event", member("join", CAROL), CONTEXT, True),
        (".m.rule.member_event", text("m.room.member"), CONTEXT, False),
        (".m.rule.is_user_mention", MENTION, CONTEXT, True),
        (".m.rule.is_user_mention", text("@alice:a.test"), CONTEXT, False),
        (".m.rule.is_user_mention", text("", **{"m.mentions": {"user_ids": ALICE}}), CONTEXT, False),
        (".m.rule.is_room_mention", ROOM_MENTION, CONTEXT, True),
        (".m.rule.is_room_mention", {**ROOM_MENTION, "sender": CAROL}, CONTEXT, False),
        (".m.rule.is_room_mention", ROOM_MENTION, PushContext(3), False),
        (".m.rule.is_room_mention", text("@room", **{"m.mentions": {"room": 1}}), CONTEXT, False),
        (".m.rule.tombstone", event("m.room.tombstone", {}, state_key=""), CONTEXT, True),
        (".m.rule.tombstone", event("m.room.tombstone", {}, state_key="x"), CONTEXT, False),
        (".m.rule.tombstone", event("m.room.tombstone", {}), CONTEXT, False),
        (".m.rule.reaction", event("m.reaction", {}), CONTEXT, True),
        (".m.rule.reaction", text("x"), CONTEXT, False),
        (".m.rule.room.server_acl", event("m.room.server_acl", {}, state_key=""), CONTEXT, True),
        (".m.rule.room.server_acl", event("m.room.server_acl", {}), CONTEXT, False),
        (".m.rule.suppress_edits", EDIT, CONTEXT, True),
        (".m.rule.suppress_edits", text("", **{"m.relates_to": {"rel_type": "m.thread"}}), CONTEXT, False),
        (".m.rule.call", event("m.call.invite", {}), CONTEXT, True),
        (".m.rule.call", event("m.call.answer", {}), CONTEXT, False),
        (".m.rule.encrypted_room_one_to_one", ENCRYPTED, PAIR, True),
        (".m.rule.encrypted_room_one_to_one", ENCRYPTED, CONTEXT, False),
        (".m.rule.encrypted_room_one_to_one", text("x"), PAIR, False),
        (".m.rule.room_one_to_one", text("x"), PAIR, True),
        (".m.rule.room_one_to_one", text("x"), CONTEXT, False),
        (".m.rule.room_one_to_one", ENCRYPTED, PAIR, False),
        (".m.rule.message", text("x"), CONTEXT, True),
        (".m.rule.message", event("m.sticker", {}), CONTEXT, False),
        (".m.rule.encrypted", ENCRYPTED, CONTEXT, True),
        (".m.rule.encrypted", text("x"), CONTEXT, False),
    ],
)
def test_default_rules(rule_id: str, told: dict[str, Any], context: PushContext, expected: bool) -> None:
    rules = ruleset(ALICE, Changes())
    rule = rules.find(Kind.OVERRIDE, rule_id) or rules.find(Kind.UNDERRIDE, rule_id)
    assert rule is not None
    assert matches(rule, told, context) is expected


@pytest.mark.parametrize(
    ("told", "context", "rule_id"),
    [
        (text("hi"), CONTEXT, ".m.rule.message"),
        (text("hi"), PAIR, ".m.rule.room_one_to_one"),
        (ENCRYPTED, PAIR, ".m.rule.encrypted_room_one_to_one"),
        (NOTICE, PAIR, ".m.rule.suppress_notices"),
        (MENTION, CONTEXT, ".m.rule.is_user_mention"),
        ({**MENTION, "sender": ALICE}, CONTEXT, None),
        (member("invite", ALICE), CONTEXT, ".m.rule.invite_for_me"),
        (member("join", CAROL), CONTEXT, ".m.rule.member_event"),
        (event("m.room.topic", {"topic": "x"}, state_key=""), CONTEXT, None),
        (event("m.call.invite", {}), PAIR, ".m.rule.call"),
    ],
)
def test_the_most_important_rule_decides(
    told: dict[str, Any], context: PushContext, rule_id: str | None
) -> None:
    decided = matching_rule(ruleset(ALICE, Changes()), ALICE, told, context)
    assert (decided and decided.rule_id) == rule_id


@pytest.mark.parametrize(
    ("condition", "told", "expected"),
    [
        ({"kind": "event_match", "key": "content.topic", "pattern": "lunc?*"}, {"topic": "Lunch plans"}, True),
        ({"kind": "event_match", "key": "content.topic", "pattern": "lunc?*"}, {"topic": None}, False),
        ({"kind": "event_match", "key": "content.topic", "pattern": "*"}, {}, False),
        ({"kind": "event_match", "key": "content.topic", "pattern": "7"}, {"topic": 7}, False),
        ({"kind": "event_match", "key": "content.body", "pattern": "ex*ple"}, {"body": "An example."}, True),
        ({"kind": "event_match", "key": "content.formatted_body", "pattern": "b"}, {"formatted_body": "a b"}, False),
        ({"kind": "event_match", "key": r"content.m\.a.b", "pattern": "c"}, {"m.a": {"b": "C"}}, True),
        ({"kind": "event_match", "key": "content.a.b", "pattern": "c"}, {"a": "c"}, False),
        ({"kind": "event_match", "key": "room_id", "pattern": ROOM}, {}, True),
        ({"kind": "event_match", "key": "sender", "pattern": "@*:b.test"}, {}, True),
        ({"kind": "event_match", "key": "content.body"}, {"body": "x"}, False),
        ({"kind": "event_match", "pattern": "x"}, {"body": "x"}, False),
        ({"kind": "event_property_is", "key": r"content.m\.federate", "value": True}, {"m.federate": True}, True),
        ({"kind": "event_property_is", "key": r"content.m\.federate", "value": True}, {"m.federate": "true"}, False),
        ({"kind": "event_property_is", "key": r"content.m\.federate", "value": True}, {"m.federate": 1}, False),
        ({"kind": "event_property_is", "key": "content.n", "value": 1}, {"n": 1}, True),
        ({"kind": "event_property_is", "key": "content.n", "value": 1}, {"n": 1.0}, False),
        ({"kind": "event_property_is", "key": "content.n", "value": None}, {"n": None}, True),
        ({"kind": "event_property_is", "key": "content.n", "value": None}, {}, False),
        ({"kind": "event_property_is", "key": "content.n", "value": "A"}, {"n": "a"}, False),
        ({"kind": "event_property_is", "key": "content.n", "value": []}, {"n": []}, False),
        ({"kind": "event_property_is", "key": "content.n", "value": 2**53}, {"n": 2**53}, False),
        ({"kind": "event_property_is", "key": "content.n"}, {"n": None}, False),
        ({"kind": "event_property_contains", "key": "content.l", "value": "b"}, {"l": ["a", "b"]}, True),
        ({"kind": "event_property_contains", "key": "content.l", "value": "b"}, {"l": ["ab", ["b"]]}, False),
        ({"kind": "event_property_contains", "key": "content.l", "value": "b"}, {"l": "b"}, False),
        ({"kind": "event_property_contains", "key": "content.l", "value": "b"}, {}, False),
        ({"kind": "event_property_contains", "key": "content.l", "value": 1}, {"l": [True]}, False),
        ({"kind": "contains_display_name"}, {"body": "hi alice m., hello"}, True),
        ({"kind": "contains_display_name"}, {"body": "hi malice m."}, False),
        ({"kind": "contains_display_name"}, {"body": ["Alice M."]}, False),
        ({"kind": "room_member_count", "is": "3"}, {}, True),
        ({"kind": "room_member_count", "is": "==3"}, {}, True),
        ({"kind": "room_member_count", "is": "2"}, {}, False),
        ({"kind": "room_member_count", "is": "<3"}, {}, False),
        ({"kind": "room_member_count", "is": "<=3"}, {}, True),
        ({"kind": "room_member_count", "is": ">2"}, {}, True),
        ({"kind": "room_member_count", "is": ">=4"}, {}, False),
        ({"kind": "room_member_count", "is": "=3"}, {}, False),
        ({"kind": "room_member_count", "is": "many"}, {}, False),
        ({"kind": "room_member_count", "is": 3}, {}, False),
        ({"kind": "sender_notification_permission", "key": "room"}, {}, True),
        ({"kind": "sender_notification_permission", "key": "call"}, {}, False),
        ({"kind": "sender_notification_permission", "key": "unheard_of"}, {}, True),
        ({"kind": "sender_notification_permission"}, {}, False),
        ({"kind": "org.example.unheard_of"}, {}, False),
        ({}, {}, False),
    ],
)  # fmt: skip
def test_conditions(condition: dict[str, Any], told: dict[str, Any], expected: bool) -> None:
    rule = PushRule(Kind.OVERRIDE, "r", ["notify"], [condition])
    assert matches(rule, event("x", told), CONTEXT) is expected


def test_all_conditions_must_hold() -> None:
    conditions = [
        {"kind": "room_member_count", "is": "3"},
        {"kind": "event_match", "key": "type", "pattern": "x"},
    ]
    rule = PushRule(Kind.UNDERRIDE, "r", [], conditions)
    assert matches(rule, event("x", {}), CONTEXT)
    assert not matches(rule, event("y", {}), CONTEXT)
    assert not matches(rule, event("x", {}), PAIR)
    assert matches(PushRule(Kind.UNDERRIDE, "r", [], []), event("y", {}), PAIR)


def test_without_a_display_name_none_is_found() -> None:
    rule = PushRule(Kind.OVERRIDE, "r", [], [{"kind": "contains_display_name"}])
    assert not matches(rule, text("anything"), PushContext(2))
    assert not matches(rule, text("anything"), PushContext(2, display_name=""))


@pytest.mark.parametrize(
    ("rule", "told", "expected"),
    [
        (PushRule(Kind.CONTENT, "r", [], pattern="cake"), text("Cake!"), True),
        (PushRule(Kind.CONTENT, "r", [], pattern="cake"), text("cakes"), False),
        (PushRule(Kind.CONTENT, "r", [], pattern="cake"), event("any.type", {"body": "cake"}), True),
        (PushRule(Kind.CONTENT, "r", [], pattern="cake"), event("any.type", {"body": {}}), False),
        (PushRule(Kind.ROOM, ROOM, []), text("x"), True),
        (PushRule(Kind.ROOM, "!other:a.test", []), text("x"), False),
        (PushRule(Kind.SENDER, BOB, []), text("x"), True),
        (PushRule(Kind.SENDER, CAROL, []), text("x"), False),
    ],
)
def test_kinds_that_have_their_conditions_by_themselves(
    rule: PushRule, told: dict[str, Any], expected: bool
) -> None:
    assert matches(rule, told, CONTEXT) is expected


def test_kinds_are_checked_in_their_order() -> None:
    own = {
        Kind.UNDERRIDE: [PushRule(Kind.UNDERRIDE, "underride", [])],
        Kind.SENDER: [PushRule(Kind.SENDER, BOB, [])],
        Kind.ROOM: [PushRule(Kind.ROOM, ROOM, [])],
        Kind.CONTENT: [
            PushRule(Kind.CONTENT, "tea", [], pattern="tea"),
            PushRule(Kind.CONTENT, "time", [], pattern="time"),
        ],
        Kind.OVERRIDE: [PushRule(Kind.OVERRIDE, "override", [])],
    }
    told = text("It's time for tea")
    order = []
    while (rule := matching_rule(ruleset(ALICE, Changes(own)), ALICE, told, CONTEXT)) is not None:
        order.append(rule.rule_id)
        if rule.default:
            break
        own[rule.kind] = [each for each in own[rule.kind] if each != rule]
    assert order == ["override", "tea", "time", ROOM, BOB, "underride", ".m.rule.message"]


@pytest.mark.parametrize(
    ("actions", "notify", "tweaks", "highlight"),
    [
        ([], False, {}, False),
        (["notify"], True, {}, False),
        (["notify", {"set_tweak": "highlight"}], True, {"highlight": True}, True),
        (["notify", {"set_tweak": "highlight", "value": False}], True, {"highlight": False}, False),
        ([{"set_tweak": "sound", "value": "bing"}], False, {"sound": "bing"}, False),
        (["dont_notify", "coalesce", {"set_tweak": 7}, {"other": 1}], False, {}, False),
        (["notify", {"set_tweak": "led"}], True, {"led": None}, False),
    ],
)
def test_outcomes(actions: list[Any], notify: bool, tweaks: dict[str, Any], highlight: bool) -> None:
    result = outcome(actions)
    assert (result.notify, dict(result.tweaks), result.highlight) == (notify, tweaks, highlight)
