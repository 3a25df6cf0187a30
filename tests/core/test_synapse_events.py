"""Events that a real Synapse made, in every room version: we read, check and allow them exactly as it does."""

from collections.abc import Collection, Iterator, Mapping

import pytest

from homeserver.core.auth_rules import authorise, check_auth_events
from homeserver.core.events import (
    Event,
    StateKey,
    compute_event_id,
    has_valid_content_hash,
    load_event,
    parse_pdu,
    redact,
)
from homeserver.core.room_versions import rules_for
from homeserver.core.signing import event_signature_keys, required_signatures, verify_event_signature
from homeserver.core.state_resolution import resolve

from .synapse_events import VERSIONS, RecordedEvent, RecordedRoom, recording

every_version = pytest.mark.parametrize("version", VERSIONS)
ROOMS = [(version, room.scenario) for version in VERSIONS for room in recording(version).rooms]
every_room = pytest.mark.parametrize(("version", "scenario"), ROOMS)


def _parsed(version: str) -> Iterator[tuple[RecordedRoom, RecordedEvent, Event]]:
    for room in recording(version).rooms:
        for recorded in room.events:
            yield room, recorded, parse_pdu(recorded.pdu, rules_for(version))


def _room(version: str, scenario: str) -> RecordedRoom:
    return next(room for room in recording(version).rooms if room.scenario == scenario)


def _events(version: str, room: RecordedRoom) -> dict[str, Event]:
    return {recorded.event_id: parse_pdu(recorded.pdu, rules_for(version)) for recorded in room.events}


def test_the_recordings_hold_what_they_are_for() -> None:
    """Every scenario, forks that were resolved and events that did not survive them."""
    for version in VERSIONS:
        rooms = {room.scenario: room for room in recording(version).rooms}
        number = int(version)
        assert ("knocking" in rooms, "restricted" in rooms) == (number >= 7, number >= 8)
        for fork in ("fork: decoration", "fork: power", "fork: bans"):
            merges = [event.state_after for event in rooms[fork].events if event.state_after]
            lost = {
                event.event_id
                for event in rooms[fork].events
                if event.pdu.get("state_key") is not None and event.event_id not in merges[-1].values()
            }
            assert merges, f"{fork} in version {version} has no merge"
            assert lost, f"{fork} in version {version} has no loser"
    assert any(event.soft_failed for room in recording("12").rooms for event in room.events)


@every_version
def test_the_event_id_is_recomputed(version: str) -> None:
    for room, recorded, event in _parsed(version):
        assert event.event_id == recorded.event_id
        assert event.room_id == room.room_id


@every_version
def test_the_content_hash_is_valid(version: str) -> None:
    for _, recorded, event in _parsed(version):
        assert has_valid_content_hash(event), recorded


@every_version
def test_a_changed_content_has_another_hash(version: str) -> None:
    for _, recorded, _ in _parsed(version):
        changed = {**recorded.pdu, "content": {**recorded.pdu["content"], "org.example.added": 1}}
        assert not has_valid_content_hash(parse_pdu(changed, rules_for(version)))


@every_version
def test_the_signatures_are_valid(version: str) -> None:
    keys = recording(version).verify_keys
    for _, recorded, event in _parsed(version):
        required = required_signatures(event)
        assert required or "third_party_invite" in event.content, recorded
        for server in required:
            assert event_signature_keys(event, server), recorded
            assert verify_event_signature(event, server, keys[server]), (server, recorded)


@every_version
def test_a_signature_of_another_key_is_refused(version: str) -> None:
    keys = recording(version).verify_keys
    _, _, event = next(_parsed(version))
    (server,) = required_signatures(event)
    (other,) = keys.keys() - {server}
    swapped = dict(zip(keys[server], keys[other].values(), strict=True))
    assert not verify_event_signature(event, server, swapped)


@every_version
def test_redaction_keeps_the_id_and_the_signatures(version: str) -> None:
    keys = recording(version).verify_keys
    for _, recorded, event in _parsed(version):
        redacted = redact(event)
        assert compute_event_id(redacted.pdu, event.rules) == recorded.event_id
        assert redacted.event_id == recorded.event_id
        assert redact(redacted).pdu == redacted.pdu
        for server in required_signatures(event):
            assert verify_event_signature(redacted, server, keys[server]), (server, recorded)


@every_version
def test_an_event_survives_storage(version: str) -> None:
    for _, _, event in _parsed(version):
        loaded = load_event(event.canonical, event.event_id, event.rules)
        assert (loaded.pdu, loaded.event_id, loaded.room_id) == (event.pdu, event.event_id, event.room_id)


@every_room
def test_its_auth_events_allow_it(version: str, scenario: str) -> None:
    room = _room(version, scenario)
    events = _events(version, room)
    rejected = {recorded.event_id for recorded in room.events if recorded.rejected}
    for recorded in room.events:
        event = events[recorded.event_id]
        if recorded.rejected:
            continue
        cited = {event_id: events[event_id] for event_id in event.auth_event_ids_with_create}
        assert check_auth_events(event, cited, rejected) is None, recorded
        assert authorise(event, {auth.key: auth for auth in cited.values()}) is None, recorded


@every_room
def test_replaying_the_room_gives_synapses_state(version: str, scenario: str) -> None:
    """Each event against the state before it, resolved by us where branches meet."""
    room = _room(version, scenario)
    events = _events(version, room)
    rejected = {recorded.event_id for recorded in room.events if recorded.rejected}
    after: dict[str, dict[StateKey, str]] = {}
    for recorded in room.events:
        event = events[recorded.event_id]
        state = _resolve(event, [after[previous] for previous in event.prev_event_ids], events, rejected)
        refusal = authorise(event, {key: events[event_id] for key, event_id in state.items()})
        assert (refusal is not None) == (recorded.rejected is not None), (refusal, recorded)
        if event.is_state and refusal is None:
            state[event.key] = event.event_id
        if recorded.state_after is not None:
            assert state == recorded.state_after, f"after {recorded.event_id}"
        after[event.event_id] = state
    ends = [after[event_id] for event_id in room.forward_extremities]
    assert _resolve(events[room.events[0].event_id], ends, events, rejected) == room.current_state


def _resolve(
    event: Event,
    states: list[dict[StateKey, str]],
    events: Mapping[str, Event],
    rejected: Collection[str],
) -> dict[StateKey, str]:
    steps = resolve(event.rules, states, rejected=frozenset(rejected))
    try:
        wanted = next(steps)
        while True:
            wanted = steps.send({event_id: events[event_id] for event_id in wanted if event_id in events})
    except StopIteration as done:
        return dict(done.value)
