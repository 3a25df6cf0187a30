"""Write tests/fixtures/synapse_events: the events a real Synapse makes in every room version.

usage, as root: .venv/bin/python -m tests.interop.record_fixtures [VERSION ...]

Each file holds the rooms of one version: every event as other servers get it, in an order in which events follow
those they point to; what Synapse rejected or soft-failed; the current state; the state after each event at which
branches of the room meet; and the verify keys of the servers.
"""

import asyncio
import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from signedjson.key import encode_verify_key_base64, get_verify_key, read_signing_keys

from tests.support.network import network, running, until
from tests.support.person import Refused
from tests.support.synapse import Synapse

from .scenarios import FIRST, FORKS, SCENARIOS, SECOND, World

OUTPUT = Path(__file__).resolve().parents[1] / "fixtures" / "synapse_events"
VERSIONS = tuple(str(number) for number in range(1, 13))
PEOPLE = {"alice": 1, "bob": 1, "carol": 1, "dave": 1, "erin": 1, "frank": 2, "gina": 2}


def verify_keys(*servers: Synapse) -> dict[str, dict[str, str]]:
    """Server name -> key ID -> base64."""
    found = {}
    for server in servers:
        with server.signing_key_path.open() as file:
            keys = [get_verify_key(key) for key in read_signing_keys(file)]
        found[server.server_name] = {
            f"{key.alg}:{key.version}": encode_verify_key_base64(key) for key in keys
        }
    return found


def in_order(pdus: list[tuple[str, dict[str, Any]]]) -> list[tuple[str, dict[str, Any]]]:
    """Every event after those it points to; otherwise as they were stored."""
    known = dict(pdus)
    done: dict[str, dict[str, Any]] = {}

    def place(event_id: str) -> None:
        waiting = [event_id]
        while waiting:
            pdu = known[waiting[-1]]
            pointers = [*pdu["prev_events"], *pdu["auth_events"]]
            names = [pointer if isinstance(pointer, str) else pointer[0] for pointer in pointers]
            missing = [name for name in names if name in known and name not in done]
            if missing:
                waiting += missing
            else:
                done.setdefault(waiting.pop(), pdu)

    for event_id, _ in pdus:
        if event_id not in done:
            place(event_id)
    return list(done.items())


def state_group(server: Synapse, group: int) -> dict[tuple[str, str], str]:
    """The state that Synapse keeps as differences between groups."""
    previous = server.rows("SELECT prev_state_group FROM state_group_edges WHERE state_group = ?", group)
    state = state_group(server, previous[0][0]) if previous else {}
    for event_type, state_key, event_id in server.rows(
        "SELECT type, state_key, event_id FROM state_groups_state WHERE state_group = ?", group
    ):
        state[event_type, state_key] = event_id
    return state


def as_json(state: dict[tuple[str, str], str]) -> list[list[str]]:
    """[[type, state key, event ID], ...]"""
    return [[*key, event_id] for key, event_id in sorted(state.items())]


def room(server: Synapse, scenario: str, room_id: str) -> dict[str, Any]:
    """Everything of one room, as the server has it."""
    rejections = dict(server.rows("SELECT event_id, reason FROM rejections"))
    metadata = dict(
        server.rows("SELECT event_id, internal_metadata FROM event_json WHERE room_id = ?", room_id)
    )
    groups = dict(server.rows("SELECT event_id, state_group FROM event_to_state_groups"))
    current = server.rows(
        "SELECT type, state_key, event_id FROM current_state_events WHERE room_id = ?", room_id
    )
    extremities = server.rows("SELECT event_id FROM event_forward_extremities WHERE room_id = ?", room_id)
    events = []
    for event_id, pdu in in_order(server.pdus(room_id)):
        event: dict[str, Any] = {"event_id": event_id, "pdu": pdu}
        if event_id in rejections:
            event["rejected"] = rejections[event_id]
        about = json.loads(metadata[event_id])
        event |= {name: True for name in ("soft_failed", "outlier") if about.get(name)}
        if len(pdu["prev_events"]) > 1 and not about.get("outlier"):
            event["state_after"] = as_json(state_group(server, groups[event_id]))
        events.append(event)
    return {
        "scenario": scenario,
        "room_id": room_id,
        "events": events,
        "forward_extremities": sorted(row[0] for row in extremities),
        "current_state": as_json({(row[0], row[1]): row[2] for row in current}),
    }


async def heal(world: World, room_id: str) -> None:
    """The two servers hear of each other again, and each writes on from both branches."""

    async def reaches(sender: str, receiver: str) -> None:
        event_id = await world.people[sender].send(room_id, f"{sender} is back")

        async def read() -> bool:
            try:
                return await world.people[receiver].event(room_id, event_id) is not None
            except Refused as refused:
                if refused.status != 403:
                    raise
                return False

        await until(read, f"{receiver} to read {sender} in {room_id}, version {world.version}", 60)

    await reaches("alice", "frank")
    await reaches("frank", "alice")
    await reaches("alice", "frank")


async def fork(worlds: list[World], first: Synapse, second: Synapse) -> dict[str, dict[str, str]]:
    """Fork rooms in every version: the second server is down, then the first, then both are there."""
    rooms: dict[str, dict[str, str]] = defaultdict(dict)
    for world in worlds:
        for name, scenario in FORKS.items():
            rooms[world.version][name] = await scenario.prepare(world)
    await second.stop()
    for world in worlds:
        for name, room_id in rooms[world.version].items():
            await FORKS[name].first_alone(world, room_id)
    await first.stop()
    await second.start()
    for world in worlds:
        for name, room_id in rooms[world.version].items():
            await FORKS[name].second_alone(world, room_id)
    await first.start()
    for world in worlds:
        for room_id in rooms[world.version].values():
            await heal(world, room_id)
    return rooms


async def record(versions: list[str]) -> None:
    """Let everything happen, and write the files."""
    async with network() as net:
        first, second = Synapse(net, FIRST), Synapse(net, SECOND)
        async with running(first, second):
            servers = {1: first, 2: second}
            people = {name: await servers[home].register(name) for name, home in PEOPLE.items()}
            worlds = [World(version, people) for version in versions]
            rooms: dict[str, dict[str, str]] = defaultdict(dict)
            for world in worlds:
                for name, (since, scenario) in SCENARIOS.items():
                    if world.number >= since:
                        rooms[world.version][name] = await scenario(world)
                print(f"version {world.version}: {', '.join(rooms[world.version])}", flush=True)
            for version, forked in (await fork(worlds, first, second)).items():
                rooms[version] |= {f"fork: {name}": room_id for name, room_id in forked.items()}
        OUTPUT.mkdir(parents=True, exist_ok=True)
        for version, by_scenario in rooms.items():
            write(version, first, second, by_scenario)


def write(version: str, first: Synapse, second: Synapse, rooms: dict[str, str]) -> None:
    """One file, one event a line."""
    recorded = [room(first, scenario, room_id) for scenario, room_id in rooms.items()]
    head = {"room_version": version, "verify_keys": verify_keys(first, second)}
    lines = [json.dumps(head)]
    for each in recorded:
        events = each.pop("events")
        lines.append(
            json.dumps({**each, "number_of_events": len(events)}, ensure_ascii=False, separators=(",", ":"))
        )
        lines += [json.dumps(event, ensure_ascii=False, separators=(",", ":")) for event in events]
    (OUTPUT / f"v{version}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(record(sys.argv[1:] or list(VERSIONS)))
