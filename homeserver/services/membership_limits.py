"""How often users may join and be invited: rc_joins.remote, rc_joins_per_room and rc_invites.

Spec: https://spec.matrix.org/v1.19/client-server-api/#rate-limiting
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from homeserver.core.errors import limit_exceeded
from homeserver.core.token_bucket import RateLimit, TokenBuckets
from homeserver.services.notifier import Arrival, Committed


class InviteSettings(Protocol):
    """`rc_invites` of homeserver.yaml."""

    @property
    def per_room(self) -> RateLimit:
        """Invites to a room."""
        ...

    @property
    def per_user(self) -> RateLimit:
        """Invites that a user of ours gets."""
        ...

    @property
    def per_issuer(self) -> RateLimit:
        """Invites that a user of ours sends."""
        ...


class JoinLimits:
    """How often a user may join rooms that have to be fetched, and how often a room may be joined by anybody."""

    def __init__(
        self, remote: RateLimit, per_room: RateLimit, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._remote = TokenBuckets(remote)
        self._per_room = TokenBuckets(per_room)
        self._monotonic = monotonic

    def fetching(self, user_id: str) -> None:
        """Count the join of a room that has to be fetched from others. Raises M_LIMIT_EXCEEDED."""
        wait_ms = self._remote.take(user_id, self._monotonic())
        if wait_ms:
            raise limit_exceeded("Too many rooms of other servers joined", wait_ms)

    def check_room(self, room_id: str) -> None:
        """Whether one more may join the room now. Raises M_LIMIT_EXCEEDED."""
        wait_ms = self._per_room.wait_ms(room_id, self._monotonic())
        if wait_ms:
            raise limit_exceeded(f"Too many have just joined {room_id}", wait_ms)

    def committed(self, committed: Committed) -> None:
        """Count those who have joined a room, on whichever server."""
        for arrival in committed.arrivals:
            if arrival.room is not None and arrival.newcomers:
                self._count(arrival, arrival.room.room_id)

    def _count(self, arrival: Arrival, room_id: str) -> None:
        # With the state that comes with a join of ours come others, who have been there before.
        events = (stored.event for stored in arrival.events)
        joined = sum(each.membership == "join" and each.state_key in arrival.newcomers for each in events)
        now = self._monotonic()
        for _ in range(min(joined, self._per_room.limit.burst_count)):
            self._per_room.take(room_id, now)


class InviteLimits:
    """How often a room's users, and a single user, may be invited, and a user invite."""

    def __init__(self, limits: InviteSettings, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._per_room = TokenBuckets(limits.per_room)
        self._per_user = TokenBuckets(limits.per_user)
        self._per_issuer = TokenBuckets(limits.per_issuer)
        self._monotonic = monotonic

    def invited(self, room_id: str, user_id: str, issuer: str | None) -> None:
        """Count an invite. issuer: who invites, for a user of ours. Raises M_LIMIT_EXCEEDED, and has counted nothing then."""
        now = self._monotonic()
        counted = [
            (self._per_room, room_id, f"Too many users have been invited to {room_id}"),
            (self._per_user, user_id, f"{user_id} has been invited too often"),
        ]
        if issuer is not None:
            counted.append((self._per_issuer, issuer, f"{issuer} has invited too many users"))
        for buckets, key, message in counted:
            wait_ms = buckets.wait_ms(key, now)
            if wait_ms:
                raise limit_exceeded(message, wait_ms)
        for buckets, key, _ in counted:
            buckets.take(key, now)

    def invited_with_creation(self, issuer: str, count: int) -> None:
        """Count the invites that come with a new room. Raises M_LIMIT_EXCEEDED when the user may not send so many now."""
        wait_ms = self._per_issuer.take(issuer, self._monotonic(), cost=count) if count else 0
        if wait_ms:
            raise limit_exceeded(f"{issuer} may not invite {count} users now", wait_ms)
