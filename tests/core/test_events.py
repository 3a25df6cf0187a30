"""Events: formats, hashes, IDs, size limits and every refusal, in every room version."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from homeserver.core.canonical_json import decode_json, encode_canonical
from homeserver.core.errors import EventTooLarge, InvalidEvent
from homeserver.core.event_format import MAX_EVENT_BYTES
from homeserver.core.events import (
    Event,
    client_event,
    compute_event_id,
    content_hash,
    has_valid_content_hash,
    left_as_found,
    load_event,
    make_event,
    parse_pdu,
    redact,
    reference_to,
)
from homeserver.core.identifiers import is_hash_event_id, is_url_safe_hash_event_id
from homeserver.core.room_versions import ROOM_VERSIONS, EventIDFormat, RoomRules, rules_for
from tests.core.strategies import (
    KEY_ID,
    QUICK,
    SERVER_NAME,
    SIGNING_KEY,
    contents,
    create_event,
    events,
    next_event,
    pdu_of,
)

VECTORS = json.loads((Path(__file__).parent / "vectors" / "signing.json").read_text())["events"]
HASH = "Nhcu5BS-UMnFX7hBVfVSoXiD7OgH6iRT-xyIuqDnpYQ"
ALL = list(ROOM_VERSIONS.values())
V2, V10, V12 = rules_for("2"), rules_for("10"), rules_for("12")


def message(rules: RoomRules) -> Event:
    return next_event(create_event(rules))


@pytest.mark.parametrize("vector", VECTORS)
def test_content_hashes_of_the_specification(vector: dict[str, Any]) -> None:
    assert content_hash(vector["input"]) == vector["signed"]["hashes"]["sha256"]
    assert content_hash(vector["signed"]) == vector["signed"]["hashes"]["sha256"]


@QUICK
@given(events())
def test_every_event_we_make_is_one_we_would_accept(event: Event) -> None:
    parsed = parse_pdu(decode_json(event.canonical), event.rules, room_id=event.room_id)
    assert parsed == event
    assert has_valid_content_hash(parsed)
    assert parsed.canonical == encode_canonical(event.pdu)
    for name in Event.__slots__:
        assert getattr(parsed, name) == getattr(event, name), name


@QUICK
@given(events())
def test_what_was_stored_is_what_is_loaded(event: Event) -> None:
    loaded = load_event(event.canonical, event.event_id, event.rules)
    for name in Event.__slots__:
        assert getattr(loaded, name) == getattr(event, name), name
    assert loaded == event
    assert hash(loaded) == hash(event)


@QUICK
@given(events(), contents)
def test_unsigned_and_signatures_change_neither_the_id_nor_the_bytes(
    event: Event, unsigned: dict[str, Any]
) -> None:
    pdu = {**event.pdu, "unsigned": unsigned}
    assert compute_event_id(pdu, event.rules) == event.event_id
    parsed = parse_pdu(pdu, event.rules)
    assert parsed.canonical == event.canonical
    assert parsed.unsigned == unsigned
    resigned = event.with_signatures({"other": {KEY_ID: "x"}})
    assert compute_event_id(resigned.pdu, event.rules) == resigned.event_id == event.event_id
    assert has_valid_content_hash(resigned)


@pytest.mark.parametrize("rules", ALL, ids=lambda rules: f"v{rules.version}")
def test_event_ids_have_the_format_of_their_room_version(rules: RoomRules) -> None:
    event = message(rules)
    match rules.event_id_format:
        case EventIDFormat.SERVER_CHOSEN:
            assert event.event_id == event.pdu["event_id"] == "$next:domain"
            assert event.pdu["prev_events"][0][0] == "$create:domain"
            assert len(event.pdu["prev_events"][0][1]["sha256"]) == 43
        case EventIDFormat.HASH:
            assert is_hash_event_id(event.event_id)
        case EventIDFormat.URL_SAFE_HASH:
            assert is_url_safe_hash_event_id(event.event_id)
    if rules.event_id_format is not EventIDFormat.SERVER_CHOSEN:
        assert "event_id" not in event.pdu
        assert event.pdu["prev_events"] == list(event.prev_event_ids)


def test_an_event_id_of_hashes_covers_what_redaction_keeps_and_the_content_hash() -> None:
    event = message(V10)
    changed = pdu_of(event, content={"body": "other"})
    assert parse_pdu(changed, V10).event_id == event.event_id
    assert not has_valid_content_hash(parse_pdu(changed, V10))
    changed["hashes"] = {"sha256": content_hash(changed)}
    assert parse_pdu(changed, V10).event_id != event.event_id
    assert parse_pdu(pdu_of(event, depth=7), V10).event_id != event.event_id


@pytest.mark.parametrize("sha256", ["", "!!!", "é", "5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos", "AAAA"])
def test_a_wrong_content_hash_is_no_failure_but_false(sha256: str) -> None:
    assert not has_valid_content_hash(parse_pdu(pdu_of(message(V10), hashes={"sha256": sha256}), V10))


def test_a_content_hash_may_come_padded() -> None:
    event = message(V10)
    padded = pdu_of(event, hashes={"sha256": event.hashes["sha256"] + "="})
    assert has_valid_content_hash(parse_pdu(padded, V10))


def test_a_redacted_event_fails_its_content_hash() -> None:
    assert not has_valid_content_hash(redact(message(V12)))


def test_the_room_of_version_12_is_its_create_event() -> None:
    create = create_event(V12)
    assert "room_id" not in create.pdu
    assert create.room_id == "!" + create.event_id[1:]
    event = next_event(create)
    assert event.room_id == create.room_id
    assert event.auth_event_ids == ()
    assert event.auth_event_ids_with_create == (create.event_id,)
    assert create.auth_event_ids_with_create == ()
    listed = next_event(create, auth_events=[create.event_id])
    assert listed.auth_event_ids == listed.auth_event_ids_with_create == (create.event_id,)
    assert load_event(create.canonical, create.event_id, V12).room_id == create.room_id
    old = message(V10)
    assert old.auth_event_ids == old.auth_event_ids_with_create != ()


def test_the_properties_of_events() -> None:
    create = create_event(V10)
    join = next_event(create, type="m.room.member", state_key="@alice:domain", content={"membership": "join"})
    assert join.is_state
    assert join.key == ("m.room.member", "@alice:domain")
    assert join.membership == "join"
    assert join.sender_domain == "domain"
    text = message(V10)
    assert not text.is_state
    assert text.membership is None
    with pytest.raises(TypeError, match="is not a state event"):
        _ = text.key
    odd = next_event(create, type="m.room.member", state_key="@alice:domain", content={"membership": 1})
    assert odd.membership is None
    assert next_event(create, content={"membership": "join"}).membership is None
    assert repr(create) == f"<Event {create.event_id} m.room.create v10>"


def test_an_event_does_not_change() -> None:
    event = message(V12)
    with pytest.raises(AttributeError, match="does not change"):
        event.sender = "@mallory:domain"
    with pytest.raises(AttributeError, match="does not change"):
        del event.content
    with pytest.raises(AttributeError, match="has no 'origin'"):
        _ = event.origin  # type: ignore[attr-defined]
    content = {"body": "before"}
    made = next_event(create_event(V12), content=content)
    content["body"] = "after"
    assert made.content == {"body": "before"}


def test_events_are_equal_if_they_are_the_same_in_every_byte() -> None:
    event = message(V12)
    assert event != redact(event)
    assert event != event.with_signatures({})
    assert event != "event"
    assert len({event, message(V12)}) == 1


@pytest.mark.parametrize("rules", [V2, V10, rules_for("11"), V12], ids=lambda rules: f"v{rules.version}")
def test_redactions_name_their_target_in_both_places_for_clients(rules: RoomRules) -> None:
    target = "$target:domain" if rules is V2 else "$" + HASH
    event = next_event(
        create_event(rules), type="m.room.redaction", content={"reason": "spam"}, redacts=target
    )
    assert event.redacts == target
    assert ("redacts" in event.pdu) is not rules.redacts_in_content
    assert ("redacts" in event.content) is rules.redacts_in_content
    client = client_event(event)
    assert client["redacts"] == client["content"]["redacts"] == target
    assert client["content"]["reason"] == "spam"
    assert ("redacts" in event.content) is rules.redacts_in_content
    assert redact(event).redacts == (target if rules.redacts_in_content else None)


def test_only_redactions_redact() -> None:
    assert parse_pdu(pdu_of(message(V10), redacts="$" + HASH), V10).redacts is None
    assert next_event(create_event(V12), content={"redacts": "$" + HASH}).redacts is None
    for odd in (5, None, "", "#room:domain", "$\0"):
        event = next_event(create_event(V12), type="m.room.redaction", content={"redacts": odd})
        assert event.redacts is None
        assert "redacts" not in client_event(event)
    # Room version 11 does not look at the older place.
    assert parse_pdu(pdu_of(event, redacts="$" + HASH), V12).redacts is None


def test_the_client_form() -> None:
    create = create_event(V12)
    assert client_event(create, unsigned={"age": 5}) == {
        "content": {"room_version": "12"},
        "event_id": create.event_id,
        "origin_server_ts": 1_000_000,
        "room_id": create.room_id,
        "sender": "@alice:domain",
        "state_key": "",
        "type": "m.room.create",
        "unsigned": {"age": 5},
    }
    event = parse_pdu(pdu_of(next_event(create), unsigned={"transaction_id": "forged"}), V12)
    assert set(client_event(event, with_room_id=False)) == {
        "content",
        "event_id",
        "origin_server_ts",
        "sender",
        "type",
    }


# Every refusal: (room version, the fields changed, what the reason says). DELETE takes the field away.
DELETE = object()
LONG = "a" * 256
REFUSALS: list[tuple[str, dict[str, Any], str]] = [
    ("10", {"type": DELETE}, "type is missing"),
    ("10", {"type": 5}, "type is an integer, not a string"),
    ("10", {"type": None}, "type is null, not a string"),
    ("10", {"type": "a\0"}, "type contains NUL"),
    ("10", {"state_key": None}, "state_key is null, not a string"),
    ("10", {"state_key": {}}, "state_key is an object, not a string"),
    ("10", {"state_key": "\0"}, "state_key contains NUL"),
    ("10", {"state_key": "\ud800"}, "state_key contains a lone surrogate"),
    ("10", {"sender": DELETE}, "sender is missing"),
    ("10", {"sender": ["@a:b"]}, "sender is an array, not a string"),
    ("10", {"sender": "alice"}, "sender 'alice' is not a user ID"),
    ("10", {"sender": "@al\0ice:domain"}, r"sender '@al\\x00ice:domain' is not a user ID"),
    ("10", {"sender": "@alice:do main"}, "sender '@alice:do main' is not a user ID"),
    ("10", {"room_id": DELETE}, "room_id is missing"),
    ("10", {"room_id": False}, "room_id is a boolean, not a string"),
    ("10", {"room_id": "!" + HASH}, "is not of the form !opaque_id:domain"),
    ("10", {"room_id": "room:domain"}, "room_id 'room:domain' is not of the form"),
    ("12", {"room_id": DELETE}, "room_id is missing"),
    ("12", {"room_id": "!room:domain"}, "room_id '!room:domain' is not ! and the hash of a create event"),
    ("12", {"room_id": "$" + HASH}, "is not ! and the hash"),
    ("12", {"type": "m.room.create", "state_key": ""}, "must not have a room_id"),
    ("10", {"content": DELETE}, "content is missing"),
    ("10", {"content": []}, "content is an array, not an object"),
    ("10", {"content": None}, "content is null, not an object"),
    ("10", {"depth": DELETE}, "depth is missing"),
    ("10", {"depth": "1"}, "depth is a string, not an integer"),
    ("10", {"depth": True}, "depth is a boolean, not an integer"),
    ("5", {"depth": 1.0}, "depth is a float, not an integer"),
    ("10", {"depth": -1}, "depth -1 is not between 0 and 9007199254740991"),
    ("10", {"depth": 2**53}, "depth 9007199254740992 is not between"),
    ("5", {"depth": 2**63}, "depth 9223372036854775808 is not between 0 and 9223372036854775807"),
    ("10", {"origin_server_ts": DELETE}, "origin_server_ts is missing"),
    ("10", {"origin_server_ts": "1"}, "origin_server_ts is a string, not an integer"),
    ("10", {"origin_server_ts": 2**53}, "not canonical JSON: the integer 9007199254740992"),
    ("5", {"origin_server_ts": 2**63}, "origin_server_ts does not fit in 64 bits"),
    ("5", {"origin_server_ts": -(2**63) - 1}, "origin_server_ts does not fit in 64 bits"),
    ("10", {"hashes": DELETE}, "hashes is missing"),
    ("10", {"hashes": "x"}, "hashes is a string, not an object"),
    ("10", {"hashes": {}}, "hashes has no string sha256"),
    ("10", {"hashes": {"sha256": 1}}, "hashes has no string sha256"),
    ("10", {"signatures": DELETE}, "signatures is missing"),
    ("10", {"signatures": []}, "signatures is an array, not an object"),
    ("10", {"signatures": {"domain": "x"}}, "signatures of 'domain' is a string, not an object"),
    ("10", {"signatures": {"domain": {KEY_ID: 1}}}, "a signature of 'domain' is not a string"),
    ("10", {"prev_events": DELETE}, "prev_events is missing"),
    ("10", {"prev_events": {}}, "prev_events is an object, not an array"),
    ("10", {"prev_events": ["$a"] * 21}, "prev_events has 21 entries; at most 20 are allowed"),
    ("10", {"prev_events": [["$a", {}]]}, "in prev_events is not an event ID"),
    ("10", {"prev_events": ["a"]}, "'a' in prev_events is not an event ID"),
    ("10", {"prev_events": ["$" + LONG]}, "in prev_events is not an event ID"),
    ("10", {"auth_events": DELETE}, "auth_events is missing"),
    ("10", {"auth_events": "$a"}, "auth_events is a string, not an array"),
    ("10", {"auth_events": ["$a"] * 11}, "auth_events has 11 entries; at most 10 are allowed"),
    ("10", {"auth_events": [None]}, "None in auth_events is not an event ID"),
    ("2", {"prev_events": ["$a:b"]}, "an entry of prev_events is not a pair of an event ID and its hashes"),
    ("2", {"prev_events": [["$a:b"]]}, "an entry of prev_events is not a pair"),
    ("2", {"prev_events": [["$a:b", {}, {}]]}, "an entry of prev_events is not a pair"),
    ("2", {"auth_events": [["$a:b", "x"]]}, "the hashes in an entry of auth_events are a string"),
    ("2", {"auth_events": [[{}, {}]]}, "in auth_events is not an event ID"),
    ("2", {"event_id": DELETE}, "event_id is missing"),
    ("2", {"event_id": 1}, "event_id is an integer, not a string"),
    ("2", {"event_id": "$" + HASH}, r"is not of the form \$opaque_id:domain"),
    ("2", {"redacts": 1}, "redacts is an integer, not a string"),
    ("10", {"redacts": None}, "redacts is null, not a string"),
    ("10", {"unsigned": "x"}, "unsigned is a string, not an object"),
    ("10", {"content": {"a": 1.5}}, "not canonical JSON: the number 1.5 is a float"),
    ("10", {"content": {"a": [2**53]}}, "not canonical JSON: the integer 9007199254740992"),
    ("10", {"unsigned": {"a": 1.5}}, "not canonical JSON: the number 1.5 is a float"),
    ("10", {"content": {"a": "\ud800"}}, "not canonical JSON: a string contains a lone surrogate"),
    ("5", {"content": {"a": float("nan")}}, "not canonical JSON: nan is not JSON"),
]


@pytest.mark.parametrize(("version", "changed", "reason"), REFUSALS)
def test_refusals(version: str, changed: dict[str, Any], reason: str) -> None:
    rules = rules_for(version)
    pdu = {key: value for key, value in {**pdu_of(message(rules)), **changed}.items() if value is not DELETE}
    with pytest.raises(InvalidEvent, match=reason) as refused:
        parse_pdu(pdu, rules)
    assert not isinstance(refused.value, EventTooLarge)
    assert len(refused.value.reason) < 250


@pytest.mark.parametrize(("field", "most"), [("prev_events", 20), ("auth_events", 10)])
def test_history_may_refer_to_more_events_than_others(field: str, most: int) -> None:
    event = next_event(create_event(V12))
    pdu = pdu_of(event, **{field: ["$" + "A" * 42 + character for character in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"]})
    with pytest.raises(InvalidEvent, match=f"{field} has 26 entries; at most {most} are allowed"):
        parse_pdu(pdu, V12)
    assert len(parse_pdu(pdu, V12, history=True).pdu[field]) == 26


@pytest.mark.parametrize("not_an_object", [None, [], "x", 5, True])
def test_only_an_object_is_an_event(not_an_object: Any) -> None:
    with pytest.raises(InvalidEvent, match="the event is not an object"):
        parse_pdu(not_an_object, V12)


TOO_LARGE: list[tuple[str, dict[str, Any], str]] = [
    ("10", {"type": LONG}, "type has 256 codepoints; at most 255 are allowed"),
    ("11", {"type": LONG}, "type has 256 bytes; at most 255 are allowed"),
    ("11", {"type": "é" * 128}, "type has 256 bytes"),
    ("1", {"state_key": "é" * 256}, "state_key has 256 codepoints"),
    ("12", {"state_key": "é" * 128}, "state_key has 256 bytes"),
    ("12", {"state_key": LONG}, "state_key has 256 bytes"),
    ("10", {"sender": "@" + "a" * 248 + ":domain"}, "sender has 256 bytes"),
    ("10", {"room_id": "!" + "a" * 248 + ":domain"}, "room_id has 256 bytes"),
    ("12", {"room_id": "!" + LONG}, "room_id has 257 bytes"),
    ("2", {"event_id": "$" + "a" * 248 + ":domain"}, "event_id has 256 bytes"),
    ("12", {"content": {"body": "a" * 65536}}, r"the event has 6[56]\d{3} bytes; at most 65536 are allowed"),
    ("12", {"unsigned": {"body": "a" * 65536}}, r"the event has 6[56]\d{3} bytes; at most 65536 are allowed"),
]


@pytest.mark.parametrize(("version", "changed", "reason"), TOO_LARGE)
def test_size_limits(version: str, changed: dict[str, Any], reason: str) -> None:
    rules = rules_for(version)
    with pytest.raises(EventTooLarge, match=reason):
        parse_pdu(pdu_of(message(rules), **changed), rules)


@pytest.mark.parametrize("version", [version for version in ROOM_VERSIONS if int(version) <= 10])
@pytest.mark.parametrize("field", ["type", "state_key"])
def test_older_rooms_hold_events_of_255_codepoints_which_nobody_makes_any_more(
    version: str, field: str
) -> None:
    rules = rules_for(version)
    long = {"type": "x.state", "state_key": "", field: "💬" * 255}
    event = parse_pdu(pdu_of(message(rules), **long), rules)
    assert getattr(event, field) == "💬" * 255
    with pytest.raises(EventTooLarge, match=f"{field} has 1020 bytes"):
        next_event(create_event(rules), **long)


@pytest.mark.parametrize("character", ["a", "é", "💬"])
def test_an_event_may_fill_its_limits_to_the_last_byte(character: str) -> None:
    width = len(character.encode())
    event = next_event(
        create_event(V12), type="é" * 127 + "a", state_key="", sender="@" + "a" * 247 + ":domain"
    )
    assert len(event.type.encode()) == len(event.sender) == 255
    room = MAX_EVENT_BYTES - len(parse_pdu(pdu_of(event, content={"body": ""}), V12).canonical)
    body = character * (room // width) + "a" * (room % width)
    full = parse_pdu(pdu_of(event, content={"body": body}), V12)
    assert len(full.canonical) == MAX_EVENT_BYTES
    with pytest.raises(EventTooLarge, match="the event has 65537 bytes"):
        parse_pdu(pdu_of(event, content={"body": body + "a"}), V12)
    with pytest.raises(EventTooLarge, match="the event has 65550 bytes"):
        parse_pdu(pdu_of(event, content={"body": body}, unsigned={}), V12)
    with pytest.raises(EventTooLarge):
        full.with_signatures({**full.signatures, "other": {KEY_ID: "x"}})


@pytest.mark.parametrize(
    ("version", "changed"),
    [
        ("10", {"prev_events": ["$" + HASH] * 20, "auth_events": ["$" + HASH] * 10}),
        ("10", {"prev_events": [], "auth_events": []}),
        ("10", {"depth": 0}),
        ("10", {"depth": 2**53 - 1}),
        ("5", {"depth": 2**63 - 1}),
        ("10", {"origin_server_ts": -1}),
        ("5", {"origin_server_ts": 2**63 - 1}),
        ("5", {"content": {"a": 1.5, "b": 2**70}}),
        ("10", {"sender": "@Historical User é:domain"}),
        ("10", {"sender": "@:domain"}),
        ("10", {"state_key": ""}),
        ("10", {"signatures": {}}),
        ("10", {"signatures": {"any thing": {"x25519:1": "y"}}}),
        ("10", {"org.example.unknown": [1], "origin": "domain", "prev_state": []}),
        ("11", {"redacts": 5}),
        ("1", {"prev_events": [["$a:b", {"md5": "x"}]]}),
        ("12", {"type": "m.room.create"}),
    ],
)
def test_what_is_unusual_and_yet_valid(version: str, changed: dict[str, Any]) -> None:
    rules = rules_for(version)
    event = parse_pdu(pdu_of(message(rules), **changed), rules)
    assert {key: event.pdu[key] for key in changed} == changed
    assert load_event(event.canonical, event.event_id, rules).pdu == event.pdu


def test_the_room_can_be_demanded() -> None:
    event = message(V10)
    assert parse_pdu(event.pdu, V10, room_id="!room:domain").room_id == "!room:domain"
    with pytest.raises(InvalidEvent, match="the event is of room !room:domain, not !other:domain"):
        parse_pdu(event.pdu, V10, room_id="!other:domain")
    create = create_event(V12)
    with pytest.raises(InvalidEvent, match="the event is of room"):
        parse_pdu(create.pdu, V12, room_id="!" + HASH)


def test_what_we_do_not_make() -> None:
    create = create_event(V10)
    with pytest.raises(InvalidEvent, match=r"not canonical JSON: the number 1\.5 is a float"):
        next_event(create_event(rules_for("1")), content={"a": 1.5})
    with pytest.raises(InvalidEvent, match="lone surrogate"):
        next_event(create, content={"a": "\ud800"})
    with pytest.raises(EventTooLarge, match="the event has"):
        next_event(create, content={"body": "a" * 65536})
    with pytest.raises(EventTooLarge, match="state_key has 256 bytes"):
        next_event(create, state_key=LONG)
    with pytest.raises(InvalidEvent, match="prev_events has 21 entries"):
        next_event(create, prev_events=["$" + HASH] * 21)
    with pytest.raises(InvalidEvent, match="room_id is missing"):
        next_event(create, room_id=None)
    with pytest.raises(InvalidEvent, match="event_id is missing"):
        next_event(create_event(V2), event_id=None)
    with pytest.raises(ValueError, match="not the caller's to choose"):
        next_event(create, event_id="$a:b")


def test_depth_stops_at_the_limit_of_the_room_version() -> None:
    assert next_event(create_event(V12), depth=2**60).depth == 2**53 - 1
    # New events follow canonical JSON even where older rooms would allow more.
    with pytest.raises(InvalidEvent, match="not canonical JSON"):
        next_event(create_event(V2), depth=2**60)


def test_unsigned_of_a_new_event_is_carried_and_not_covered() -> None:
    create = create_event(V12)
    event = next_event(create, unsigned={"invite_room_state": []})
    assert event.unsigned == {"invite_room_state": []}
    assert event == next_event(create)


def test_references_in_room_versions_1_and_2_have_hashes() -> None:
    create = create_event(V2)
    event_id, hashes = reference_to(create)
    assert event_id == "$create:domain"
    assert set(hashes) == {"sha256"}
    event = make_event(
        V2,
        server_name=SERVER_NAME,
        signing_key=SIGNING_KEY,
        room_id=create.room_id,
        type="m.room.message",
        sender="@alice:domain",
        content={},
        state_key=None,
        prev_events=[("$a:domain", {"sha256": "x"}), ("$b:domain", None), "$c:domain"],
        auth_events=[reference_to(create)],
        depth=2,
        origin_server_ts=1,
        event_id="$d:domain",
    )
    assert event.pdu["prev_events"] == [["$a:domain", {"sha256": "x"}], ["$b:domain", {}], ["$c:domain", {}]]
    assert event.prev_event_ids == ("$a:domain", "$b:domain", "$c:domain")
    assert event.auth_event_ids == ("$create:domain",)
    assert parse_pdu(event.pdu, V2) == event


def test_an_event_that_was_forgotten_is_read_again() -> None:
    event = message(V12)
    before = {name: getattr(event, name) for name in Event.__slots__}
    names: dict[str, str] = {}
    event.forget(names)
    assert not event.is_read
    assert event.sender is names[event.sender] and event.event_id is names[event.event_id]
    assert not event.is_read  # the short fields are kept
    with left_as_found([event]):
        assert event.content == before["content"] and event.is_read
    assert not event.is_read and event.sender is names[event.sender]
    assert {name: getattr(event, name) for name in Event.__slots__} == {**before, "unsigned": {}}


def test_events_that_have_not_been_read_are_left_so() -> None:
    read, stored = message(V12), load_event(message(V12).canonical, message(V12).event_id, message(V12).rules)
    with left_as_found([read, stored]):
        assert stored.sender == read.sender
    assert read.is_read and not stored.is_read
    assert stored == read
