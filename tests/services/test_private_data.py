"""Account data, tags and push rules below HTTP, on both databases: many writers, limits, and who is woken."""

import asyncio
from typing import Any

import pytest

from homeserver.core.errors import MatrixError
from homeserver.core.requester import Requester
from homeserver.services import account_data
from homeserver.services.account_data import AccountData
from homeserver.services.push_rules import PushRules, new_rule
from homeserver.services.tags import Tags
from homeserver.storage.database import Database
from tests.support.rooms import RoomServices

ALICE, BOB = Requester("@alice:ours.test", "A", 1), Requester("@bob:ours.test", "B", 2)
ROOM = "!room:ours.test"


@pytest.fixture
def services(database: Database) -> RoomServices:
    """The services on SQLite and on PostgreSQL."""
    return RoomServices(database)


async def test_tags_of_many_writers_are_all_kept(services: RoomServices) -> None:
    tags = Tags(services.user_writes)
    names = [f"u.{number}" for number in range(12)]
    await asyncio.gather(*(tags.set(ALICE, ALICE.user_id, ROOM, name, {"order": 0.5}) for name in names))
    assert await tags.all(ALICE, ALICE.user_id, ROOM) == {name: {"order": 0.5} for name in names}
    await asyncio.gather(*(tags.delete(ALICE, ALICE.user_id, ROOM, name) for name in names[1:]))
    assert list(await tags.all(ALICE, ALICE.user_id, ROOM)) == names[:1]


async def test_rules_of_many_writers_are_all_kept(services: RoomServices) -> None:
    rules = PushRules(services.user_writes)
    given = [new_rule("content", f"rule{number}", [], [], "x") for number in range(12)]
    await asyncio.gather(*(rules.put(ALICE.user_id, rule, None, None) for rule in given))
    body = (await rules.all(ALICE.user_id)).body()
    assert {rule["rule_id"] for rule in body["content"]} == {rule.rule_id for rule in given}


async def test_only_the_user_is_woken_and_only_by_changes(services: RoomServices) -> None:
    data, rules = AccountData(services.user_writes), PushRules(services.user_writes)

    async def changes() -> None:
        await data.set(ALICE, ALICE.user_id, "x", {"n": 1})
        await data.set(ALICE, ALICE.user_id, "x", {"n": 1}, ROOM)
        await rules.set_enabled(ALICE.user_id, "override", ".m.rule.master", True)

    await changes()
    assert [committed.users for committed in services.committed] == [{ALICE.user_id}] * 3
    assert all(not committed.rooms and not committed.destinations for committed in services.committed)
    found = [committed.position for committed in services.committed]
    assert found == sorted(set(found))
    await changes()
    assert len(services.committed) == 3


async def test_there_is_an_end_to_account_data(
    services: RoomServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account_data, "MAX_DATA", 2)
    data = AccountData(services.user_writes)
    await data.set(ALICE, ALICE.user_id, "a", {})
    await data.set(ALICE, ALICE.user_id, "a", {}, ROOM)
    with pytest.raises(MatrixError) as refused:
        await data.set(ALICE, ALICE.user_id, "b", {})
    assert (refused.value.status, refused.value.errcode) == (413, "M_TOO_LARGE")
    await data.set(ALICE, ALICE.user_id, "a", {"n": 1})
    await data.set(BOB, BOB.user_id, "b", {})


async def test_there_is_an_end_to_its_bytes(services: RoomServices, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account_data, "MAX_TOTAL_BYTES", 100)
    data, tags = AccountData(services.user_writes), Tags(services.user_writes)
    await data.set(ALICE, ALICE.user_id, "a", {"x": "x" * 40})
    await data.set(ALICE, ALICE.user_id, "a", {"x": "x" * 60})
    with pytest.raises(MatrixError) as refused:
        await data.set(ALICE, ALICE.user_id, "a", {"x": "x" * 100})
    assert (refused.value.status, refused.value.errcode) == (413, "M_TOO_LARGE")
    with pytest.raises(MatrixError) as refused:
        await tags.set(ALICE, ALICE.user_id, ROOM, "u." + "x" * 60, {})
    assert (refused.value.status, refused.value.errcode) == (413, "M_TOO_LARGE")
    await data.set(ALICE, ALICE.user_id, "a", {})
    await tags.set(ALICE, ALICE.user_id, ROOM, "u." + "x" * 60, {})


async def test_what_is_set_in_a_refused_request_is_not_kept(services: RoomServices) -> None:
    data = AccountData(services.user_writes)
    content: dict[str, Any] = {"x": "x" * 300_000}
    with pytest.raises(MatrixError):
        await data.set(ALICE, ALICE.user_id, "a", content)
    with pytest.raises(MatrixError):
        await data.get(ALICE, ALICE.user_id, "a")
    assert services.committed == []
