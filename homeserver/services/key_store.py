"""Where the key ring's keys outlive the process: the database, in the key ring's terms."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from homeserver.federation.key_responses import StoredKey, StoredKeys
from homeserver.storage import server_keys
from homeserver.storage.database import Database, is_storable
from homeserver.storage.server_keys import KeyRow, KeysRow


class DatabaseKeyStore:
    """The `federation.key_ring.KeyStore` of this server."""

    def __init__(self, database: Database) -> None:
        """Keys are kept in the tables of `storage.server_keys`."""
        self._database = database

    async def load(self, server_names: Collection[str]) -> Mapping[str, StoredKeys]:
        """What is stored of these servers; those of which nothing is stored are left out."""
        rows = await self._database.read(lambda tx: server_keys.load(tx, server_names))
        return {
            name: StoredKeys(
                name,
                tuple(StoredKey(key.key_id, key.verify_key, key.valid_until, key.is_old) for key in row.keys),
                row.response,
                row.fetched_ms,
                row.valid_until,
            )
            for name, row in rows.items()
        }

    async def save(self, keys: Sequence[StoredKeys]) -> None:
        """Replace what is stored of each of these servers."""
        rows = [
            KeysRow(
                server.server_name,
                tuple(
                    KeyRow(key.key_id, key.verify_key, key.valid_until, key.is_old)
                    for key in server.keys
                    if is_storable(key.key_id)
                ),
                server.response,
                server.fetched_ms,
                server.valid_until,
            )
            for server in keys
        ]
        await self._database.write(lambda tx: server_keys.save(tx, rows))
