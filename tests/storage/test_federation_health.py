"""What is kept of how federation goes, on both databases."""

from __future__ import annotations

from homeserver.storage import destinations, federation_health, outbox
from homeserver.storage.database import Database
from homeserver.storage.destinations import Failing
from homeserver.storage.federation_health import DestinationHealth, InboundError

OURS = "ours.test"


async def test_a_server_that_answers_and_one_that_does_not(database: Database) -> None:
    async def work(tx):  # type: ignore[no-untyped-def]
        await federation_health.note_success(tx, "good.test", 1_000)
        await federation_health.note_success(tx, "good.test", 2_000)
        await federation_health.note_failure(tx, "bad.test", 3_000, "no route")
        await destinations.set_failing(tx, Failing("bad.test", 2_500, 4, 9_000, "no route"))
        await outbox.add(tx, ["bad.test"], 7)
        await federation_health.note_success(tx, OURS, 1)

    await database.write(work)
    found, total = await database.read(lambda tx: federation_health.page(tx, OURS))
    assert total == 2
    assert found == [
        DestinationHealth("bad.test", 2_500, 4, 9_000, "no route", None, 3_000, 1),
        DestinationHealth("good.test", None, 0, None, None, 2_000, None, 0),
    ]
    assert await database.read(lambda tx: federation_health.one(tx, OURS, "bad.test")) == found[0]
    assert await database.read(lambda tx: federation_health.one(tx, OURS, "none.test")) is None
    assert await database.read(lambda tx: federation_health.one(tx, OURS, OURS)) is None


async def test_pages_orders_and_parts_of_names(database: Database) -> None:
    async def work(tx):  # type: ignore[no-untyped-def]
        for number in range(5):
            await federation_health.note_success(tx, f"q{number}.test", 1_000 - number)
        await federation_health.note_success(tx, "per%cent.test", 5)

    await database.write(work)

    async def names(**how):  # type: ignore[no-untyped-def]
        found, total = await database.read(lambda tx: federation_health.page(tx, OURS, **how))
        return [each.destination for each in found], total

    assert await names(like="Q", start=1, limit=2) == (["q1.test", "q2.test"], 5)
    assert await names(like="q", backwards=True, limit=1) == (["q4.test"], 5)
    assert await names(like="q", order="last_success_ts", limit=2) == (["q4.test", "q3.test"], 5)
    assert await names(like="%") == (["per%cent.test"], 1)


async def test_the_newest_errors_of_each_server(database: Database) -> None:
    def errors(*times: int) -> list[InboundError]:
        return [InboundError(time, f"GET /{time}", "M_FORBIDDEN: no") for time in times]

    async def put(most, **each):  # type: ignore[no-untyped-def]
        named = {f"{name}.test": errors(*times) for name, times in each.items()}
        await database.write(lambda tx: federation_health.set_inbound_errors(tx, named, most_origins=most))

    await put(10, a=(3, 2, 1), b=(5,))
    await put(10, a=(9, 3))
    found = await database.read(
        lambda tx: federation_health.inbound_errors(tx, ["a.test", "b.test", "c.test"])
    )
    assert found == {"a.test": errors(9, 3), "b.test": errors(5)}
    newest = await database.read(lambda tx: federation_health.newest_inbound_errors(tx, 5))
    assert newest == [("a.test", errors(9)[0]), ("b.test", errors(5)[0])]
    await put(2, c=(7,))  # b was quiet for longest
    found = await database.read(
        lambda tx: federation_health.inbound_errors(tx, ["a.test", "b.test", "c.test"])
    )
    assert found.keys() == {"a.test", "c.test"}
