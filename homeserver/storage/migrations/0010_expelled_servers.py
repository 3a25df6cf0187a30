"""Servers that state resolution has put out of a room, and that may not know of it."""

DESCRIPTION = "expelled servers"

STATEMENTS = (
    # position: that of the unit of work with which the last member of that server ceased to be one.
    """
    CREATE TABLE expelled_servers (
        room_nid BIGINT NOT NULL,
        server TEXT NOT NULL,
        position BIGINT NOT NULL,
        PRIMARY KEY (room_nid, server)
    )
    """,
)
