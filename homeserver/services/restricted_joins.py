"""Whether somebody may join a restricted room, and which user of ours vouches for it.

Runs inside a unit of work: it awaits nothing but `tx`.
Spec: https://spec.matrix.org/v1.19/client-server-api/#restricted-rooms
"""

from __future__ import annotations

from homeserver.core import errors
from homeserver.core.events import Event, StateKey
from homeserver.core.power_levels import CREATE, POWER_LEVELS, power_levels_of
from homeserver.core.room_versions import RoomRules
from homeserver.services.room_state import RoomStates
from homeserver.storage import memberships, rooms
from homeserver.storage.database import Transaction
from homeserver.storage.rooms import Room

MAX_CONDITIONS = 100
_JOIN_RULES: StateKey = ("m.room.join_rules", "")


def is_restricted(join_rules: Event | None, rules: RoomRules) -> bool:
    """Whether the join rule lets in those who meet a condition."""
    join_rule = join_rules.content.get("join_rule") if join_rules else None
    if join_rule == "restricted":
        return rules.restricted_join
    return join_rule == "knock_restricted" and rules.knock_restricted_join


async def authorising_user(
    tx: Transaction, states: RoomStates, room: Room, user_id: str, server_name: str
) -> str | None:
    """The user of `server_name` (ours) to put in `join_authorised_via_users_server`; None when the join needs none.

    Raises MatrixError: M_FORBIDDEN when no condition is met, M_UNABLE_TO_AUTHORISE_JOIN when we cannot tell,
    M_UNABLE_TO_GRANT_JOIN when a condition is met but no user of ours may invite.
    Spec: https://spec.matrix.org/v1.19/server-server-api/#restricted-rooms
    """
    state = await states.events(tx, room.current_state, [_JOIN_RULES, CREATE, POWER_LEVELS])
    join_rules = state.get(_JOIN_RULES)
    if not is_restricted(join_rules, room.rules):
        return None
    # "If the user has an invite to the room then the restrictions will not affect them."
    membership = await memberships.get(tx, room.room_nid, user_id)
    if membership is not None and membership.membership in ("join", "invite"):
        return None
    await _check_conditions(tx, join_rules, user_id, server_name)
    levels = power_levels_of(state)
    for candidate in await memberships.local_users(tx, room.room_nid, server_name, ["join"]):
        if levels.can_invite(candidate):
            return candidate
    raise errors.unable_to_grant_join(
        f"{user_id} meets a condition to join {room.room_id}, but no user of this server may invite: ask another server"
    )


async def _check_conditions(
    tx: Transaction, join_rules: Event | None, user_id: str, server_name: str
) -> None:
    """Return when a condition is met."""
    allow = join_rules.content.get("allow") if join_rules else None
    unknown = False
    for condition in allow[:MAX_CONDITIONS] if isinstance(allow, list) else []:
        # "Currently there is only one condition available: m.room_membership."
        if not isinstance(condition, dict) or condition.get("type") != "m.room_membership":
            continue
        room_id = condition.get("room_id")
        other = await rooms.get(tx, room_id) if isinstance(room_id, str) and "\0" not in room_id else None
        # What we know of a room that we have left may be out of date.
        if other is None or not await memberships.is_server_joined(tx, other.room_nid, server_name):
            unknown = True
            continue
        membership = await memberships.get(tx, other.room_nid, user_id)
        if membership is not None and membership.membership == "join":
            return
    if unknown:
        raise errors.unable_to_authorise_join(
            f"this server is not in all the rooms that let {user_id} join, so it cannot tell: ask another server"
        )
    raise errors.forbidden(f"{user_id} is in none of the rooms whose members may join this one")
