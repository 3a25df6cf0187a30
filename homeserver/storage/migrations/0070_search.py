"""The full-text index of messages, room names and topics, and how far it has come."""

from homeserver.storage.database import Transaction

DESCRIPTION = "full-text search"

# How far the index has come: up to which position of the stream, and down to which of the history that was fetched later.
# redactions: counts those that concern it, so that who adds to it notices one that came in between.
_COMMON = (
    """
    CREATE TABLE search_progress (
        newest BIGINT NOT NULL,
        oldest BIGINT NOT NULL,
        redactions BIGINT NOT NULL
    )
    """,
    "INSERT INTO search_progress (newest, oldest, redactions) VALUES (0, 0, 0)",
    # What there is to be taken into the index.
    "CREATE INDEX events_to_search ON events (position)"
    " WHERE position IS NOT NULL AND type IN ('m.room.message', 'm.room.name', 'm.room.topic')",
)
# rowid and event_nid: the event's number. words: as core/search.py makes them, so that nothing is left to the database but to find
# them. Of SQLite's index the text itself is no part (content=''): it is deleted from by giving it the same words again.
_INDEX = {
    "sqlite": (
        "CREATE VIRTUAL TABLE event_search USING fts5 (words, room, content = '', tokenize = 'ascii')",
    ),
    "postgresql": (
        "CREATE TABLE event_search (event_nid BIGINT PRIMARY KEY, words TSVECTOR NOT NULL)",
        "CREATE INDEX event_search_words ON event_search USING GIN (words)",
    ),
}


async def migrate(tx: Transaction) -> None:
    """Make the tables; what there is to find is taken into the index in the background."""
    for statement in (*_COMMON, *_INDEX[tx.dialect]):
        await tx.execute(statement)
