"""The users who can be searched for: what they are called, the words by which they are found, and who may find them."""

from homeserver.storage.database import Transaction

DESCRIPTION = "the user directory"

_TABLES = (
    # is_public: the user is in a room that all the world may join or read.
    """
    CREATE TABLE user_directory (
        user_id TEXT NOT NULL PRIMARY KEY,
        is_local BOOLEAN NOT NULL,
        display_name TEXT,
        avatar_url TEXT,
        is_public BOOLEAN NOT NULL
    )
    """,
    # word: UTF-8, compared by its bytes.
    """
    CREATE TABLE user_directory_words (
        word BYTEA NOT NULL,
        user_id TEXT NOT NULL,
        PRIMARY KEY (word, user_id)
    )
    """,
    "CREATE INDEX user_directory_words_of_user ON user_directory_words (user_id, word)",
    # The rooms that all the world may join or read.
    "CREATE TABLE user_directory_rooms (room_nid BIGINT NOT NULL PRIMARY KEY)",
    # What is to be looked at again. change: counts, so that what changes meanwhile is looked at once more.
    """
    CREATE TABLE user_directory_changed_users (
        user_id TEXT NOT NULL PRIMARY KEY,
        change BIGINT NOT NULL
    )
    """,
    """
    CREATE TABLE user_directory_changed_rooms (
        room_nid BIGINT NOT NULL PRIMARY KEY,
        change BIGINT NOT NULL
    )
    """,
)


async def migrate(tx: Transaction) -> None:
    """Make the tables, and have all that there is looked at once."""
    for table in _TABLES:
        await tx.execute(table)
    await tx.execute(
        "INSERT INTO user_directory_changed_rooms (room_nid, change) SELECT room_nid, 0 FROM rooms"
    )
    await tx.execute(
        "INSERT INTO user_directory_changed_users (user_id, change)"
        " SELECT user_id, 0 FROM users UNION SELECT user_id, 0 FROM memberships WHERE membership = 'join'"
    )
