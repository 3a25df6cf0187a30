"""The nodes of the state maps (see homeserver.core.state_map)."""

from __future__ import annotations

DESCRIPTION = "Nodes of the rooms' state maps, each stored once under the digest of its encoding"

STATEMENTS = (
    # A node never changes and is shared by every version of every room's state that contains it.
    """
    CREATE TABLE state_nodes (
        digest BYTEA NOT NULL PRIMARY KEY,
        encoding BYTEA NOT NULL
    )
    """,
)
