"""What passes: receipts, who is typing and who is there, from our users and from other servers."""

from __future__ import annotations

from dataclasses import dataclass

from homeserver.app.base import Base
from homeserver.app.graph import Graph
from homeserver.core.presence import PRESENCE
from homeserver.core.receipts import RECEIPT
from homeserver.services.clock import now_ms
from homeserver.services.incoming_edus import EDUHandler
from homeserver.services.presence import Presence
from homeserver.services.presence_news import PresenceNews
from homeserver.services.presence_tracker import PresenceTracker
from homeserver.services.receipt_sender import ReceiptSender
from homeserver.services.receipts import Receipts
from homeserver.services.received_presence import ReceivedPresence
from homeserver.services.received_receipts import ReceivedReceipts
from homeserver.services.received_typing import ReceivedTyping
from homeserver.services.typing import TYPING, Typing
from homeserver.services.user_writes import UserWrites
from homeserver.storage import presence as stored_presence


@dataclass(frozen=True, slots=True)
class Ephemeral:
    """What takes ephemeral data. presence_news: None where presence is switched off; edu_handlers: by EDU type."""

    receipts: Receipts
    typing: Typing
    presence: Presence
    presence_news: PresenceNews | None
    edu_handlers: dict[str, EDUHandler]


async def build_ephemeral(base: Base, graph: Graph) -> Ephemeral:
    """Build it; who was online before a restart has a moment to come back."""
    database, sender, server_name = base.database, base.sender, base.identity.server_name
    writes = UserWrites(database, base.after_commit)
    typing = Typing(database, base.typing_users, sender, server_name)
    base.observers.append(typing.committed)
    base.stack.push_async_callback(typing.stop)
    handlers: dict[str, EDUHandler] = {
        RECEIPT: ReceivedReceipts(writes, graph.states).take,
        TYPING: ReceivedTyping(database, graph.states, base.typing_users).take,
    }
    news = tracker = None
    if base.settings.people.presence.enabled is True:
        news = PresenceNews(writes, sender, base.identity, now_ms)
        tracker = PresenceTracker(news, now_ms)
        received = ReceivedPresence(database, news, server_name, now_ms)
        handlers[PRESENCE] = received.take
        await _restore(base, tracker, received)
        base.observers.extend((news.committed, tracker.committed, received.committed))
        base.stack.push_async_callback(news.stop)
        base.stack.callback(tracker.stop)
        base.stack.push_async_callback(received.stop)
    presence = Presence(
        database,
        tracker,
        base.settings.people.presence,
        base.settings.rate_limits.rc_presence.per_user,
        now_ms,
    )
    receipt_sender = ReceiptSender(
        sender, base.settings.federation.federation_rr_transactions_per_room_per_second
    )
    base.stack.callback(receipt_sender.stop)
    receipts = Receipts(writes, receipt_sender, server_name, now_ms)
    return Ephemeral(receipts, typing, presence, news, handlers)


async def _restore(base: Base, tracker: PresenceTracker, received: ReceivedPresence) -> None:
    """Take up who was not offline when the server stopped."""
    before = await base.database.read(stored_presence.not_offline)
    ours = {user_id: state for user_id, state in before.items() if base.identity.is_ours(user_id)}
    tracker.restore(ours)
    received.restore(before.keys() - ours.keys())
