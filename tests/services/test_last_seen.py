"""When devices were last seen is written together once in a while, and what is noted when the server stops is not lost."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from homeserver.core.requester import Requester
from homeserver.services import last_seen
from homeserver.services.last_seen import LastSeen
from homeserver.storage import devices
from homeserver.storage.database import Database, DatabaseError, Transaction
from homeserver.storage.devices import Device, Sighting
from tests.support.network import until
from tests.support.rooms import open_sqlite

ALICE = "@alice:test"


async def stored(database: Database) -> list[Device]:
    return await database.read(lambda tx: devices.of_user(tx, ALICE))


async def test_what_is_noted_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = await open_sqlite(tmp_path / "homeserver.db")
    for device_id in ("PHONE", "TABLET"):
        await database.write(lambda tx, device_id=device_id: devices.ensure(tx, ALICE, device_id, None))
    now = 1000
    seen = LastSeen(database, lambda: now, interval=0.01)
    phone, tablet = Requester(ALICE, "PHONE", 1), Requester(ALICE, "TABLET", 2)
    seen.note(phone, "192.0.2.1", "agent \udcff\0")
    seen.note(Requester(ALICE, None, 3), "192.0.2.1", None)
    now = 2000
    seen.note(phone, "192.0.2.2", None)
    assert await stored(database) == [Device("PHONE", None), Device("TABLET", None)]
    assert seen.newest(ALICE, Device("PHONE", "x")) == Device("PHONE", "x", 2000, "192.0.2.2", None)

    seen.work.start()

    async def is_written() -> bool:
        return (await stored(database))[0] == Device("PHONE", None, 2000, "192.0.2.2", None)

    await until(is_written, "the sighting is written")
    # What is noted between two writes is bounded; what is noted at the end is written.
    monkeypatch.setattr(last_seen, "MAX_NOTED", 0)
    seen.note(tablet, "192.0.2.3", "agent \udcff\0")
    await seen.stop()
    assert (await stored(database))[1] == Device("TABLET", None)
    monkeypatch.undo()
    seen.note(tablet, "192.0.2.3", "agent \udcff\0")
    await seen.stop()
    assert (await stored(database))[1] == Device("TABLET", None, 2000, "192.0.2.3", "agent ?")
    await database.close()


async def test_what_could_not_be_written_is_written_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = await open_sqlite(tmp_path / "homeserver.db")
    for device_id in ("PHONE", "TABLET"):
        await database.write(lambda tx, device_id=device_id: devices.ensure(tx, ALICE, device_id, None))
    now = 1000
    seen = LastSeen(database, lambda: now)
    phone, tablet = Requester(ALICE, "PHONE", 1), Requester(ALICE, "TABLET", 2)
    seen.note(phone, "192.0.2.1", None)
    seen.note(tablet, "192.0.2.1", None)

    async def failing(_tx: Transaction, _sightings: Iterable[Sighting]) -> None:
        nonlocal now
        now = 2000
        seen.note(phone, "192.0.2.2", None)
        raise DatabaseError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(devices, "seen", failing)
        with pytest.raises(DatabaseError):
            await seen.write()
    await seen.write()
    assert await stored(database) == [
        Device("PHONE", None, 2000, "192.0.2.2", None),
        Device("TABLET", None, 1000, "192.0.2.1", None),
    ]
    await database.close()
