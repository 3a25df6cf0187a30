"""How far users have read the rooms that they are in."""

DESCRIPTION = "receipts"

STATEMENTS = (
    # receipt_type: m.read or m.read.private. thread_id: '' for an unthreaded receipt. event_position: the place in the stream of
    # the event that is read (negative for fetched history), NULL while we do not have it. position: of the receipt's last change.
    """
    CREATE TABLE receipts (
        room_nid BIGINT NOT NULL,
        user_id TEXT NOT NULL,
        receipt_type TEXT NOT NULL,
        thread_id TEXT NOT NULL,
        event_id TEXT NOT NULL,
        event_position BIGINT,
        sent_ms BIGINT NOT NULL,
        position BIGINT NOT NULL,
        PRIMARY KEY (room_nid, user_id, receipt_type, thread_id)
    )
    """,
    "CREATE INDEX receipts_by_position ON receipts (room_nid, position)",
)
