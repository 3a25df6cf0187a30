"""What our users are in rooms whose graph does not tell us: invites, knocks, and what ended them.

A room may be known to us by such a row alone, so it is named by its ID.
"""

DESCRIPTION = "memberships in rooms that no user of ours is in"

STATEMENTS = (
    # canonical: the m.room.member event. stripped_state: a JSON array. via: the server that the event came from or went to.
    """
    CREATE TABLE out_of_room_memberships (
        user_id TEXT NOT NULL,
        room_id TEXT NOT NULL,
        membership TEXT NOT NULL,
        version TEXT NOT NULL,
        event_id TEXT NOT NULL,
        canonical BYTEA NOT NULL,
        stripped_state BYTEA NOT NULL,
        via TEXT NOT NULL,
        position BIGINT NOT NULL,
        forgotten BOOLEAN NOT NULL,
        PRIMARY KEY (user_id, room_id)
    )
    """,
    "CREATE INDEX out_of_room_memberships_of_room ON out_of_room_memberships (room_id)",
)
