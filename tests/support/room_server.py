"""The room endpoints behind HTTP, with real services on a database of the test's own; other servers are small fakes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote, urlencode

from signedjson.key import generate_signing_key

from homeserver import client_api
from homeserver.config import RoomSettings
from homeserver.core.errors import not_found, unknown_token
from homeserver.core.events import Event, parse_pdu
from homeserver.core.requester import Requester
from homeserver.core.room_versions import rules_for
from homeserver.core.signing import sign_event_as
from homeserver.core.stream_tokens import Place
from homeserver.federation.errors import FederationError
from homeserver.federation.transport import FederationClient
from homeserver.http import Authenticators, BindingError, Request, build_application
from homeserver.http.binding import BoundEndpoint, Services
from homeserver.services.account_data import AccountData
from homeserver.services.directory import Directory
from homeserver.services.events_by_time import EventsByTime
from homeserver.services.filters import Filters
from homeserver.services.invitations import Invitations
from homeserver.services.member_profiles import MemberProfiles
from homeserver.services.members import Members
from homeserver.services.membership import Entrance, Membership
from homeserver.services.membership_limits import InviteLimits, JoinLimits
from homeserver.services.outside_rooms import OutsideRooms
from homeserver.services.pagination import Pagination
from homeserver.services.public_rooms import PublicRooms
from homeserver.services.push_rules import PushRules
from homeserver.services.received_events import ReceivedEvents
from homeserver.services.relations import Relations
from homeserver.services.remote_memberships import RemoteMemberships
from homeserver.services.remote_summaries import RemoteSummaries
from homeserver.services.replaced_rooms import ReplacedRooms
from homeserver.services.room_creation import RoomCreation
from homeserver.services.room_reads import RoomReads
from homeserver.services.room_sending import RoomSending
from homeserver.services.room_summary import RoomSummary
from homeserver.services.room_upgrades import RoomUpgrades
from homeserver.services.sessions import Sessions
from homeserver.services.space_hierarchy import SpaceHierarchy
from homeserver.services.summary_lookup import SummaryLookup
from homeserver.services.tags import Tags
from homeserver.services.third_party_invites import ThirdPartyInvites
from homeserver.services.threads_list import ThreadsList
from tests.support.client import Answer, Client, serving
from tests.support.limits import NO_INVITE_LIMITS, NO_LIMIT
from tests.support.rooms import RoomServices, open_sqlite

V3 = "/_matrix/client/v3"
SERVER = "ours.test"
ALICE, BOB, CAROL = "@alice:ours.test", "@bob:ours.test", "@carol:ours.test"
ROOT = "@root:ours.test"
"""An administrator of the server."""


_transactions = count()


@dataclass
class RemoteServer:
    """`theirs.test`, as far as these endpoints speak with other servers: invites, aliases, joins, history, its directory."""

    aliases: dict[str, tuple[str, list[str]]] = field(default_factory=dict)
    refuses: FederationError | None = None
    joins: list[tuple[str, str, Sequence[str], Mapping[str, Any]]] = field(default_factory=list)
    invites: list[Mapping[str, Any]] = field(default_factory=list)
    gaps: list[tuple[str, Place, int]] = field(default_factory=list)
    rooms: dict[str, Any] = field(default_factory=lambda: {"chunk": []})
    asked: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.key = generate_signing_key("theirs")

    async def resolve(self, room_alias: str) -> tuple[str, list[str]]:
        """As services.remote_directory does."""
        if room_alias not in self.aliases:
            raise not_found(f"theirs.test does not know the room alias {room_alias}")
        return self.aliases[room_alias]

    async def join(self, user_id: str, room_id: str, via: Sequence[str], content: Mapping[str, Any]) -> None:
        """As services.joins does."""
        if not via:
            raise not_found(f"No server is known that is in {room_id}")
        self.joins.append((user_id, room_id, via, content))

    def is_joining(self, user_id: str, room_id: str) -> bool:
        """Never: it takes no time."""
        return False

    async def wait_for_others(self, room_id: str) -> bool:
        """There is nobody."""
        return False

    async def take(self, origin: str, room_id: str, pdus: Sequence[Any]) -> dict[str, str | None]:
        """Nothing comes from other servers."""
        raise AssertionError(f"events of {origin} for {room_id}")

    async def request(self, destination: str, method: str, path: str, **options: Any) -> Any:
        """As the federation client does, for invites alone."""
        assert path.startswith("/_matrix/federation/v2/invite/"), path
        if self.refuses is not None:
            raise self.refuses
        body = json.loads(options["body"])
        self.invites.append(body)
        event = parse_pdu(body["event"], rules_for(body["room_version"]))
        return {"event": dict(sign_event_as(event, destination, self.key).pdu)}

    async def verify_events(self, events: Iterable[Event]) -> Mapping[str, str | None]:
        """Signatures are the key ring's matter."""
        return {event.event_id: None for event in events}

    async def fill_gap(self, room_id: str, place: Place, limit: int) -> bool:
        """History that nobody has."""
        self.gaps.append((room_id, place, limit))
        return False

    async def fetch_event(self, server: str, room: Any, event_id: str) -> bool:
        """Single events that nobody has."""
        raise AssertionError(f"{event_id} of {server}")

    async def public_rooms(self, server: str, query: Any) -> dict[str, Any]:
        """A page of the directory of another server."""
        self.asked.append({"server": server, "query": query})
        return self.rooms


class RoomClient:
    """One user's client, with the requests that most tests need."""

    def __init__(self, client: Client) -> None:
        self.http = client
        self.user_id = client.user_id

    async def get(self, path: str, **query: Any) -> Answer:
        """GET below /_matrix/client/v3."""
        return await self.http.get(V3 + path + (f"?{urlencode(query, doseq=True)}" if query else ""))

    async def post(self, path: str, body: Any = None, **query: Any) -> Answer:
        """POST below /_matrix/client/v3."""
        return await self.http.post(V3 + path + (f"?{urlencode(query, doseq=True)}" if query else ""), body)

    async def put(self, path: str, body: Any = None) -> Answer:
        """PUT below /_matrix/client/v3."""
        return await self.http.put(V3 + path, body)

    async def delete(self, path: str) -> Answer:
        """DELETE below /_matrix/client/v3."""
        return await self.http.delete(V3 + path)

    async def create(self, **body: Any) -> str:
        """A new room; its ID."""
        room_id: str = (await self.post("/createRoom", body)).ok()["room_id"]
        return room_id

    async def join(self, room_id: str) -> None:
        """Be in a room."""
        assert (await self.post(f"/rooms/{quote(room_id)}/join")).ok() == {"room_id": room_id}

    async def leave(self, room_id: str) -> None:
        """Be in it no more."""
        assert (await self.post(f"/rooms/{quote(room_id)}/leave")).ok() == {}

    async def invite(self, room_id: str, user_id: str) -> Answer:
        """Invite a user."""
        return await self.post(f"/rooms/{quote(room_id)}/invite", {"user_id": user_id})

    async def send(self, room_id: str, content: Any, kind: str = "m.room.message") -> Answer:
        """Send an event with a new transaction ID."""
        path = f"/rooms/{quote(room_id)}/send/{quote(kind, safe='')}/t{next(_transactions)}"
        return await self.put(path, content)

    async def say(self, room_id: str, text: str) -> str:
        """Send a message; the event's ID."""
        event_id: str = (await self.send(room_id, {"msgtype": "m.text", "body": text})).ok()["event_id"]
        return event_id

    async def set_state(self, room_id: str, kind: str, content: Any, state_key: str = "") -> Answer:
        """Set state."""
        return await self.put(
            f"/rooms/{quote(room_id)}/state/{quote(kind, safe='')}/{quote(state_key, safe='')}", content
        )

    async def state(self, room_id: str, kind: str, state_key: str = "") -> Answer:
        """The content of a state event."""
        return await self.get(
            f"/rooms/{quote(room_id)}/state/{quote(kind, safe='')}/{quote(state_key, safe='')}"
        )

    async def messages(self, room_id: str, **query: Any) -> Any:
        """A page of /messages; `start` stands for `from`."""
        if "start" in query:
            query["from"] = query.pop("start")
        return (await self.get(f"/rooms/{quote(room_id)}/messages", **query)).ok()

    async def sync(self, since: str | None = None, **query: Any) -> Any:
        """An answer of /sync."""
        if since is not None:
            query["since"] = since
        return (await self.get("/sync", **query)).ok()


@dataclass
class RoomServer:
    """A running server of rooms. `default_client` has no access token."""

    client: Client
    services: RoomServices
    remote: RemoteServer

    def user(self, user_id: str, device_id: str | None = "DEVICE") -> RoomClient:
        """A client of a user, whose access token says who it is."""
        token = f"{user_id} {device_id or ''}"
        return RoomClient(self.client.with_token(token, user_id, device_id or ""))

    @property
    def alice(self) -> RoomClient:
        """@alice:ours.test"""
        return self.user(ALICE)

    @property
    def bob(self) -> RoomClient:
        """@bob:ours.test"""
        return self.user(BOB)

    @property
    def carol(self) -> RoomClient:
        """@carol:ours.test"""
        return self.user(CAROL)


async def _authenticate(token: str, _: Request) -> Requester:
    user_id, _space, device_id = token.partition(" ")
    if not user_id.startswith("@"):
        raise unknown_token("Unrecognised access token")
    return Requester(user_id, device_id or None, 7, is_admin=user_id == ROOT)


def room_services(services: RoomServices, remote: RemoteServer, settings: RoomSettings) -> list[object]:
    """What the endpoints of rooms ask for."""
    database, states, timeline = services.database, services.states, services.timeline
    identity, events, clock = services.identity, services.client_events, services.clock
    profiles = MemberProfiles(database)
    client = cast(FederationClient, remote)
    invitations = Invitations(
        database, states, timeline, profiles, identity, client, remote, InviteLimits(NO_INVITE_LIMITS)
    )
    directory = Directory(database, states, timeline, remote, identity, clock)
    outside = OutsideRooms(services.writes, identity.server_name)
    others = RemoteMemberships(outside, remote, client, ReceivedEvents(remote), remote, identity, clock)
    push_rules = PushRules(services.user_writes)
    replaced = ReplacedRooms(services.user_writes, states, push_rules)
    membership = Membership(
        database,
        states,
        timeline,
        invitations,
        profiles,
        directory,
        others,
        identity,
        Entrance(JoinLimits(NO_LIMIT, NO_LIMIT), replaced.carry_over),
    )
    summaries = SummaryLookup(database, states, identity, RemoteSummaries(client, identity, clock))
    return [
        settings,
        RoomSummary(summaries, directory),
        SpaceHierarchy(summaries, clock),
        RoomCreation(timeline, invitations, profiles, identity, clock, "12"),
        RoomUpgrades(database, states, timeline, profiles, replaced),
        RoomSending(database, states, timeline, membership, directory, identity),
        Relations(database, states, events),
        RoomReads(database, states, events),
        ThreadsList(database, states, events),
        EventsByTime(database, states, client, remote, identity),
        Members(database, states, events),
        Pagination(database, states, events, remote),
        PublicRooms(database, states, identity, remote),
        Filters(database),
        Sessions(database, clock),
        directory,
        membership,
        ThirdPartyInvites(database, states, invitations, identity, client),
        services.sync,
        AccountData(services.user_writes),
        Tags(services.user_writes),
        push_rules,
    ]


@asynccontextmanager
async def room_server(directory: Path, *, is_directory_open: bool = True) -> AsyncIterator[RoomServer]:
    """A server on a fresh database. is_directory_open: whether its room directory may be read without an account."""
    database = await open_sqlite(directory / "homeserver.db")
    try:
        services, remote = RoomServices(database, SERVER), RemoteServer()
        settings = RoomSettings(allow_public_rooms_without_auth=is_directory_open)
        given = room_services(services, remote, settings)
        endpoints = [declared for declared in client_api.ENDPOINTS if _is_bindable(declared, given)]
        application = build_application(endpoints, given, Authenticators(access_token=_authenticate))
        async with serving(application) as client:
            yield RoomServer(client, services, remote)
    finally:
        await database.close()


def _is_bindable(declared: Any, given: list[object]) -> bool:
    """Whether an endpoint needs nothing but the services of rooms: accounts are served elsewhere."""
    try:
        BoundEndpoint(declared, Services(given))
    except BindingError:
        return False
    return True
