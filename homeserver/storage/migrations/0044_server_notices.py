"""The rooms in which the server tells users something."""

DESCRIPTION = "server notices rooms"

STATEMENTS = (
    # "Servers should manage exactly 1 server notices room per user."
    """
    CREATE TABLE server_notice_rooms (
        user_id TEXT NOT NULL PRIMARY KEY,
        room_id TEXT NOT NULL
    )
    """,
)
