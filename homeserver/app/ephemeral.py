"""What passes: receipts, from our users and from other servers."""

from __future__ import annotations

from homeserver.app.base import Base
from homeserver.app.graph import Graph
from homeserver.core.receipts import RECEIPT
from homeserver.services.clock import now_ms
from homeserver.services.incoming_edus import EDUHandler
from homeserver.services.receipts import Receipts
from homeserver.services.received_receipts import ReceivedReceipts
from homeserver.services.user_writes import UserWrites


def ephemeral_services(base: Base) -> list[object]:
    """What takes ephemeral data from our users."""
    writes = UserWrites(base.database, base.after_commit)
    return [Receipts(writes, base.sender, base.identity.server_name, now_ms)]


def edu_handlers(base: Base, graph: Graph) -> dict[str, EDUHandler]:
    """What takes it from other servers, by EDU type."""
    writes = UserWrites(base.database, base.after_commit)
    return {RECEIPT: ReceivedReceipts(writes, graph.states).take}
