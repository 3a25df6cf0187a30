"""What users keep on the server for themselves: account data, tags among it, and what they changed of the push rules."""

DESCRIPTION = "account data and push rules"

STATEMENTS = (
    # room_id: '' for what belongs to no room. content: a JSON object. position: of the last change.
    """
    CREATE TABLE account_data (
        user_id TEXT NOT NULL,
        room_id TEXT NOT NULL,
        type TEXT NOT NULL,
        content BYTEA NOT NULL,
        position BIGINT NOT NULL,
        PRIMARY KEY (user_id, room_id, type)
    )
    """,
    "CREATE INDEX account_data_by_position ON account_data (user_id, position)",
    # One row for each user who has changed something. changes: JSON, as core/push_rules/changes.py reads and writes it.
    """
    CREATE TABLE push_rules (
        user_id TEXT NOT NULL PRIMARY KEY,
        changes BYTEA NOT NULL,
        position BIGINT NOT NULL
    )
    """,
)
