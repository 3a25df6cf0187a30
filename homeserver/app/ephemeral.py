"""What passes: receipts and who is typing, from our users and from other servers."""

from __future__ import annotations

from homeserver.app.base import Base
from homeserver.app.graph import Graph
from homeserver.core.receipts import RECEIPT
from homeserver.services.clock import now_ms
from homeserver.services.incoming_edus import EDUHandler
from homeserver.services.receipts import Receipts
from homeserver.services.received_receipts import ReceivedReceipts
from homeserver.services.received_typing import ReceivedTyping
from homeserver.services.typing import TYPING, Typing
from homeserver.services.user_writes import UserWrites


def ephemeral_services(base: Base) -> list[object]:
    """What takes ephemeral data from our users."""
    database, sender, server_name = base.database, base.sender, base.identity.server_name
    typing = Typing(database, base.typing_users, sender, server_name)
    base.observers.append(typing.committed)
    base.stack.push_async_callback(typing.stop)
    return [Receipts(UserWrites(database, base.after_commit), sender, server_name, now_ms), typing]


def edu_handlers(base: Base, graph: Graph) -> dict[str, EDUHandler]:
    """What takes it from other servers, by EDU type."""
    database, states = base.database, graph.states
    return {
        RECEIPT: ReceivedReceipts(UserWrites(database, base.after_commit), states).take,
        TYPING: ReceivedTyping(database, states, base.typing_users).take,
    }
