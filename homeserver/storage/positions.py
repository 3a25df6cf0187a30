"""The positions that order everything /sync shows.

There is one stream. A position is taken inside the unit of work that stores what it orders, by raising one row, which that
unit then holds until it commits; so a reader that sees position N sees every position below N as well.
"""

from typing import Final

from homeserver.storage.database import Transaction

STREAM: Final = "stream"
HISTORY: Final = "history"


async def take(tx: Transaction, count: int = 1) -> int:
    """Take `count` new positions of the stream and return the first."""
    newest = await tx.fetch_value(
        "UPDATE positions SET value = value + $1 WHERE name = $2 RETURNING value", count, STREAM
    )
    return int(newest) - count + 1


async def take_history(tx: Transaction, count: int) -> int:
    """Take `count` positions for history: negative, each batch older than the one before. Returns the newest of them."""
    oldest = await tx.fetch_value(
        "UPDATE positions SET value = value - $1 WHERE name = $2 RETURNING value", count, HISTORY
    )
    return int(oldest) + count - 1


async def current(tx: Transaction) -> int:
    """The newest settled position of the stream; 0 when nothing happened yet."""
    return int(await tx.fetch_value("SELECT value FROM positions WHERE name = $1", STREAM))
