"""Receipts to other servers: the first at once, those that come meanwhile together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from homeserver.core.receipts import MAIN, READ, UNTHREADED, Read
from homeserver.services.receipt_sender import ReceiptSender
from tests.support.federation_peer import until

ROOM, OTHER = "!room:test", "!other:test"


class Sent:
    """Notes the EDUs, instead of sending them."""

    def __init__(self, rate: float) -> None:
        self.edus: list[tuple[list[str], Mapping[str, Any]]] = []
        self.receipts = ReceiptSender(self, rate)  # type: ignore[arg-type]

    def queue_edu(self, names: Iterable[str], edu_type: str, content: Mapping[str, Any]) -> None:
        assert edu_type == "m.receipt"
        self.edus.append((list(names), content))

    def read(self, user: str, event_id: str, *, room_id: str = ROOM, thread_id: str = UNTHREADED) -> None:
        self.receipts.send(Read(room_id, user, READ, thread_id, event_id, 5), ["one", "two"])


async def test_what_comes_meanwhile_is_sent_together() -> None:
    sent = Sent(rate=20)
    sent.read("@alice:test", "$a")
    assert len(sent.edus) == 1, "the first at once"
    for user in ("@alice:test", "@bob:test"):
        for event_id in ("$b", "$c"):
            sent.read(user, event_id)
    sent.read("@alice:test", "$d", thread_id=MAIN)
    sent.read("@alice:test", "$a", room_id=OTHER)
    assert len(sent.edus) == 2, "another room does not wait for this one"
    await until(lambda: len(sent.edus) == 4)
    (names, together), (_, threaded) = sent.edus[2:]
    assert names == ["one", "two"]
    events = {user: told["event_ids"] for user, told in together[ROOM][READ].items()}
    assert events == {"@alice:test": ["$c"], "@bob:test": ["$c"]}
    assert threaded[ROOM][READ]["@alice:test"] == {
        "event_ids": ["$d"],
        "data": {"ts": 5, "thread_id": MAIN},
    }
    await until(lambda: not sent.receipts._rooms)
    sent.read("@alice:test", "$e")
    assert len(sent.edus) == 5
    sent.receipts.stop()


async def test_what_waits_is_sent_when_the_server_stops() -> None:
    sent = Sent(rate=0.001)
    sent.read("@alice:test", "$a")
    sent.read("@alice:test", "$b")
    assert len(sent.edus) == 1
    sent.receipts.stop()
    assert len(sent.edus) == 2


async def test_nobody_to_tell() -> None:
    sent = Sent(rate=1)
    sent.receipts.send(Read(ROOM, "@alice:test", READ, UNTHREADED, "$a", 5), [])
    assert sent.edus == [] and not sent.receipts._rooms
