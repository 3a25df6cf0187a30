"""Whose rooms are still to be told of a new display name or avatar."""

DESCRIPTION = "profile changes on their way to rooms"

STATEMENTS = (
    # change: counts the changes, so that one that comes while rooms are told is not taken for told.
    # after_room_nid: the rooms up to this number have been told.
    """
    CREATE TABLE profile_propagations (
        user_id TEXT NOT NULL PRIMARY KEY,
        change BIGINT NOT NULL,
        after_room_nid BIGINT NOT NULL
    )
    """,
)
