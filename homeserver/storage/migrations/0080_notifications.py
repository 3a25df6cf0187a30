"""Which events notify which of our users, and how far each has read.

Most events that notify at all do so for nearly everyone in the room in the same way. So there is one row an event, and further rows
only for the users for whom it is otherwise.
"""

DESCRIPTION = "notifications, and what is read of them"

STATEMENTS = (
    # An event that notifies our users who are joined to its room, but for its sender and for those with a row of their own.
    # thread_id: the thread's root, or 'main'. highlights, calls: 1 if it is one, to be summed up. actions: JSON. ts: milliseconds.
    """
    CREATE TABLE notifications (
        room_nid BIGINT NOT NULL,
        position BIGINT NOT NULL,
        event_nid BIGINT NOT NULL,
        thread_id TEXT NOT NULL,
        sender TEXT NOT NULL,
        highlights BIGINT NOT NULL,
        calls BIGINT NOT NULL,
        actions TEXT NOT NULL,
        ts BIGINT NOT NULL,
        PRIMARY KEY (room_nid, position)
    )
    """,
    # What an event is for one user, in place of what it is for the others. notifies: 0 or 1.
    # room_nid, event_nid: 0 for an invite to a room that we are not in; it stands in out_of_room_memberships.
    """
    CREATE TABLE own_notifications (
        user_id TEXT NOT NULL,
        room_nid BIGINT NOT NULL,
        position BIGINT NOT NULL,
        event_nid BIGINT NOT NULL,
        thread_id TEXT NOT NULL,
        notifies BIGINT NOT NULL,
        highlights BIGINT NOT NULL,
        calls BIGINT NOT NULL,
        actions TEXT NOT NULL,
        ts BIGINT NOT NULL,
        PRIMARY KEY (user_id, room_nid, position)
    )
    """,
    "CREATE INDEX own_notifications_of_event ON own_notifications (room_nid, position)",
    # What a user had not read of the notifications up to a position whose rows are gone.
    """
    CREATE TABLE earlier_notifications (
        room_nid BIGINT NOT NULL,
        user_id TEXT NOT NULL,
        thread_id TEXT NOT NULL,
        up_to BIGINT NOT NULL,
        notifies BIGINT NOT NULL,
        highlights BIGINT NOT NULL,
        calls BIGINT NOT NULL,
        PRIMARY KEY (room_nid, user_id, thread_id)
    )
    """,
    # Up to which position a user has read a room, by receipts and by what the user sent. thread_id: '' for all of the room.
    # position: of the mark's last change.
    """
    CREATE TABLE notification_marks (
        user_id TEXT NOT NULL,
        room_nid BIGINT NOT NULL,
        thread_id TEXT NOT NULL,
        read_up_to BIGINT NOT NULL,
        position BIGINT NOT NULL,
        PRIMARY KEY (user_id, room_nid, thread_id)
    )
    """,
    "CREATE INDEX notification_marks_by_position ON notification_marks (user_id, position)",
    # Which users have changed what decides on notifications, since when it was last looked at.
    "CREATE INDEX push_rules_by_position ON push_rules (position)",
    "CREATE INDEX account_data_of_ignored_users ON account_data (position) WHERE type = 'm.ignored_user_list'",
)
