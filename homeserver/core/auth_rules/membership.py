"""The rule on m.room.member: who may join, invite, leave, kick, ban and knock.

Its number differs between the versions; the numbers in the comments are those of room version 11 (rule 4).

Spec: https://spec.matrix.org/v1.19/rooms/v11/#authorisation-rules
"""

from __future__ import annotations

from homeserver.core.auth_rules.context import Context
from homeserver.core.auth_rules.refusal import Refusal
from homeserver.core.auth_rules.third_party import authorise_third_party_invitation
from homeserver.core.identifiers import domain_of, is_valid_user_id
from homeserver.core.power_levels import INFINITE, creators


def authorise_member(context: Context) -> Refusal | None:
    """The rule on m.room.member."""
    event, numbers = context.event, context.numbers
    # 4.1: "If there is no state_key property, or no membership property in content, reject."
    if event.state_key is None:
        return context.refuse(f"{numbers.member}.1", "the membership event has no state_key: whose is it?")
    if "membership" not in event.content:
        return context.refuse(f"{numbers.member}.1", "the membership event has no membership")
    # v8+ 4.2: "If content has a join_authorised_via_users_server property:"
    if context.rules.restricted_join and "join_authorised_via_users_server" in event.content:
        refusal = _authorise_authoriser(context)
        if refusal is not None:
            return refusal
    match event.membership:
        case "join":
            return _authorise_join(context, event.state_key)
        case "invite":
            return _authorise_invite(context, event.state_key)
        case "leave":
            return _authorise_leave(context, event.state_key)
        case "ban":
            return _authorise_ban(context, event.state_key)
        # v7+ 4.7: "If membership is knock:"
        case "knock" if context.rules.knock:
            return _authorise_knock(context, event.state_key)
        case _:
            # 4.8: "Otherwise, the membership is unknown. Reject."
            membership = event.content["membership"]
            return context.refuse(numbers.unknown_membership, f"the membership {membership!r} is not known")


def _authorise_authoriser(context: Context) -> Refusal | None:
    # 4.2.1: "If the event is not validly signed by the homeserver of the user ID denoted by the key, reject."
    # The signature itself is verified when the event is received (`signing.required_signatures` names that
    # server); here it has to be there, so that an event cannot pass without having been verified.
    number = f"{context.numbers.authorised_join}.1"
    authoriser = context.event.content["join_authorised_via_users_server"]
    if not is_valid_user_id(authoriser):
        return context.refuse(number, f"join_authorised_via_users_server is {authoriser!r}, not a user ID")
    server = domain_of(authoriser)
    if not context.event.signatures.get(server):
        return context.refuse(
            number, f"the event is not signed by {server}, whose user {authoriser} it names"
        )
    return None


def _authorise_join(context: Context, target: str) -> Refusal | None:
    number, event, create = context.numbers.join, context.event, context.create
    # 4.3.1: "If the only previous event is an m.room.create and the state_key is the creator, allow." (v11+:
    # "the sender of the m.room.create"; additional creators have to be invited like anybody.)
    if event.prev_event_ids == (create.event_id,):
        first = {create.sender} if context.rules.implicit_room_creator else creators(create)
        if target in first:
            return None
    # 4.3.2: "If the sender does not match state_key, reject."
    if event.sender != target:
        return context.refuse(f"{number}.2", f"{event.sender} cannot join on behalf of {target}")
    membership, join_rule = context.membership_of(target), context.join_rule
    # 4.3.3: "If the sender is banned, reject."
    if membership == "ban":
        return context.refuse(f"{number}.3", f"{target} is banned from the room")
    invited = membership in ("invite", "join")
    # 4.3.4: "If the join_rule is invite or knock then allow if membership state is invite or join."
    if join_rule == "invite" or (join_rule == "knock" and context.rules.knock):
        if invited:
            return None
        # v8+ 4.3.7, before 4.2.6: "Otherwise, reject."
        otherwise = f"{number}.7" if context.rules.restricted_join else f"{number}.6"
        return context.refuse(otherwise, f"{target} is not invited, and the join rule is {join_rule}")
    # v8+ 4.3.5: "If the join_rule is restricted [v10+: or knock_restricted]:"
    if (join_rule == "restricted" and context.rules.restricted_join) or (
        join_rule == "knock_restricted" and context.rules.knock_restricted_join
    ):
        # 4.3.5.1: "If membership state is join or invite, allow."
        return None if invited else _authorise_restricted_join(context, f"{number}.5.2")
    # v8+ 4.3.6, before 4.2.5: "If the join_rule is public, allow."
    if join_rule == "public":
        return None
    otherwise = f"{number}.7" if context.rules.restricted_join else f"{number}.6"
    return context.refuse(otherwise, f"the join rule is {join_rule}, by which nobody can join")


def _authorise_restricted_join(context: Context, number: str) -> Refusal | None:
    # 4.3.5.2: "If the join_authorised_via_users_server key in content is not a user with sufficient
    # permission to invite other users or is not a joined member of the room, reject."
    event = context.event
    authoriser = event.content.get("join_authorised_via_users_server")
    if not isinstance(authoriser, str):
        return context.refuse(
            number, f"{event.sender} is not invited, and no member vouches for this join of a restricted room"
        )
    if context.membership_of(authoriser) != "join":
        return context.refuse(number, f"{authoriser}, who vouches for the join, is not in the room")
    level = context.levels.user_level(authoriser)
    if level < context.levels.invite:
        return context.refuse(
            number,
            f"{authoriser}, who vouches for the join, has power level {level}, but inviting needs "
            f"{context.levels.invite}",
        )
    # 4.3.5.3: "Otherwise, allow."
    return None


def _authorise_invite(context: Context, target: str) -> Refusal | None:
    number, event = context.numbers.invite, context.event
    # 4.4.1: "If content has a third_party_invite property:"
    if "third_party_invite" in event.content:
        return authorise_third_party_invitation(context, target, f"{number}.1")
    # 4.4.2: "If the sender's current membership state is not join, reject."
    if context.membership_of(event.sender) != "join":
        return context.refuse(f"{number}.2", f"{event.sender} is not in the room")
    # 4.4.3: "If target user's current membership state is join or ban, reject."
    membership = context.membership_of(target)
    if membership in ("join", "ban"):
        state = "already in" if membership == "join" else "banned from"
        return context.refuse(f"{number}.3", f"{target} is {state} the room")
    # 4.4.4: "If the sender's power level is greater than or equal to the invite level, allow."
    if context.sender_level >= context.levels.invite:
        return None
    # 4.4.5: "Otherwise, reject."
    return context.refuse(
        f"{number}.5",
        f"{event.sender} has power level {context.sender_level}, but inviting needs {context.levels.invite}",
    )


def _authorise_leave(context: Context, target: str) -> Refusal | None:
    number, event, levels = context.numbers.leave, context.event, context.levels
    membership = context.membership_of(target)
    # 4.5.1: "If the sender matches state_key, allow if and only if that user's current membership state is
    # invite, join, or knock." (v7+ for knock)
    if event.sender == target:
        if membership in ("invite", "join") or (membership == "knock" and context.rules.knock):
            return None
        state = "banned from" if membership == "ban" else "not in"
        return context.refuse(f"{number}.1", f"{target} cannot leave, being {state} the room")
    # 4.5.2: "If the sender's current membership state is not join, reject."
    if context.membership_of(event.sender) != "join":
        return context.refuse(f"{number}.2", f"{event.sender} is not in the room")
    # 4.5.3: "If the target user's current membership state is ban, and the sender's power level is less than
    # the ban level, reject."
    level = context.sender_level
    if membership == "ban" and level < levels.ban:
        return context.refuse(
            f"{number}.3",
            f"{event.sender} has power level {level}, but lifting the ban of {target} needs {levels.ban}",
        )
    # 4.5.4: "If the sender's power level is greater than or equal to the kick level, and the target user's
    # power level is less than the sender's power level, allow."
    if levels.can_kick(event.sender, target):
        return None
    # 4.5.5: "Otherwise, reject."
    return context.refuse(f"{number}.5", _too_weak(context, target, "removing", levels.kick))


def _authorise_ban(context: Context, target: str) -> Refusal | None:
    number, event, levels = context.numbers.ban, context.event, context.levels
    # 4.6.1: "If the sender's current membership state is not join, reject."
    if context.membership_of(event.sender) != "join":
        return context.refuse(f"{number}.1", f"{event.sender} is not in the room")
    # 4.6.2: "If the sender's power level is greater than or equal to the ban level, and the target user's
    # power level is less than the sender's power level, allow."
    if levels.can_ban(event.sender, target):
        return None
    # 4.6.3: "Otherwise, reject."
    return context.refuse(f"{number}.3", _too_weak(context, target, "banning", levels.ban))


def _authorise_knock(context: Context, target: str) -> Refusal | None:
    number, event, join_rule = context.numbers.knock, context.event, context.join_rule
    # 4.7.1: "If the join_rule is anything other than knock [v10+: or knock_restricted], reject."
    if join_rule != "knock" and not (join_rule == "knock_restricted" and context.rules.knock_restricted_join):
        return context.refuse(f"{number}.1", f"the join rule is {join_rule}, which does not allow knocking")
    # 4.7.2: "If sender does not match state_key, reject."
    if event.sender != target:
        return context.refuse(f"{number}.2", f"{event.sender} cannot knock on behalf of {target}")
    # 4.7.3: "If the sender's current membership is not ban, invite, or join, allow."
    membership = context.membership_of(target)
    if membership not in ("ban", "invite", "join"):
        return None
    # 4.7.4: "Otherwise, reject."
    return context.refuse(f"{number}.4", f"{target} cannot knock, having the membership {membership}")


def _too_weak(context: Context, target: str, doing: str, needed: int) -> str:
    level, theirs = context.sender_level, context.levels.user_level(target)
    if level < needed:
        return f"{context.event.sender} has power level {level}, but {doing} {target} needs {needed}"
    if theirs == INFINITE:
        return f"{target} is a creator of the room, and nobody's power allows {doing} a creator"
    return f"{doing} {target} needs a power level above theirs ({theirs}); {context.event.sender} has {level}"
