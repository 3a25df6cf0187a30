"""Writes the answer to a send_join of a large room to a file: in a process of its own, so that making it takes none of the memory
that a test measures.

    write_answer(path, room, megabytes=5)
"""

from __future__ import annotations

import asyncio
import json
import sys
from base64 import b64decode, b64encode
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from signedjson.key import decode_signing_key_base64

from homeserver.core.events import parse_pdu
from tests.support.federation_peer import PeerRoom

CYCLE = 4
"""One member in so many has joined before, so that an earlier event of hers is in the auth chain."""


async def write_answer(path: Path, room: PeerRoom, megabytes: int) -> int:
    """Fill the file with the answer for a room that has as many more members as it takes; returns how many these are."""
    task = {
        "server_name": room.peer.server_name,
        "key": b64encode(room.peer.signing_key.encode()).decode(),
        "version": room.rules.version,
        "room_id": room.room_id,
        "events": [room.events[event_id].pdu for event_id in room.state.values()],
        "megabytes": megabytes,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        __name__,
        str(path),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    told, _ = await process.communicate(json.dumps(task).encode())
    assert process.returncode == 0
    return int(told)


def main(path: Path, task: dict[str, Any]) -> None:
    """Write it, and say how many members there are."""
    key = decode_signing_key_base64("ed25519", "peer", b64encode(b64decode(task["key"])).decode())
    peer: Any = SimpleNamespace(server_name=task["server_name"], signing_key=key, rooms={})
    room = PeerRoom(peer, task["version"], task["room_id"])
    for pdu in task["events"]:
        room.put(parse_pdu(pdu, room.rules))
    base = list(room.events.values())
    room.heads = room.heads[-1:]
    auth = [event.event_id for event in base if event.type != "m.room.member"]
    count = 0
    with path.open("wb") as file, path.with_suffix(".chain").open("wb+") as chain:
        file.write(b'{"state":[' + b",".join(event.canonical for event in base))
        while file.tell() + chain.tell() < task["megabytes"] << 20:
            count += 1
            user = f"@member-number-{count}:{peer.server_name}"
            content = {
                "membership": "join",
                "displayname": f"Member {count} \N{GRINNING FACE}",
                "avatar_url": "mxc://x/" + "y" * 24,
            }
            before = []
            if count % CYCLE == 0:
                earlier = room.make("m.room.member", user, {"membership": "join"}, user, auth_events=auth)
                chain.write(b"," + earlier.canonical)
                room.events[earlier.event_id] = earlier
                before = [earlier.event_id]
            event = room.make("m.room.member", user, content, user, auth_events=[*auth, *before])
            file.write(b"," + event.canonical)
            for event_id in before:
                del room.events[event_id]
        file.write(b'],"auth_chain":[' + b",".join(event.canonical for event in base))
        chain.seek(0)
        while piece := chain.read(1 << 20):
            file.write(piece)
        file.write(b"]}")
    print(count)


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.load(sys.stdin))
