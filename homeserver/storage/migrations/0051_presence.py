"""The presence of users: ours, and those of other servers who share rooms with them."""

DESCRIPTION = "presence"

STATEMENTS = (
    # last_active_ms: as of the last change; 0 when it is not known. position: of the last change.
    """
    CREATE TABLE presence (
        user_id TEXT NOT NULL PRIMARY KEY,
        presence TEXT NOT NULL,
        status_msg TEXT,
        last_active_ms BIGINT NOT NULL,
        currently_active BOOLEAN NOT NULL,
        position BIGINT NOT NULL
    )
    """,
    "CREATE INDEX presence_by_position ON presence (position)",
    "CREATE INDEX presence_not_offline ON presence (position) WHERE presence <> 'offline'",
)
