"""Upgrades of rooms with any power levels: who may send the tombstone gets a room that works, and nobody else gets anything."""

from __future__ import annotations

import random
from typing import Any

import pytest

from homeserver.core.errors import MatrixError
from homeserver.core.power_levels import CREATE, POWER_LEVELS, PowerLevels, power_levels_of
from homeserver.services.member_profiles import MemberProfiles
from homeserver.services.push_rules import PushRules
from homeserver.services.replaced_rooms import ReplacedRooms
from homeserver.services.room_upgrades import RoomUpgrades
from homeserver.services.timeline import Draft
from tests.support.graph import room_of
from tests.support.rooms import RoomServices

ALICE, BOB, CAROL, SPAM = (f"@{name}:ours.test" for name in ("alice", "bob", "carol", "spam"))
LEVELS = (-1, 0, 1, 49, 50, 99, 100, 101, 150, 2**53 - 2)
VERSIONS = ("1", "6", "9", "10", "11", "12")
TYPES = ("m.room.tombstone", "m.room.name", "m.room.power_levels", "m.room.join_rules", "m.room.message")


def any_levels(chance: random.Random, version: str) -> dict[str, Any]:
    """A content of m.room.power_levels that the version takes."""

    def level() -> Any:
        chosen = chance.choice(LEVELS)
        return str(chosen) if version in ("1", "6", "9") and chance.random() < 0.2 else chosen

    def some(names: tuple[str, ...]) -> dict[str, Any]:
        return {name: level() for name in names if chance.random() < 0.6}

    singles = ("users_default", "events_default", "state_default", "ban", "kick", "redact", "invite")
    users = (BOB, CAROL) if version == "12" else (ALICE, BOB, CAROL)
    content = some(singles) | {"users": some(users), "events": some(TYPES)}
    return content if chance.random() < 0.9 else content | {"notifications": some(("room",))}


async def levels_of(services: RoomServices, room_id: str) -> PowerLevels:
    room = await room_of(services, room_id)
    keys = [CREATE, POWER_LEVELS]
    state = await services.database.read(lambda tx: services.states.events(tx, room.current_state, keys))
    return power_levels_of(state)


@pytest.mark.parametrize("seed", range(40))
async def test_any_power_levels(services: RoomServices, seed: int) -> None:
    chance = random.Random(seed)
    before, after = chance.choice(VERSIONS), chance.choice(VERSIONS)
    upgrader = chance.choice((ALICE, BOB))
    begin = [
        Draft(ALICE, "m.room.member", {"membership": "join"}, ALICE),
        Draft(ALICE, "m.room.join_rules", {"join_rule": "public"}, ""),
        Draft(ALICE, "m.room.name", {"name": "n"}, ""),
        Draft(ALICE, "m.room.member", {"membership": "ban"}, SPAM),
        Draft(ALICE, "m.room.power_levels", any_levels(chance, before), ""),
    ]
    room_id = await services.timeline.create_room(before, ALICE, {}, begin)
    await services.join(room_id, BOB)
    old = await levels_of(services, room_id)
    replaced = ReplacedRooms(services.user_writes, services.states, PushRules(services.user_writes))
    profiles = MemberProfiles(services.database)
    upgrades = RoomUpgrades(services.database, services.states, services.timeline, profiles, replaced)
    if not old.can_send(upgrader, "m.room.tombstone", is_state=True):
        with pytest.raises(MatrixError, match="M_FORBIDDEN"):
            await upgrades.upgrade(upgrader, room_id, after, [])
        return
    new_id = await upgrades.upgrade(upgrader, room_id, after, [])
    new = await levels_of(services, new_id)
    room = await room_of(services, new_id)
    name = await services.database.read(
        lambda tx: services.states.event(tx, room.current_state, "m.room.name")
    )
    assert name is not None and name.content == {"name": "n"}
    # Everybody can do what they could, but for who may upgrade the next room, and for those who have all power in one of them.
    for user_id in (BOB, CAROL, SPAM):
        if user_id not in old.creators | new.creators:
            assert new.user_level(user_id) == old.user_level(user_id)
    for kind in TYPES[1:]:
        is_state = kind != "m.room.message"
        assert new.required_level(kind, is_state=is_state) == old.required_level(kind, is_state=is_state)
    assert (new.ban, new.kick, new.redact, new.invite) == (old.ban, old.kick, old.redact, old.invite)
    ended = await levels_of(services, room_id)
    assert ended.content is None or not ended.can_invite(SPAM) or ended.content == old.content
