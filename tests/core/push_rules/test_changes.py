"""A user's push rules: the default ones to the letter, own rules in their order, overrides, and what is refused."""

import json
from typing import Any

import pytest

from homeserver.core.errors import MatrixError
from homeserver.core.push_rules import (
    Changes,
    Kind,
    PushRule,
    changes_from,
    delete_rule,
    parse_actions,
    parse_kind,
    parse_rule,
    put_rule,
    ruleset,
    set_actions,
    set_enabled,
)
from homeserver.core.push_rules.changes import MAX_PATTERN_CHARACTERS, MAX_RULES

ALICE = "@alice:a.test"
SOUND = {"set_tweak": "sound", "value": "default"}
HIGHLIGHT = {"set_tweak": "highlight"}


def match(key: str, pattern: str) -> dict[str, str]:
    return {"kind": "event_match", "key": key, "pattern": pattern}


# The definitions of https://spec.matrix.org/v1.19/client-server-api/#predefined-rules, in their order.
OVERRIDE: list[tuple[str, list[Any], list[Any]]] = [
    (".m.rule.master", [], []),
    (".m.rule.suppress_notices", [match("content.msgtype", "m.notice")], []),
    (
        ".m.rule.invite_for_me",
        [match("type", "m.room.member"), match("content.membership", "invite"), match("state_key", ALICE)],
        ["notify", SOUND],
    ),
    (".m.rule.member_event", [match("type", "m.room.member")], []),
    (
        ".m.rule.is_user_mention",
        [{"kind": "event_property_contains", "key": "content.m\\.mentions.user_ids", "value": ALICE}],
        ["notify", SOUND, HIGHLIGHT],
    ),
    (
        ".m.rule.is_room_mention",
        [
            {"kind": "event_property_is", "key": "content.m\\.mentions.room", "value": True},
            {"kind": "sender_notification_permission", "key": "room"},
        ],
        ["notify", HIGHLIGHT],
    ),
    (".m.rule.tombstone", [match("type", "m.room.tombstone"), match("state_key", "")], ["notify", HIGHLIGHT]),
    (".m.rule.reaction", [match("type", "m.reaction")], []),
    (".m.rule.room.server_acl", [match("type", "m.room.server_acl"), match("state_key", "")], []),
    (
        ".m.rule.suppress_edits",
        [{"kind": "event_property_is", "key": "content.m\\.relates_to.rel_type", "value": "m.replace"}],
        [],
    ),
]
TWO = {"kind": "room_member_count", "is": "2"}
UNDERRIDE: list[tuple[str, list[Any], list[Any]]] = [
    (
        ".m.rule.call",
        [match("type", "m.call.invite")],
        ["notify", {"set_tweak": "sound", "value": "ring"}],
    ),
    (".m.rule.encrypted_room_one_to_one", [TWO, match("type", "m.room.encrypted")], ["notify", SOUND]),
    (".m.rule.room_one_to_one", [TWO, match("type", "m.room.message")], ["notify", SOUND]),
    (".m.rule.message", [match("type", "m.room.message")], ["notify"]),
    (".m.rule.encrypted", [match("type", "m.room.encrypted")], ["notify"]),
]


def test_the_default_rules_are_those_of_the_specification() -> None:
    def bodies(rules: list[tuple[str, list[Any], list[Any]]]) -> list[dict[str, Any]]:
        return [
            {
                "rule_id": rule_id,
                "default": True,
                "enabled": rule_id != ".m.rule.master",
                "conditions": conditions,
                "actions": actions,
            }
            for rule_id, conditions, actions in rules
        ]

    assert ruleset(ALICE, Changes()).body() == {
        "override": bodies(OVERRIDE),
        "content": [],
        "room": [],
        "sender": [],
        "underride": bodies(UNDERRIDE),
    }


def content(rule_id: str, pattern: str = "x", **more: Any) -> PushRule:
    return PushRule(Kind.CONTENT, rule_id, ["notify"], pattern=pattern, **more)


def order(changes: Changes, kind: Kind = Kind.CONTENT) -> list[str]:
    return [rule.rule_id for rule in ruleset(ALICE, changes).rules[kind]]


def three() -> Changes:
    changes = Changes()
    for rule_id in ("c", "b", "a"):
        changes = put_rule(changes, content(rule_id))
    return changes


def test_a_new_rule_is_the_most_important_of_the_users_own() -> None:
    assert order(three()) == ["a", "b", "c"]
    override = put_rule(Changes(), PushRule(Kind.OVERRIDE, "own", []))
    assert order(override, Kind.OVERRIDE)[:3] == [".m.rule.master", "own", ".m.rule.suppress_notices"]
    underride = put_rule(Changes(), PushRule(Kind.UNDERRIDE, "own", []))
    assert order(underride, Kind.UNDERRIDE)[:2] == ["own", ".m.rule.call"]


@pytest.mark.parametrize(
    ("rule_id", "before", "after", "expected"),
    [
        ("new", None, None, "new a b c"),
        ("new", "a", None, "new a b c"),
        ("new", "c", None, "a b new c"),
        ("new", None, "a", "a new b c"),
        ("new", None, "c", "a b c new"),
        # "If both `after` and `before` are provided, the new or updated rule must be the next most important rule with
        # respect to the rule identified by `before`."
        ("new", "b", "c", "a new b c"),
        ("b", None, None, "a b c"),
        ("b", "a", None, "b a c"),
        ("b", None, "c", "a c b"),
        ("a", "c", None, "b a c"),
        ("c", None, "a", "a c b"),
    ],
)
def test_before_and_after(rule_id: str, before: str | None, after: str | None, expected: str) -> None:
    changes = put_rule(three(), content(rule_id, "changed"), before=before, after=after)
    assert order(changes) == expected.split()
    changed = ruleset(ALICE, changes).find(Kind.CONTENT, rule_id)
    assert changed is not None and changed.pattern == "changed"


@pytest.mark.parametrize("beside", ["nobody", ".m.rule.message", "new"])
def test_rules_relative_to_which_none_can_be_added(beside: str) -> None:
    for given in ({"before": beside}, {"after": beside}, {"before": "a", "after": beside}):
        with pytest.raises(MatrixError) as refused:
            put_rule(three(), content("new"), **given)
        assert (refused.value.status, refused.value.errcode) == (400, "M_UNKNOWN")
        assert beside in refused.value.message


def test_a_rule_that_is_changed_stays_disabled() -> None:
    disabled = set_enabled(three(), ALICE, Kind.CONTENT, "b", False)
    changed = put_rule(disabled, content("b", "other"))
    rule = ruleset(ALICE, changed).find(Kind.CONTENT, "b")
    assert rule == content("b", "other", enabled=False)
    again = put_rule(delete_rule(changed, ALICE, Kind.CONTENT, "b"), content("b"))
    assert ruleset(ALICE, again).find(Kind.CONTENT, "b") == content("b")


def test_overrides_of_default_rules() -> None:
    changes = set_enabled(Changes(), ALICE, Kind.OVERRIDE, ".m.rule.master", True)
    changes = set_actions(changes, ALICE, Kind.UNDERRIDE, ".m.rule.message", [])
    changes = set_enabled(changes, ALICE, Kind.UNDERRIDE, ".m.rule.message", False)
    rules = ruleset(ALICE, changes)
    master, message = (
        rules.find(Kind.OVERRIDE, ".m.rule.master"),
        rules.find(Kind.UNDERRIDE, ".m.rule.message"),
    )
    assert master is not None and master.enabled
    assert message is not None and not message.enabled and message.actions == [] and message.default
    assert order(changes, Kind.UNDERRIDE) == [rule_id for rule_id, _, _ in UNDERRIDE]
    # What is as it was by itself is not kept.
    changes = set_enabled(changes, ALICE, Kind.OVERRIDE, ".m.rule.master", False)
    changes = set_enabled(changes, ALICE, Kind.UNDERRIDE, ".m.rule.message", True)
    assert changes == set_actions(Changes(), ALICE, Kind.UNDERRIDE, ".m.rule.message", [])
    assert set_actions(changes, ALICE, Kind.UNDERRIDE, ".m.rule.message", ["notify"]) == Changes()


def test_own_rules_are_disabled_and_given_other_actions() -> None:
    changes = set_enabled(three(), ALICE, Kind.CONTENT, "b", False)
    changes = set_actions(changes, ALICE, Kind.CONTENT, "b", [])
    rule = ruleset(ALICE, changes).find(Kind.CONTENT, "b")
    assert rule is not None and (rule.enabled, list(rule.actions)) == (False, [])
    assert order(changes) == ["a", "b", "c"]


def test_what_is_not_there_is_not_found() -> None:
    for kind, rule_id in ((Kind.CONTENT, "z"), (Kind.ROOM, "a"), (Kind.UNDERRIDE, ".m.rule.master")):
        for change in (
            lambda kind, rule_id: delete_rule(three(), ALICE, kind, rule_id),
            lambda kind, rule_id: set_enabled(three(), ALICE, kind, rule_id, True),
            lambda kind, rule_id: set_actions(three(), ALICE, kind, rule_id, []),
        ):
            with pytest.raises(MatrixError) as refused:
                change(kind, rule_id)
            assert (refused.value.status, refused.value.errcode) == (404, "M_NOT_FOUND")


def test_default_rules_cannot_be_deleted() -> None:
    with pytest.raises(MatrixError) as refused:
        delete_rule(Changes(), ALICE, Kind.UNDERRIDE, ".m.rule.message")
    assert (refused.value.status, refused.value.errcode) == (400, "M_INVALID_PARAM")


def test_changes_go_through_json() -> None:
    changes = set_enabled(three(), ALICE, Kind.CONTENT, "b", False)
    changes = put_rule(changes, PushRule(Kind.OVERRIDE, "o", (SOUND,), (TWO,)))
    changes = put_rule(changes, PushRule(Kind.ROOM, "!r:a.test", ()))
    changes = set_actions(changes, ALICE, Kind.UNDERRIDE, ".m.rule.call", ["notify"])
    changes = set_enabled(changes, ALICE, Kind.OVERRIDE, ".m.rule.master", True)
    stored = json.loads(json.dumps(changes.body()))
    assert changes_from(stored).body() == changes.body()
    assert ruleset(ALICE, changes_from(stored)).body() == ruleset(ALICE, changes).body()
    assert changes_from(Changes().body()) == Changes()


def test_a_change_of_a_rule_that_is_no_more_does_no_harm() -> None:
    stored = {"rules": {}, "overrides": {".m.rule.contains_display_name": {"enabled": False}}}
    assert ruleset(ALICE, changes_from(stored)).body() == ruleset(ALICE, Changes()).body()


def test_there_is_an_end_to_rules_and_patterns() -> None:
    rooms = [PushRule(Kind.ROOM, f"!{number}:a.test", ()) for number in range(MAX_RULES)]
    with pytest.raises(MatrixError) as refused:
        put_rule(Changes({Kind.ROOM: rooms}), content("one too many"))
    assert (refused.value.status, refused.value.errcode) == (400, "M_UNKNOWN")
    long = [content(str(number), "x" * 200) for number in range(MAX_PATTERN_CHARACTERS // 200)]
    condition = match("content.body", "x" * 200)
    for rule in (content("new", "x" * 200), PushRule(Kind.OVERRIDE, "new", (), (condition,))):
        with pytest.raises(MatrixError) as refused:
            put_rule(Changes({Kind.CONTENT: long}), rule)
        assert (refused.value.status, refused.value.errcode) == (400, "M_UNKNOWN")


@pytest.mark.parametrize(
    ("kind", "rule_id"),
    [
        ("content", ".m.rule.mine"),
        ("content", "a/b"),
        ("content", "a\\b"),
        ("content", ""),
        ("content", "ü" * 128),
        ("room", "#alias:a.test"),
        ("room", "tea"),
        ("sender", "tea"),
        ("sender", "!room:a.test"),
    ],
)
def test_rule_ids_that_cannot_be(kind: str, rule_id: str) -> None:
    with pytest.raises(MatrixError) as refused:
        parse_rule(Kind(kind), rule_id, [], [], "x")
    assert (refused.value.status, refused.value.errcode) == (400, "M_INVALID_PARAM")


@pytest.mark.parametrize(
    ("kind", "conditions", "pattern", "path"),
    [
        ("content", [], None, "$.pattern"),
        ("content", [], "x" * 256, "$.pattern"),
        ("override", ["x"], None, "$.conditions[0]"),
        ("override", [TWO, {}], None, "$.conditions[1]"),
        ("override", [{"kind": 7}], None, "$.conditions[0]"),
        ("underride", [{"kind": "event_match", "key": "a"}], None, "$.conditions[0].pattern"),
        ("underride", [{"kind": "event_match", "pattern": "a"}], None, "$.conditions[0].key"),
        ("underride", [match("a", "x" * 256)], None, "$.conditions[0].pattern"),
        ("underride", [{"kind": "event_property_is", "value": 1}], None, "$.conditions[0].key"),
        ("underride", [{"kind": "event_property_is", "key": "a"}], None, "$.conditions[0].value"),
        (
            "underride",
            [{"kind": "event_property_is", "key": "a", "value": 1.5}],
            None,
            "$.conditions[0].value",
        ),
        (
            "underride",
            [{"kind": "event_property_contains", "key": "a", "value": []}],
            None,
            "$.conditions[0].value",
        ),
        ("underride", [{"kind": "room_member_count", "is": 2}], None, "$.conditions[0].is"),
        ("underride", [{"kind": "room_member_count", "is": "=2"}], None, "$.conditions[0].is"),
        ("underride", [{"kind": "sender_notification_permission"}], None, "$.conditions[0].key"),
    ],
)
def test_what_is_wrong_with_a_rule_is_named(
    kind: str, conditions: list[Any], pattern: str | None, path: str
) -> None:
    with pytest.raises(MatrixError) as refused:
        parse_rule(Kind(kind), "id", [], conditions, pattern)
    assert refused.value.errcode == "M_BAD_JSON" and f"`{path}`" in refused.value.message


def test_rules_keep_what_their_kind_has() -> None:
    unheard_of = {"kind": "org.example.unheard_of", "x": 1}
    rule = parse_rule(Kind.OVERRIDE, "id", ["notify"], [unheard_of, TWO], "pattern")
    assert rule == PushRule(Kind.OVERRIDE, "id", ("notify",), (unheard_of, TWO))
    rule = parse_rule(Kind.CONTENT, "id", [], [TWO], "pattern")
    assert rule == PushRule(Kind.CONTENT, "id", (), (), "pattern")
    rule = parse_rule(Kind.ROOM, "!31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM", [], [TWO], "pattern")
    assert "conditions" not in rule.body() and "pattern" not in rule.body()


def test_actions() -> None:
    given = ["dont_notify", "notify", {"set_tweak": "led", "value": [1], "more": 2}, "coalesce"]
    assert parse_actions(given) == ("notify", {"set_tweak": "led", "value": [1], "more": 2})
    for wrong in ("shout", 7, None, {"value": 1}, {"set_tweak": 7}, []):
        with pytest.raises(MatrixError) as refused:
            parse_actions(["notify", wrong])
        assert refused.value.errcode == "M_BAD_JSON" and "`$.actions[1]`" in refused.value.message


def test_kinds() -> None:
    assert [parse_kind(kind.value) for kind in Kind] == list(Kind)
    with pytest.raises(MatrixError) as refused:
        parse_kind("device")
    assert refused.value.errcode == "M_INVALID_PARAM"
