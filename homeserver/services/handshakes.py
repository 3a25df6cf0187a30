"""What joining, leaving and knocking through other servers have in common: the tries, and the event made of a template.

A server offers a template, which is checked field by field; we make the event of it, sign it, and send it back.

Spec: https://spec.matrix.org/v1.19/server-server-api/#joining-rooms
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from homeserver.core import errors
from homeserver.core.errors import InvalidEvent, MatrixError
from homeserver.core.events import Event, make_event
from homeserver.core.identifiers import domain_of, is_valid_server_name
from homeserver.core.room_versions import EventIDFormat
from homeserver.federation.errors import FederationError
from homeserver.federation.remote.membership import MembershipTemplate
from homeserver.services.clock import Clock
from homeserver.services.identity import Identity
from homeserver.services.imported_state import BadState

MAX_SERVERS = 20
ENOUGH_REFUSALS = 3
NO_ANSWER = "no answer in time"

# "may be passed through to clients": what a resident says of the user rather than of itself. With the status that belongs to it:
# the one that it came with may be anything. Of several answers the client is told the first of this list: who cannot tell has less
# to say than who refuses.
TELLING = {
    "M_INCOMPATIBLE_ROOM_VERSION": 400,
    "M_FORBIDDEN": 403,
    "M_UNABLE_TO_GRANT_JOIN": 400,
    "M_UNABLE_TO_AUTHORISE_JOIN": 400,
}


class HandshakeRefused(Exception):
    """A server's part in the handshake cannot be used; `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(slots=True)
class Attempt:
    """How far a handshake with one server came."""

    server: str
    stage: str
    started: float = field(default_factory=time.monotonic)
    failure: str = ""
    answer: FederationError | None = None

    @property
    def may_work_later(self) -> bool:
        """Whether the server did not answer, or says that it cannot now."""
        return self.answer.temporary if self.answer else self.failure == NO_ANSWER

    def failed(self, error: FederationError | HandshakeRefused | BadState) -> None:
        """Note why it came no further."""
        self.failure = error.reason
        self.answer = error if isinstance(error, FederationError) else None

    def __str__(self) -> str:
        if self.answer:
            return f"{self.server}: {self.stage}: {self.failure} ({explained(self.answer)})"
        return f"{self.server}: {self.stage}: {self.failure} (for the operator of {self.server} to mend)"


def explained(failure: FederationError) -> str:
    """How far a request came, and who can mend it."""
    turn = f"; for {failure.whose_turn} to mend" if failure.whose_turn else ""
    return f"failed at {failure.how_far}{turn}"


def servers_to_ask(named: Iterable[str], own_name: str) -> list[str]:
    """The servers among `named`, each once and in their order, without ourselves."""
    servers = dict.fromkeys(server for server in named if is_valid_server_name(server))
    return [server for server in servers if server != own_name][:MAX_SERVERS]


def event_of_template(
    template: MembershipTemplate,
    server: str,
    identity: Identity,
    clock: Clock,
    *,
    room_id: str,
    user_id: str,
    content: Mapping[str, Any],
) -> Event:
    """The member event that we sign: made by us of the parts of the template that have been checked.

    content: the whole content. `join_authorised_via_users_server` is the template's alone. Raises HandshakeRefused.
    """
    problem = _template_problem(template, server)
    if problem:
        raise HandshakeRefused(f"its template cannot be signed: {problem}")
    full = {name: value for name, value in content.items() if name != "join_authorised_via_users_server"}
    if template.authorised_via is not None:
        full["join_authorised_via_users_server"] = template.authorised_via
    chosen = template.rules.event_id_format is EventIDFormat.SERVER_CHOSEN
    try:
        return make_event(
            template.rules,
            server_name=identity.server_name,
            signing_key=identity.signing_key,
            room_id=room_id,
            type="m.room.member",
            sender=user_id,
            content=full,
            state_key=user_id,
            prev_events=template.prev_events,
            auth_events=template.auth_events,
            depth=template.depth,
            origin_server_ts=clock(),
            event_id=f"${secrets.token_urlsafe(18)}:{identity.server_name}" if chosen else None,
        )
    except InvalidEvent as invalid:
        raise HandshakeRefused(f"its template does not make a valid event: {invalid.reason}") from invalid


def _template_problem(template: MembershipTemplate, server: str) -> str | None:
    """What reading the answer left to check of a template."""
    if not template.prev_events:
        return "it has no prev_events"
    for name, references in (("prev_events", template.prev_events), ("auth_events", template.auth_events)):
        ids = [reference if isinstance(reference, str) else reference[0] for reference in references]
        if len(set(ids)) != len(ids):
            return f"its {name} names an event twice"
    if template.depth < 1:
        return "its depth is 0, which only a create event has"
    if template.authorised_via is not None:
        if not template.rules.restricted_join:
            return f"it names an authorising user, which room version {template.rules.version} does not know"
        # "An arbitrary user ID belonging to the resident server in the room being joined"
        if domain_of(template.authorised_via) != server:
            return f"the authorising user {template.authorised_via} is not one of {server}"
    return None


def is_settled(attempts: Sequence[Attempt]) -> bool:
    """Whether no other server will say anything else: the room's version is not ours, or several do not let the user in."""
    codes = [attempt.answer.errcode for attempt in attempts if attempt.answer]
    return "M_INCOMPATIBLE_ROOM_VERSION" in codes or codes.count("M_FORBIDDEN") >= ENOUGH_REFUSALS


def failed(what: str, attempts: Sequence[Attempt]) -> MatrixError:
    """What the client is told: a refusal of the user as it is, else all that was tried. what: "join !room"."""
    tried = "; ".join(str(attempt) for attempt in attempts)
    told = f"Could not {what}. Tried {tried}"
    answers = {attempt.answer.errcode: attempt.answer for attempt in attempts if attempt.answer}
    for errcode, status in TELLING.items():
        if errcode in answers:
            version = (answers[errcode].body or {}).get("room_version")
            extra = {"room_version": version[:32]} if isinstance(version, str) else {}
            return MatrixError(errcode, told, status, **extra)
    if all(attempt.answer and attempt.answer.status == 404 for attempt in attempts):
        return errors.not_found(told)
    return errors.unknown(told, 502)
