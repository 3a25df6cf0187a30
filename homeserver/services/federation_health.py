"""How federation goes with each server, and having one tried again: for operators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from homeserver.core import errors
from homeserver.services.clock import Clock
from homeserver.services.sender import Sender
from homeserver.storage import federation_health
from homeserver.storage.database import Database, Transaction
from homeserver.storage.federation_health import DestinationHealth, InboundError, Order


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which part of the list of destinations."""

    like: str = ""
    order: Order = "destination"
    backwards: bool = False
    start: int = 0
    limit: int = 100


class FederationHealth:
    """Tells of destinations and inbound servers."""

    def __init__(self, database: Database, sender: Sender, own_name: str, clock: Clock) -> None:
        """`sender` has the queues."""
        self._database = database
        self._sender = sender
        self._own_name = own_name
        self._clock = clock

    async def page(self, wanted: Wanted) -> tuple[list[dict[str, Any]], int]:
        """Some destinations, in the form of Synapse's admin API with what more there is, and how many there are."""

        async def work(tx: Transaction) -> tuple[list[DestinationHealth], int]:
            return await federation_health.page(
                tx,
                self._own_name,
                like=wanted.like,
                order=wanted.order,
                backwards=wanted.backwards,
                start=wanted.start,
                limit=wanted.limit,
            )

        found, total = await self._database.read(work)
        return [self._shown(each) for each in found], total

    async def destination(self, name: str) -> dict[str, Any]:
        """One destination with the last errors of its own requests. Raises M_NOT_FOUND."""

        async def work(tx: Transaction) -> tuple[DestinationHealth | None, list[InboundError]]:
            errors_of = await federation_health.inbound_errors(tx, [name])
            return await federation_health.one(tx, self._own_name, name), errors_of.get(name, [])

        health, inbound = await self._database.read(work)
        if health is None and not inbound:
            raise errors.not_found("Unknown destination")
        shown: dict[str, Any] = self._shown(health) if health else {"destination": name}
        shown["inbound_errors"] = [
            {"ts": each.at_ms, "request": each.what, "error": each.reason} for each in inbound
        ]
        return shown

    async def rooms(self, name: str, start: int, limit: int, *, backwards: bool) -> tuple[list[str], int]:
        """Some of the rooms that a server shares with us, and how many there are. Raises M_NOT_FOUND."""

        async def work(tx: Transaction) -> tuple[DestinationHealth | None, tuple[list[str], int]]:
            health = await federation_health.one(tx, self._own_name, name)
            return health, await federation_health.shared_rooms(tx, name, start, limit, backwards=backwards)

        health, found = await self._database.read(work)
        if health is None:
            raise errors.not_found("Unknown destination")
        return found

    async def retry(self, name: str) -> None:
        """Have a server that does not answer tried again at once.

        Raises M_NOT_FOUND for one that is not known, M_UNKNOWN when there is nothing to be retried.
        """
        if self._sender.retry(name):
            return
        if await self._database.read(lambda tx: federation_health.one(tx, self._own_name, name)) is None:
            raise errors.not_found("Unknown destination")
        raise errors.unknown("The retry timing does not need to be reset for this destination.", 400)

    def _shown(self, health: DestinationHealth) -> dict[str, Any]:
        now = self._clock()
        is_failing = health.retry_at is not None
        last = health.last_failure or 0
        return {
            "destination": health.destination,
            "retry_last_ts": last if is_failing else 0,
            "retry_interval": max(0, (health.retry_at or 0) - last) if is_failing else 0,
            "failure_ts": health.failing_since,
            "last_successful_stream_ordering": None,
            # What follows is told by this server alone.
            "state": "healthy"
            if not is_failing
            else "backing_off"
            if (health.retry_at or 0) > now
            else "retrying",
            "retry_at_ts": health.retry_at,
            "failures": health.failures,
            "last_success_ts": health.last_success,
            "last_failure_ts": health.last_failure,
            "last_failure_reason": health.reason,
            "queue_length": health.queued,
        }
