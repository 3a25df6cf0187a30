"""EDUs from other servers: each goes to whoever handles its type; types that nobody handles are ignored.

Spec: https://spec.matrix.org/v1.19/server-server-api/#edus
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from prometheus_client import Counter

log = logging.getLogger(__name__)

EDUHandler = Callable[[str, Mapping[str, Any]], Awaitable[None]]
"""(the server that sent it, content). Checks the content, and raises nothing for what is wrong with it."""

# The types of the specification: a label of the counter for each, and one for all others.
TYPES = frozenset(
    {
        "m.typing",
        "m.presence",
        "m.receipt",
        "m.device_list_update",
        "m.signing_key_update",
        "m.direct_to_device",
    }
)

received_edus = Counter(
    "homeserver_received_edus_total",
    "EDUs from other servers, by type and what became of them.",
    ["type", "result"],
)


class IncomingEDUs:
    """Hands EDUs on."""

    def __init__(self, handlers: Mapping[str, EDUHandler]) -> None:
        """`handlers` by EDU type."""
        self._handlers = dict(handlers)

    async def take(self, origin: str, edus: Sequence[Any]) -> None:
        """Handle the EDUs of a transaction in their order. What is wrong with one of them does not concern the others."""
        for edu in edus:
            edu_type = edu.get("edu_type") if isinstance(edu, dict) else None
            content = edu.get("content") if isinstance(edu, dict) else None
            label = edu_type if isinstance(edu_type, str) and edu_type in TYPES else "other"
            if not isinstance(edu_type, str) or not isinstance(content, dict):
                received_edus.labels(label, "malformed").inc()
                log.info("%s sent a malformed EDU", origin)
                continue
            handler = self._handlers.get(edu_type)
            if handler is None:
                received_edus.labels(label, "ignored").inc()
                continue
            try:
                await handler(origin, content)
            except Exception:
                # Ephemeral, and another server's: the transaction's events must not suffer from it.
                log.exception("handling the EDU %s of %s failed", edu_type, origin)
                received_edus.labels(label, "failed").inc()
            else:
                received_edus.labels(label, "handled").inc()
