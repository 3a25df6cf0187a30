"""Rooms that may let guests in no longer, whose guests are still to leave."""

DESCRIPTION = "rooms whose guest access has changed"

STATEMENTS = (
    # change: counts the changes, so that one that comes while guests leave is looked at again.
    """
    CREATE TABLE guest_rooms_changed (
        room_nid BIGINT NOT NULL PRIMARY KEY,
        change BIGINT NOT NULL
    )
    """,
)
