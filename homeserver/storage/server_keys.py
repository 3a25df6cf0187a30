"""Verification keys of other servers, and the responses in which they published them.

Spec: https://spec.matrix.org/v1.19/server-server-api/#retrieving-server-keys
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from homeserver.storage.database import Transaction

BATCH = 500


@dataclass(frozen=True, slots=True)
class KeyRow:
    """One key. `valid_until` in milliseconds; of a key that `is_old` the time when it expired."""

    key_id: str
    verify_key: bytes
    valid_until: int
    is_old: bool


@dataclass(frozen=True, slots=True)
class KeysRow:
    """What is known of a server's keys. `response`: its newest response, as it signed it."""

    server_name: str
    keys: tuple[KeyRow, ...]
    response: bytes
    fetched_ms: int
    valid_until: int


async def load(tx: Transaction, server_names: Collection[str]) -> dict[str, KeysRow]:
    """What is stored of these servers; those of which nothing is stored are left out."""
    names = sorted(server_names)
    found: dict[str, KeysRow] = {}
    for start in range(0, len(names), BATCH):
        batch = names[start : start + BATCH]
        keys: dict[str, list[KeyRow]] = {}
        for row in await tx.fetch(
            "SELECT server_name, key_id, verify_key, valid_until, is_old FROM server_keys"
            " WHERE server_name = ANY($1) ORDER BY server_name, key_id",
            batch,
        ):
            keys.setdefault(row[0], []).append(KeyRow(row[1], bytes(row[2]), row[3], bool(row[4])))
        for row in await tx.fetch(
            "SELECT server_name, response, fetched_ms, valid_until FROM server_key_responses"
            " WHERE server_name = ANY($1)",
            batch,
        ):
            found[row[0]] = KeysRow(row[0], tuple(keys.get(row[0], ())), bytes(row[1]), row[2], row[3])
    return found


async def save(tx: Transaction, servers: Sequence[KeysRow]) -> None:
    """Replace what is stored of each of these servers."""
    names = [server.server_name for server in servers]
    for start in range(0, len(names), BATCH):
        await tx.execute("DELETE FROM server_keys WHERE server_name = ANY($1)", names[start : start + BATCH])
    await tx.execute_many(
        "INSERT INTO server_keys (server_name, key_id, verify_key, valid_until, is_old) VALUES ($1, $2, $3, $4, $5)",
        [
            (server.server_name, key.key_id, key.verify_key, key.valid_until, key.is_old)
            for server in servers
            for key in server.keys
        ],
    )
    await tx.execute_many(
        "INSERT INTO server_key_responses (server_name, fetched_ms, valid_until, response) VALUES ($1, $2, $3, $4)"
        " ON CONFLICT (server_name) DO UPDATE SET fetched_ms = excluded.fetched_ms,"
        " valid_until = excluded.valid_until, response = excluded.response",
        [(server.server_name, server.fetched_ms, server.valid_until, server.response) for server in servers],
    )
