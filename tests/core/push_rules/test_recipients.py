"""One event for many users comes to what it would for each of them alone."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from homeserver.core.power_levels import PowerLevels
from homeserver.core.push_rules import (
    Changes,
    Kind,
    PushContext,
    PushRule,
    Ruleset,
    asks_for_name,
    decide,
    matching_rule,
    outcome,
    put_rule,
    ruleset,
    set_actions,
    set_enabled,
)
from homeserver.core.room_versions import rules_for

USERS = ("@alice:test", "@bob:test", "@carol:test", "@dave:test")
ROOM = "!room:test"


def _changes(user_id: str) -> list[Changes | None]:
    named = PushRule(Kind.OVERRIDE, "name", ("notify",), ({"kind": "contains_display_name"},))
    muted = PushRule(Kind.ROOM, ROOM, ())
    word = PushRule(Kind.CONTENT, "word", ("notify", {"set_tweak": "highlight"}), (), "cake")
    silent = ["notify"]
    return [
        None,
        Changes(),
        put_rule(Changes(), named),
        put_rule(Changes(), muted),
        put_rule(Changes(), word),
        set_enabled(Changes(), user_id, Kind.OVERRIDE, ".m.rule.master", True),
        set_enabled(Changes(), user_id, Kind.OVERRIDE, ".m.rule.suppress_edits", False),
        set_actions(Changes(), user_id, Kind.UNDERRIDE, ".m.rule.message", silent),
    ]


mentions = st.one_of(
    st.none(),
    st.fixed_dictionaries(
        {},
        optional={
            "user_ids": st.lists(st.sampled_from((*USERS, "@:", "@::", 1)), max_size=3),
            "room": st.booleans(),
        },
    ),
)
contents = st.fixed_dictionaries(
    {"body": st.sampled_from(("Bob has cake", "nothing", "BOB"))},
    optional={
        "msgtype": st.sampled_from(("m.text", "m.notice")),
        "m.mentions": mentions,
        "membership": st.sampled_from(("join", "invite")),
        "m.relates_to": st.just({"rel_type": "m.replace", "event_id": "$x"}),
    },
)
events = st.fixed_dictionaries(
    {
        "type": st.sampled_from(
            ("m.room.message", "m.room.member", "m.room.encrypted", "m.reaction", "m.call.invite")
        ),
        "sender": st.just("@eve:test"),
        "room_id": st.just(ROOM),
        "content": contents,
    },
    optional={"state_key": st.sampled_from(("", "@:", *USERS, USERS[0].upper()))},
)


@given(event=events, chosen=st.lists(st.integers(0, 7), min_size=4, max_size=4), members=st.integers(1, 3))
def test_it_is_for_each_what_it_would_be_alone(
    event: dict[str, Any], chosen: list[int], members: int
) -> None:
    changed: dict[str, Ruleset] = {}
    alone = {}
    levels = PowerLevels(rules_for("11"), {"users": {"@eve:test": 50}}, frozenset())
    names = {"@bob:test": "Bob"}
    for user_id, number in zip(USERS, chosen, strict=True):
        changes = _changes(user_id)[number]
        if changes is not None:
            changed[user_id] = ruleset(user_id, changes)
        rules = ruleset(user_id, changes or Changes())
        rule = matching_rule(rules, user_id, event, PushContext(members, levels, names.get(user_id)))
        alone[user_id] = list(rule.actions) if rule and outcome(rule.actions).notify else []
    decided = decide(event, USERS, changed, PushContext(members, levels), names)
    together = {user_id: list(decided.others.get(user_id, decided.usual)) for user_id in USERS}
    assert together == alone


def test_which_rules_ask_for_the_name() -> None:
    kinds = _changes("@bob:test")
    assert [asks_for_name(ruleset("@bob:test", each)) for each in kinds if each is not None] == [
        False,
        True,
        False,
        False,
        False,
        False,
        False,
    ]
