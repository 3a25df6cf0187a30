"""Limits that nobody reaches."""

from homeserver.config.settings import InviteLimits, RateLimit

NO_LIMIT = RateLimit(per_second=1_000_000, burst_count=1_000_000)
NO_INVITE_LIMITS = InviteLimits(per_room=NO_LIMIT, per_user=NO_LIMIT, per_issuer=NO_LIMIT)
