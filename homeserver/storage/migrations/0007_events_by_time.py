"""Finding the event of a room that is closest to a time."""

DESCRIPTION = "events by their time"

STATEMENTS = (
    "CREATE INDEX events_by_time ON events (room_nid, origin_server_ts, position) WHERE position IS NOT NULL",
)
