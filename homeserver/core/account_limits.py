"""What guests, and users whose account is locked or suspended, may use of the client-server API, by operation.

Operations are named as in the specification, in snake case.
"""

GUESTS_MAY = frozenset(
    {
        # "for retrieving events and associated media"
        "get_room_state",
        "get_event_context",
        "get_one_room_event",
        "get_room_state_with_key",
        "get_room_events",
        "get_members_by_room",
        "room_initial_sync",
        "sync",
        "get_events",
        "get_content_authed",
        "get_content_override_name_authed",
        "get_content_thumbnail_authed",
        # "for sending events". Joining by alias is not in the list, but it is the same as joining by ID to clients.
        "join_room_by_id",
        "join_room",
        "leave_room",
        "send_message",
        "set_room_state_with_key",
        "send_to_device",
        # "for their own account maintenance"; of the profile only the display name
        "set_profile_field",
        "delete_profile_field",
        "get_devices",
        "get_device",
        "update_device",
        "get_token_owner",
        # not in the list, but a setting of its own decides: `turn_allow_guests`
        "get_turn_server",
        # "for end-to-end encryption"
        "upload_keys",
        "query_keys",
        "claim_keys",
    }
)
"""Of all that needs an access token.

Spec: https://spec.matrix.org/v1.19/client-server-api/#guest-access
"""

LOCKED_MAY = frozenset({"logout", "logout_all"})
"""Of all that takes an access token.

Spec: https://spec.matrix.org/v1.19/client-server-api/#account-locking
"""

SUSPENDED_MAY_NOT = frozenset(
    {
        "join_room_by_id",
        "join_room",
        "knock_room",
        "invite_user",
        "invite_by_3pid",
        "create_room",
        "upgrade_room",
        "set_room_state_with_key",
        "kick",
        "ban",
        "unban",
        "set_profile_field",
        "delete_profile_field",
        "set_room_alias",
        "delete_room_alias",
        "set_room_visibility_on_directory",
        "set_typing",
        # A status is a text that others read. The presence that a /sync brings with it has none.
        "set_presence",
        "upload_content",
        "upload_content_to_mxc",
        "create_content",
        # "Change or add admin contacts, but not remove"
        "delete_3pid_from_account",
        "unbind_3pid_from_account",
    }
)
"""What acts on others or on what others see, but for leaving. Of what is sent to rooms redactions of one's own events remain; that
is decided where events are sent.

Spec: https://spec.matrix.org/v1.19/client-server-api/#account-suspension
"""
