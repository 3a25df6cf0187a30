"""Invites that were refused and knocks that were taken back without any server in the room hearing of it yet."""

DESCRIPTION = "untold leaves"

STATEMENTS = (
    # event_id: of the leave that the user was shown; when something else has come of the user since, nobody is told any more.
    """
    CREATE TABLE untold_leaves (
        user_id TEXT NOT NULL,
        room_id TEXT NOT NULL,
        event_id TEXT NOT NULL,
        tries BIGINT NOT NULL,
        retry_at_ms BIGINT NOT NULL,
        PRIMARY KEY (user_id, room_id)
    )
    """,
    "CREATE INDEX untold_leaves_by_time ON untold_leaves (retry_at_ms)",
)
