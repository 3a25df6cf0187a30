"""Account data: what users keep on the server for themselves, for everything or for one room.

Spec: https://spec.matrix.org/v1.19/client-server-api/#client-config
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from homeserver.storage.database import Row, Transaction

GLOBAL: Final = ""
"""What stands for the room ID where the data belongs to no room."""


@dataclass(frozen=True, slots=True)
class AccountDatum:
    """One type of account data. room_id: GLOBAL for what belongs to no room. content: JSON. position: of its last change."""

    room_id: str
    type: str
    content: bytes
    position: int


_COLUMNS = "room_id, type, content, position"


def _datum(row: Row) -> AccountDatum:
    return AccountDatum(row[0], row[1], bytes(row[2]), row[3])


async def get(tx: Transaction, user_id: str, room_id: str, data_type: str) -> bytes | None:
    """The JSON that a user has of this type."""
    content: bytes | None = await tx.fetch_value(
        "SELECT content FROM account_data WHERE user_id = $1 AND room_id = $2 AND type = $3",
        user_id,
        room_id,
        data_type,
    )
    return content


async def of_types(
    tx: Transaction, user_ids: Collection[str], types: Collection[str]
) -> dict[tuple[str, str], bytes]:
    """The JSON that users have of these types, of what belongs to no room, by user ID and type."""
    rows = await tx.fetch(
        "SELECT user_id, type, content FROM account_data"
        " WHERE user_id = ANY($1) AND room_id = $2 AND type = ANY($3)",
        list(user_ids),
        GLOBAL,
        list(types),
    )
    return {(row[0], row[1]): bytes(row[2]) for row in rows}


async def put(tx: Transaction, user_id: str, datum: AccountDatum) -> None:
    """Keep it, in place of what there was of its type."""
    await tx.execute(
        "INSERT INTO account_data (user_id, room_id, type, content, position) VALUES ($1, $2, $3, $4, $5)"
        " ON CONFLICT (user_id, room_id, type) DO UPDATE SET"
        " content = excluded.content, position = excluded.position",
        user_id,
        datum.room_id,
        datum.type,
        datum.content,
        datum.position,
    )


async def size(tx: Transaction, user_id: str) -> tuple[int, int]:
    """How many types a user has, counted in each room, and how many bytes of content in all of them."""
    row = await tx.fetch_one(
        "SELECT count(*), coalesce(sum(length(content)), 0) FROM account_data WHERE user_id = $1", user_id
    )
    assert row is not None, "an aggregate has a row"
    return int(row[0]), int(row[1])


async def changed(tx: Transaction, user_id: str, after: int) -> list[AccountDatum]:
    """What has changed later than a position, everywhere and in all rooms, in the order of the changes; all with -1."""
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} FROM account_data WHERE user_id = $1 AND position > $2 ORDER BY position",
        user_id,
        after,
    )
    return [_datum(row) for row in rows]


async def of_rooms(tx: Transaction, user_id: str, room_ids: Collection[str]) -> list[AccountDatum]:
    """All that a user has for these rooms, in the order of the changes."""
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} FROM account_data WHERE user_id = $1 AND room_id = ANY($2) ORDER BY position",
        user_id,
        list(room_ids),
    )
    return [_datum(row) for row in rows]


async def remove(tx: Transaction, user_id: str) -> None:
    """Forget all that a user has."""
    await tx.execute("DELETE FROM account_data WHERE user_id = $1", user_id)
