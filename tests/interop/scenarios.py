"""What happens in the rooms whose events are recorded: everything a room can have, in every room version.

alice, bob, carol, dave and erin live on the first server, frank and gina on the second. A scenario answers the ID of
its room. An invite is answered when the invited user's server has it, so nobody waits for invites.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from signedjson.key import encode_verify_key_base64, generate_signing_key, get_verify_key
from signedjson.sign import sign_json

from tests.support.network import until
from tests.support.person import Person

UNICODE = 'Grüße, 世界 — 👩‍👩‍👧 𝔐atrix ‮rtl‬ e\u0301 \u2028 \x7f \x01 "quoted" \\ </script> \t\n'
FIRST, SECOND = "synapse.test", "other.test"


@dataclass(frozen=True)
class World:
    """A room version and the people."""

    version: str
    people: Mapping[str, Person]

    @property
    def number(self) -> int:
        """The room version as a number."""
        return int(self.version)

    def __getattr__(self, name: str) -> Person:
        try:
            return self.people[name]
        except KeyError:
            raise AttributeError(name) from None


Scenario = Callable[[World], Awaitable[str]]


async def sees_member(person: Person, room_id: str, member: Person, membership: str) -> None:
    """Wait until the person's server knows of the membership."""

    async def known() -> bool:
        content = await person.content(room_id, "m.room.member", member.user_id)
        return content is not None and content["membership"] == membership

    await until(known, f"{person.user_id} to see that {member.user_id} is {membership}")


async def raise_power(person: Person, room_id: str, levels: Mapping[str, int], **changes: Any) -> None:
    """Change the power levels of users, and other keys of m.room.power_levels."""
    content = await person.content(room_id, "m.room.power_levels")
    assert content is not None
    content["users"] = {**content.get("users", {}), **levels}
    await person.set_state(room_id, "m.room.power_levels", {**content, **changes})


async def public_chat(world: World) -> str:
    """The preset public_chat with everything createRoom takes."""
    room_id = await world.alice.create_room(
        version=world.version,
        preset="public_chat",
        name="Café ☕",
        topic="Everything, in version " + world.version,
        room_alias_name=f"everything-{world.version}",
        initial_state=[
            {
                "type": "m.room.history_visibility",
                "state_key": "",
                "content": {"history_visibility": "world_readable"},
            },
            {
                "type": "org.example.setting",
                "state_key": "κλειδί",
                "content": {"nested": {"deep": [1, None, True, {}]}},
            },
        ],
        creation_content={"org.example.kind": "test"},
        power_level_content_override={"events": {"m.room.topic": 0, "org.example.open": 0}},
    )
    for person in (world.bob, world.carol, world.frank):
        await person.join(f"#everything-{world.version}:{FIRST}")
    for text in ("hello", UNICODE, "x" * 4000):
        await world.bob.send(room_id, text)
    await world.frank.send(room_id, "hello from elsewhere")
    await world.carol.send_event(
        room_id,
        "org.example.numbers",
        {"largest": 2**53 - 1, "smallest": -(2**53) + 1, "zero": 0, "b": 1, "a": 2, "é": 3, "": 4},
    )
    if world.number <= 5:  # canonical JSON is not enforced yet
        await world.carol.send_event(
            room_id,
            "org.example.numbers",
            {"f": 1.5, "tiny": 1e-10, "one": 1.0, "huge": 1e300, "long": 2**60},
        )
    return room_id


async def private_chat(world: World) -> str:
    """The preset private_chat: invites accepted, refused, withdrawn; kicks, bans; leaving and coming back."""
    alice, bob, carol, frank, gina = world.alice, world.bob, world.carol, world.frank, world.gina
    room_id = await alice.create_room(version=world.version, preset="private_chat", invite=[bob.user_id])
    await bob.join(room_id)
    await alice.invite(room_id, carol.user_id, reason="come in")
    await carol.leave(room_id, reason="no, thank you")
    await alice.invite(room_id, carol.user_id)
    await alice.kick(room_id, carol.user_id, reason="withdrawn")
    await alice.invite(room_id, carol.user_id)
    await carol.join(room_id, reason="at last")
    await alice.invite(room_id, frank.user_id)
    await frank.join(room_id, via=[FIRST])
    await alice.invite(room_id, gina.user_id)
    await gina.leave(room_id, reason="refused from afar")
    await sees_member(alice, room_id, gina, "leave")
    await alice.kick(room_id, carol.user_id, reason="rude")
    await alice.ban(room_id, carol.user_id)
    await alice.unban(room_id, carol.user_id)
    await alice.ban(room_id, world.dave.user_id, reason="never seen, still banned")
    await bob.leave(room_id)
    await alice.invite(room_id, bob.user_id)
    await bob.join(room_id)
    await sees_member(frank, room_id, bob, "join")
    await frank.send(room_id, "still here")
    await frank.leave(room_id)
    await sees_member(alice, room_id, frank, "leave")
    return room_id


async def trusted_private_chat(world: World) -> str:
    """The preset trusted_private_chat: who is invited has the creator's power."""
    extra = {"creation_content": {"additional_creators": [world.carol.user_id]}} if world.number >= 12 else {}
    room_id = await world.alice.create_room(
        version=world.version,
        preset="trusted_private_chat",
        is_direct=True,
        invite=[world.bob.user_id],
        **extra,
    )
    await world.bob.join(room_id)
    await world.bob.invite(room_id, world.carol.user_id)
    await world.carol.join(room_id)
    await world.bob.set_state(room_id, "m.room.name", {"name": "Ours"})
    if world.number >= 12:
        await world.carol.set_state(room_id, "m.room.topic", {"topic": "said an additional creator"})
    return room_id


async def state_and_redactions(world: World) -> str:
    """Power levels, profiles, aliases, other state, and redactions of all of them."""
    alice, bob, frank = world.alice, world.bob, world.frank
    room_id = await alice.create_room(version=world.version, preset="public_chat")
    await bob.join(room_id)
    await frank.join(room_id, via=[FIRST])
    await raise_power(alice, room_id, {bob.user_id: 50}, notifications={"room": 60})
    await raise_power(alice, room_id, {frank.user_id: 50}, events_default=1, users_default=2)
    await sees_member(frank, room_id, bob, "join")
    topic = await bob.set_state(room_id, "m.room.topic", {"topic": "a topic to redact"})
    name = await alice.set_state(room_id, "m.room.name", {"name": "a name to redact", "extra": 1})
    for room_alias in (f"#alias-{world.version}:{FIRST}", f"#second-{world.version}:{FIRST}"):
        await alice.set_alias(room_alias, room_id)
    await alice.set_state(
        room_id,
        "m.room.canonical_alias",
        {"alias": f"#alias-{world.version}:{FIRST}", "alt_aliases": [f"#second-{world.version}:{FIRST}"]},
    )
    aliases = await alice.set_state(
        room_id, "m.room.aliases", {"aliases": [f"#alias-{world.version}:{FIRST}"], "extra": 1}, FIRST
    )
    acl = {"allow": ["*"], "deny": ["evil.test"], "allow_ip_literals": False}
    await alice.set_state(room_id, "m.room.server_acl", acl)
    await alice.set_state(room_id, "m.room.guest_access", {"guest_access": "forbidden"})
    visibility = await alice.set_state(room_id, "m.room.history_visibility", {"history_visibility": "joined"})
    await bob.set_state(room_id, "org.example.own", {"mine": True}, bob.user_id)
    await alice.set_state(room_id, "m.room.encryption", {"algorithm": "m.megolm.v1.aes-sha2"})
    await bob.request(
        "PUT", "profile", bob.user_id, "displayname", body={"displayname": f"Bob {world.version}"}
    )
    message = await bob.send(room_id, "to be redacted by its sender")
    await bob.redact(room_id, message)
    await bob.redact(room_id, topic, reason="a state event")
    await alice.redact(room_id, name, reason="another state event")
    await alice.redact(room_id, aliases)
    await alice.redact(room_id, visibility)
    message = await bob.send(room_id, "to be redacted by a moderator elsewhere")

    async def frank_sees_it() -> bool:
        return await frank.event(room_id, message) is not None

    await until(frank_sees_it, "the message to reach the other server")
    redaction = await frank.redact(room_id, message, reason="from afar")

    async def alice_sees_it() -> bool:
        event = await alice.event(room_id, message)
        return event is not None and not event["content"]

    await until(alice_sees_it, "the redaction to come")
    await alice.redact(room_id, redaction, reason="a redaction redacted")
    state = await alice.state(room_id)
    for key in (("m.room.member", bob.user_id), ("m.room.power_levels", ""), ("m.room.join_rules", "")):
        await alice.redact(room_id, state[key]["event_id"])
    return room_id


async def third_party_invite(world: World) -> str:
    """An invite to an email address, taken up with the signature of an identity server."""
    alice, bob = world.alice, world.bob
    room_id = await alice.create_room(version=world.version, preset="private_chat")
    identity_key = generate_signing_key("0")
    public_key = encode_verify_key_base64(get_verify_key(identity_key))
    content = {
        "display_name": "b...@example.org",
        "public_key": public_key,
        "key_validity_url": "https://identity.test/_matrix/identity/v2/pubkey/isvalid",
        "public_keys": [{"public_key": public_key}],
    }
    await alice.set_state(room_id, "m.room.third_party_invite", content, "token")
    claim = {"mxid": bob.user_id, "sender": alice.user_id, "token": "token"}
    await bob.join(room_id, third_party_signed=sign_json(claim, "identity.test", identity_key))
    return room_id


async def knocking(world: World) -> str:
    """Knocks that are taken in, refused, withdrawn; here and from elsewhere. Room version 7 and later."""
    alice, carol, dave, frank = world.alice, world.carol, world.dave, world.frank
    rule = {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}
    room_id = await alice.create_room(version=world.version, preset="private_chat", initial_state=[rule])
    await carol.knock(room_id, reason="please")
    await alice.invite(room_id, carol.user_id)
    await carol.join(room_id)
    await dave.knock(room_id)
    await alice.kick(room_id, dave.user_id, reason="no")
    await world.erin.knock(room_id)
    await world.erin.leave(room_id)
    await frank.knock(room_id, via=[FIRST], reason="from afar")
    await sees_member(alice, room_id, frank, "knock")
    await alice.invite(room_id, frank.user_id)
    await frank.join(room_id, via=[FIRST])
    return room_id


async def restricted(world: World) -> str:
    """Joins that membership of a space allows, here and from elsewhere. Room version 8 and later."""
    alice, bob, frank = world.alice, world.bob, world.frank
    space = await alice.create_room(
        version=world.version, preset="public_chat", creation_content={"type": "m.space"}
    )
    await bob.join(space)
    await frank.join(space, via=[FIRST])
    rule = "knock_restricted" if world.number >= 10 else "restricted"
    join_rules = {"join_rule": rule, "allow": [{"type": "m.room_membership", "room_id": space}]}
    room_id = await alice.create_room(
        version=world.version,
        preset="private_chat",
        initial_state=[{"type": "m.room.join_rules", "state_key": "", "content": join_rules}],
    )
    await alice.set_state(space, "m.space.child", {"via": [FIRST], "suggested": True}, room_id)
    await bob.join(room_id)
    await frank.join(room_id, via=[FIRST])
    await bob.leave(room_id)
    await bob.join(room_id)
    if world.number >= 10:
        await world.carol.knock(room_id)
        await alice.invite(room_id, world.carol.user_id)
        await world.carol.join(room_id)
        await alice.set_state(room_id, "m.room.join_rules", {**join_rules, "join_rule": "restricted"})
    return room_id


async def upgraded(world: World) -> str:
    """A room that ends in a tombstone."""
    room_id = await world.alice.create_room(version=world.version, preset="public_chat", name="old")
    await world.bob.join(room_id)
    await world.alice.request("POST", "rooms", room_id, "upgrade", body={"new_version": world.version})
    return room_id


SCENARIOS: Mapping[str, tuple[int, Scenario]] = {
    "public_chat": (1, public_chat),
    "private_chat": (1, private_chat),
    "trusted_private_chat": (1, trusted_private_chat),
    "state_and_redactions": (1, state_and_redactions),
    "third_party_invite": (1, third_party_invite),
    "knocking": (7, knocking),
    "restricted": (8, restricted),
    "upgraded": (1, upgraded),
}
"""Name -> (the first room version that has it, what happens)."""


@dataclass(frozen=True)
class Fork:
    """A room whose two servers go on without each other for a while."""

    prepare: Scenario
    first_alone: Callable[[World, str], Awaitable[None]]
    second_alone: Callable[[World, str], Awaitable[None]]


async def _room_of_all(world: World) -> str:
    room_id = await world.alice.create_room(
        version=world.version,
        preset="public_chat",
        name="before",
        power_level_content_override={"events": {"m.room.power_levels": 50}},
    )
    for person in (world.bob, world.carol):
        await person.join(room_id)
    for person in (world.frank, world.gina):
        await person.join(room_id, via=[FIRST])
    await raise_power(world.alice, room_id, {world.frank.user_id: 50, world.bob.user_id: 50})
    await world.alice.send(room_id, "before the fork")
    await sees_member(world.frank, room_id, world.bob, "join")

    async def frank_may() -> bool:
        levels = await world.frank.content(room_id, "m.room.power_levels")
        return levels is not None and levels["users"].get(world.frank.user_id) == 50

    await until(frank_may, "frank's power to reach his server")
    return room_id


async def _first_decorates(world: World, room_id: str) -> None:
    await world.alice.send(room_id, "frank cannot hear me")
    await world.alice.set_state(room_id, "m.room.topic", {"topic": "first"})
    await world.bob.set_state(room_id, "m.room.name", {"name": "first"})
    await world.bob.leave(room_id)
    await world.alice.send(room_id, "still not")


async def _second_decorates(world: World, room_id: str) -> None:
    await world.frank.set_state(room_id, "m.room.topic", {"topic": "second"})
    await world.frank.send(room_id, "alice cannot hear me")
    await world.frank.set_state(room_id, "m.room.name", {"name": "second"})
    await world.frank.set_state(room_id, "m.room.topic", {"topic": "second, again"})
    await world.gina.leave(room_id)


async def _first_takes_power(world: World, room_id: str) -> None:
    await world.alice.set_state(room_id, "m.room.topic", {"topic": "frank may no longer"})
    await raise_power(world.alice, room_id, {world.frank.user_id: 0}, kick=60)
    await world.alice.ban(room_id, world.gina.user_id)
    await world.bob.set_state(room_id, "m.room.name", {"name": "bob's"})
    await world.alice.set_state(room_id, "m.room.join_rules", {"join_rule": "invite"})


async def _second_uses_power(world: World, room_id: str) -> None:
    await world.frank.kick(room_id, world.carol.user_id)
    await world.frank.set_state(room_id, "org.example.own", {"state": "of frank"}, world.frank.user_id)
    await world.frank.set_state(room_id, "m.room.name", {"name": "frank's"})
    await raise_power(world.frank, room_id, {world.gina.user_id: 40})
    await world.gina.send(room_id, "I am not banned here")
    await world.frank.set_state(room_id, "m.room.topic", {"topic": "frank still may"})


async def _first_bans_the_other(world: World, room_id: str) -> None:
    await world.alice.ban(room_id, world.carol.user_id)
    await raise_power(world.alice, room_id, {world.bob.user_id: 100})
    await world.bob.set_state(room_id, "m.room.topic", {"topic": "bob is an admin"})
    await world.bob.ban(room_id, world.gina.user_id)


async def _second_bans_one_too(world: World, room_id: str) -> None:
    await world.frank.ban(room_id, world.carol.user_id, reason="me too")
    await world.frank.unban(room_id, world.carol.user_id)
    await world.frank.set_state(room_id, "m.room.history_visibility", {"history_visibility": "invited"})
    await world.frank.set_state(room_id, "m.room.name", {"name": "after the ban"})


FORKS: Mapping[str, Fork] = {
    "decoration": Fork(_room_of_all, _first_decorates, _second_decorates),
    "power": Fork(_room_of_all, _first_takes_power, _second_uses_power),
    "bans": Fork(_room_of_all, _first_bans_the_other, _second_bans_one_too),
}
