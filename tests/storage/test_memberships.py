"""Members of rooms, and the number of joined users of each server, kept by what changed."""

import random
from collections import Counter
from collections.abc import Sequence

import pytest

from homeserver.storage import memberships, rooms
from homeserver.storage.database import Database
from homeserver.storage.memberships import Change, Membership, MembersMoved

ALICE, BOB, CAROL, DORA = "@alice:ours.test", "@bob:beta.test", "@carol:beta.test:8448", "@dora:ours.test"
EVERY = ("join", "invite", "knock", "leave", "ban")


async def make(database: Database, room_id: str = "!a:ours.test") -> int:
    return (await database.write(lambda tx: rooms.create(tx, room_id, "11"))).room_nid


async def change(database: Database, nid: int, position: int, **users: str | None) -> MembersMoved:
    """Users by localpart with their new memberships."""
    by_name = {user[1:].partition(":")[0]: user for user in (ALICE, BOB, CAROL, DORA)}
    changes = [
        Change(by_name[name], membership, f"${name}{position}", by_name[name])
        for name, membership in users.items()
    ]
    return await database.write(lambda tx: memberships.apply(tx, nid, changes, position))


async def get(database: Database, nid: int, user_id: str) -> Membership | None:
    return await database.read(lambda tx: memberships.get(tx, nid, user_id))


async def names(database: Database, nid: int, wanted: Sequence[str] = ("join",)) -> list[str]:
    return [each.user_id for each in await database.read(lambda tx: memberships.of_room(tx, nid, wanted))]


async def servers(database: Database, nid: int) -> list[str]:
    return await database.read(lambda tx: memberships.joined_servers(tx, nid))


async def test_a_member(database: Database) -> None:
    nid = await make(database)
    await change(database, nid, 5, bob="join")
    assert await get(database, nid, BOB) == Membership(
        nid, "!a:ours.test", BOB, "join", "$bob5", BOB, 5, False
    )
    assert await get(database, nid, ALICE) is None
    assert await get(database, nid + 1, BOB) is None


async def test_a_membership_keeps_its_position_as_long_as_it_lasts(database: Database) -> None:
    nid = await make(database)
    await change(database, nid, 5, bob="join")
    await change(database, nid, 8, bob="join")  # another name, say
    found = await get(database, nid, BOB)
    assert found is not None and (found.position, found.event_id) == (5, "$bob8")
    await change(database, nid, 9, bob="leave")
    found = await get(database, nid, BOB)
    assert found is not None and (found.position, found.membership) == (9, "leave")


async def test_several_change_at_once_and_some_vanish(database: Database) -> None:
    nid = await make(database)
    await change(database, nid, 1, alice="join", bob="join", carol="invite", dora="join")
    assert await names(database, nid) == [ALICE, BOB, DORA]
    assert await servers(database, nid) == ["beta.test", "ours.test"]
    await change(database, nid, 2, alice=None, bob=None, carol="join", dora="ban")
    assert await names(database, nid, EVERY) == [CAROL, DORA]
    assert await servers(database, nid) == ["beta.test:8448"]
    await change(database, nid, 3, bob="join", alice=None)
    assert await servers(database, nid) == ["beta.test", "beta.test:8448"]
    assert await database.read(lambda tx: memberships.is_server_joined(tx, nid, "beta.test"))
    assert not await database.read(lambda tx: memberships.is_server_joined(tx, nid, "ours.test"))
    assert not await database.read(lambda tx: memberships.is_server_joined(tx, nid, "none.test"))


async def test_it_is_told_which_servers_come_and_go(database: Database) -> None:
    nid = await make(database)
    both = frozenset({"ours.test", "beta.test"})
    users = frozenset({ALICE, BOB})
    assert await change(database, nid, 1, alice="join", bob="join") == MembersMoved(users, came=both)
    # One of two members of a server, another server's first, and what is no join.
    moved = await change(database, nid, 2, dora="join", alice="leave", carol="invite")
    assert moved == MembersMoved(frozenset({DORA}), frozenset({ALICE}))
    assert await change(database, nid, 3, carol="join", bob=None) == MembersMoved(
        frozenset({CAROL}), frozenset({BOB}), frozenset({"beta.test:8448"}), frozenset({"beta.test"})
    )
    assert await change(database, nid, 4, dora="leave") == MembersMoved(
        leavers=frozenset({DORA}), gone=frozenset({"ours.test"})
    )
    ours = await database.read(lambda tx: memberships.of_server(tx, nid, "ours.test"))
    assert [(each.user_id, each.membership) for each in ours] == [(ALICE, "leave"), (DORA, "leave")]


@pytest.mark.parametrize("seed", range(3))
async def test_the_counters_are_those_of_the_members(database: Database, seed: int) -> None:
    nid, chance = await make(database), random.Random(seed)
    now: dict[str, str] = {}
    for position in range(1, 30):
        changed = {
            name: chance.choice([*EVERY, "join", None])
            for name in chance.sample(["alice", "bob", "carol", "dora"], chance.randrange(1, 5))
        }
        await change(database, nid, position, **changed)
        for name, membership in changed.items():
            user = next(user for user in (ALICE, BOB, CAROL, DORA) if user.startswith(f"@{name}:"))
            now.pop(user, None)
            if membership:
                now[user] = membership
        joined = sorted(user for user, membership in now.items() if membership == "join")
        assert await names(database, nid) == joined
        assert await servers(database, nid) == sorted({user.partition(":")[2] for user in joined})
        assert await database.read(lambda tx: memberships.counts(tx, [nid])) == {nid: Counter(now.values())}
        found = await database.read(lambda tx: memberships.joined_counts(tx, [nid]))
        assert found.get(nid, 0) == len(joined)


async def test_what_is_no_user_is_of_no_server(database: Database) -> None:
    nid = await make(database)
    changes = [Change(name, "invite", "$x", ALICE) for name in ("nobody", "", "@half:")]
    await database.write(lambda tx: memberships.apply(tx, nid, changes, 1))
    assert await servers(database, nid) == []
    found = await get(database, nid, "nobody")
    assert found is not None and found.membership == "invite"


async def test_a_room_stays_forgotten_until_its_user_comes_back(database: Database) -> None:
    nid = await make(database)
    await change(database, nid, 1, bob="leave", alice="leave")
    await database.write(lambda tx: memberships.set_forgotten(tx, nid, BOB))

    async def forgotten() -> bool:
        found = await get(database, nid, BOB)
        return found is not None and found.forgotten

    assert await forgotten()
    other = await get(database, nid, ALICE)
    assert other is not None and not other.forgotten
    await change(database, nid, 2, bob="ban")
    assert await forgotten()
    await change(database, nid, 3, bob="invite")
    assert not await forgotten()
    await change(database, nid, 4, bob="leave")
    assert not await forgotten()


async def test_a_users_rooms(database: Database) -> None:
    first, second, third = [await make(database, f"!{name}:ours.test") for name in "abc"]
    await change(database, second, 1, alice="join")
    await change(database, first, 2, alice="join")
    await change(database, third, 3, alice="leave", bob="join")

    async def found(wanted: Sequence[str], after: int = -1) -> list[int]:
        mine = await database.read(lambda tx: memberships.of_user(tx, ALICE, wanted, after=after))
        return [each.room_nid for each in mine]

    assert await found(("join",)) == [second, first]
    assert await found(("join", "leave")) == [second, first, third]
    assert await found(("join",), after=1) == [first]
    assert await found(()) == []


async def test_the_first_members(database: Database) -> None:
    nid = await make(database)
    await change(database, nid, 1, dora="join")
    await change(database, nid, 2, bob="join", alice="invite", carol="leave")
    found = await database.read(lambda tx: memberships.first(tx, nid, ("join", "invite"), but=BOB, limit=5))
    assert [each.user_id for each in found] == [DORA, ALICE]
    found = await database.read(lambda tx: memberships.first(tx, nid, ("join", "invite"), but=BOB, limit=1))
    assert [each.user_id for each in found] == [DORA]


async def test_the_users_of_a_server(database: Database) -> None:
    nid = await make(database)
    await change(database, nid, 1, alice="join", dora="leave", bob="join", carol="join")

    async def users(server: str, wanted: Sequence[str] = EVERY) -> list[str]:
        return await database.read(lambda tx: memberships.local_users(tx, nid, server, wanted))

    assert await users("ours.test") == [ALICE, DORA]
    assert await users("ours.test", ("join",)) == [ALICE]
    assert await users("beta.test") == [BOB]
    assert await users("beta.test:8448") == [CAROL]
    assert await users("test") == await users("%") == await users("beta_test") == []


async def test_the_rooms_of_a_server_and_rooms_in_common(database: Database) -> None:
    first, second = await make(database), await make(database, "!b:ours.test")
    await change(database, first, 1, alice="join", bob="leave")
    await change(database, second, 2, alice="join", bob="join")
    assert await database.read(lambda tx: memberships.rooms_of_server(tx, "beta.test", [first, second])) == {
        second
    }
    assert await database.read(lambda tx: memberships.rooms_of_server(tx, "beta.test", [])) == set()
    assert await database.read(lambda tx: memberships.share_room(tx, ALICE, BOB))
    await change(database, second, 3, bob="ban")
    assert not await database.read(lambda tx: memberships.share_room(tx, ALICE, BOB))
    assert await database.read(lambda tx: memberships.counts(tx, [])) == {}
    assert await database.read(lambda tx: memberships.joined_counts(tx, [])) == {}
