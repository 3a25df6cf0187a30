"""Pushing notifications, and telling of them."""

from __future__ import annotations

import random

from homeserver.app.base import Base
from homeserver.app.graph import Graph
from homeserver.federation.addresses import AddressFilter
from homeserver.federation.push_gateways import PushGateways
from homeserver.services.clock import now_ms
from homeserver.services.push.delivery import Delivery
from homeserver.services.push.listing import NotificationList
from homeserver.services.push.news import PusherNews
from homeserver.services.push.pushers import Pushers


async def push_services(base: Base, graph: Graph) -> list[object]:
    """The pushers, at work, and the list of notifications."""
    settings, database = base.settings, base.database
    federation, push = settings.federation, settings.push.push
    addresses = AddressFilter(federation.ip_range_blocklist, federation.ip_range_allowlist)
    gateways = PushGateways(base.client.names, addresses, base.client.settings.user_agent)
    base.stack.push_async_callback(gateways.close)
    news = PusherNews(graph.states, push)
    delivery = Delivery(
        database, news, gateways.notify, now_ms, random.Random(), jitter_ms=int(push.jitter_delay)
    )
    if push.enabled:
        await delivery.start()
    base.stack.push_async_callback(delivery.stop)
    base.observers.append(delivery.committed)
    return [Pushers(database, delivery, now_ms), NotificationList(database, graph.client_events)]
