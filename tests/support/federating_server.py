"""This server's federation inside the test process: its services, and its federation API over HTTPS on loopback."""

from __future__ import annotations

import random
from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, Self

from aiohttp import web
from msgspec import structs
from multidict import CIMultiDictProxy
from signedjson.key import generate_signing_key

from homeserver import federation_api
from homeserver.config.settings import FederationSettings, RateLimit, ServerSettings
from homeserver.core.backoff import BackoffPolicy
from homeserver.core.errors import not_found
from homeserver.core.events import Event
from homeserver.core.filters import Filter
from homeserver.core.requester import Requester
from homeserver.core.signing import key_id_of
from homeserver.core.stream_tokens import parse_stream_token
from homeserver.federation.inbound import RequestAuthenticator
from homeserver.federation.key_ring import KeyRing
from homeserver.federation.own_keys import OldVerifyKey, OwnKeys
from homeserver.federation.remote.transactions import send_transaction
from homeserver.federation.transport import FederationClient
from homeserver.http import Authenticators, build_application, make_runner
from homeserver.services.backfill import Backfill
from homeserver.services.client_events import ClientEvents
from homeserver.services.clock import now_ms
from homeserver.services.event_gaps import EventGaps
from homeserver.services.event_intake import EventIntake
from homeserver.services.events_by_time import EventsByTime
from homeserver.services.federation_queries import FederationQueries
from homeserver.services.graph_merging import GraphMerging
from homeserver.services.history_answers import HistoryAnswers
from homeserver.services.identity import Identity
from homeserver.services.inbound_invites import InboundInvites
from homeserver.services.incoming import IncomingTransactions
from homeserver.services.incoming_edus import IncomingEDUs
from homeserver.services.invitations import Invitations
from homeserver.services.joins import RemoteJoins
from homeserver.services.joins_in_progress import JoinsInProgress
from homeserver.services.key_store import DatabaseKeyStore
from homeserver.services.member_profiles import MemberProfiles
from homeserver.services.membership import Entrance, Membership
from homeserver.services.membership_limits import InviteLimits, JoinLimits
from homeserver.services.notifier import Committed, Notifier
from homeserver.services.openid import OpenIdTokens
from homeserver.services.outside_events import OutsideEvents
from homeserver.services.outside_rooms import OutsideRooms
from homeserver.services.public_rooms import PublicRooms
from homeserver.services.published_keys import PublishedKeys
from homeserver.services.push_rules import PushRules
from homeserver.services.received_events import ReceivedEvents
from homeserver.services.remote_memberships import RemoteMemberships
from homeserver.services.remote_rooms import RemoteRooms
from homeserver.services.remote_summaries import RemoteSummaries
from homeserver.services.replaced_rooms import ReplacedRooms
from homeserver.services.resident import Resident
from homeserver.services.room_imports import RoomImports
from homeserver.services.room_inbox import RoomInbox
from homeserver.services.room_state import RoomStates
from homeserver.services.room_writes import RoomWrites
from homeserver.services.sender import Sender
from homeserver.services.space_answers import SpaceAnswers
from homeserver.services.space_hierarchy import SpaceHierarchy
from homeserver.services.state_answers import StateAnswers
from homeserver.services.summary_lookup import SummaryLookup
from homeserver.services.sync import Sync, SyncRequest
from homeserver.services.third_party_invites import ThirdPartyInvites
from homeserver.services.timeline import Draft, Timeline
from homeserver.services.typing_users import TypingUsers
from homeserver.services.untold_leaves import UntoldLeaves
from homeserver.services.user_writes import UserWrites
from homeserver.storage import accounts, memberships, rooms
from homeserver.storage import events as stored_events
from homeserver.storage.accounts import Account
from homeserver.storage.database import Transaction
from homeserver.storage.events import StoredEvent
from homeserver.storage.state import NodeCache
from tests.support.certificates import Authority
from tests.support.federation_peer import SUBNET, bound_socket, name_of, outbound_settings
from tests.support.limits import NO_INVITE_LIMITS, NO_LIMIT
from tests.support.rooms import no_presence, open_sqlite

INVITES = structs.replace(NO_INVITE_LIMITS, per_user=RateLimit(per_second=0.001, burst_count=8))
"""How many a user may get."""
QUICK = BackoffPolicy(quick=(20,), first_ms=40, most_ms=200)


class FederatingServer:
    """`async with FederatingServer(authority, directory) as ours:` starts it and stops it."""

    def __init__(
        self, authority: Authority, directory: Path, *, number: int = 100, policy: BackoffPolicy = QUICK
    ) -> None:
        self.middlewares: list[Any] = []  # before all requests that come in
        self.authority = authority
        self.path = directory / f"ours-{number}.db"
        self.number = number
        self.policy = policy
        self.signing_key = generate_signing_key("ours")
        self.old_verify_keys: dict[str, OldVerifyKey] = {}
        self.aliases: dict[str, str] = {}
        self.profiles: dict[str, dict[str, Any]] = {}
        self.edus: list[tuple[str, Mapping[str, Any]]] = []
        self.committed: list[Committed] = []
        self.ahead_ms = 0  # of the clock that says when refusals are told again
        self._socket = bound_socket(number)
        self.server_name = name_of(self._socket)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await self._start(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _start(self, stack: AsyncExitStack) -> None:
        """What is opened is closed by `stack`, also when something after it fails."""
        self.database = await open_sqlite(self.path)
        stack.push_async_callback(self.database.close)
        self.client = FederationClient(
            self.server_name,
            self.signing_key,
            outbound_settings(self.authority),
            clock=lambda: now_ms() / 1000,
        )
        stack.push_async_callback(self.client.close)
        own = OwnKeys(self.server_name, [self.signing_key], self.old_verify_keys)
        self.key_ring = KeyRing(self.client, DatabaseKeyStore(self.database), own)
        stack.push_async_callback(self.key_ring.close)
        self.identity = Identity(self.server_name, self.signing_key)
        self._build(own)
        for part in (self.sender, self.merging, self.incoming, self.joins):
            stack.push_async_callback(part.stop)
        await self.sender.start()
        await self._listen(stack)

    async def rotate_key(self, version: str) -> None:
        """Restart with a new signing key; the one until now becomes an old one."""
        await self.__aexit__()
        old = self.signing_key
        self.old_verify_keys[key_id_of(old)] = OldVerifyKey(old.verify_key, now_ms())
        self.signing_key = generate_signing_key(version)
        self._socket = bound_socket(self.number, int(self.server_name.rpartition(":")[2]))
        await self.__aenter__()

    def _build(self, own: OwnKeys) -> None:
        database, identity, client = self.database, self.identity, self.client
        self.sender = Sender(
            database,
            partial(send_transaction, client),
            self.server_name,
            now_ms,
            self.policy,
            random.Random(1),
        )
        self.states = RoomStates(NodeCache())
        self.writes = RoomWrites(database, self._after_commit)
        self.timeline = Timeline(self.writes, self.states, identity, now_ms)
        self.merging = GraphMerging(
            database, self.states, self.timeline, identity, random.Random(1), longest_delay_s=0.1
        )
        received = ReceivedEvents(self.key_ring)
        self.in_progress = JoinsInProgress()
        self.gaps = EventGaps(database, self.writes, self.states, client, received)
        intake = EventIntake(self.writes, self.states, self.server_name, self.gaps, pauses_s=(0.05, 0.5, 1.5))
        self.outside = OutsideRooms(self.writes, self.server_name)
        inbox = RoomInbox(
            database,
            self.states,
            received,
            intake,
            self.in_progress,
            OutsideEvents(received, self.outside, identity),
            self.server_name,
        )
        self.incoming = IncomingTransactions(database, inbox, IncomingEDUs({"m.typing": self._edu}), now_ms)
        imports = RoomImports(self.writes, self.states, identity)
        self.joins = RemoteJoins(database, client, received, imports, self.in_progress, identity, now_ms)
        self.backfill = Backfill(
            database, self.writes, self.states, client, received, self.gaps, identity, now_ms
        )
        self.by_time = EventsByTime(database, self.states, client, self.backfill, identity)
        self.summaries = SummaryLookup(
            database, self.states, identity, RemoteSummaries(client, identity, now_ms)
        )
        self.spaces = SpaceHierarchy(self.summaries, now_ms)
        profiles = MemberProfiles(database)
        joins = JoinLimits(NO_LIMIT, NO_LIMIT)
        invitations = Invitations(
            database,
            self.states,
            self.timeline,
            profiles,
            identity,
            client,
            self.key_ring,
            InviteLimits(NO_INVITE_LIMITS),
        )
        remote = RemoteMemberships(self.outside, self.joins, client, received, inbox, identity, now_ms)
        user_writes = UserWrites(database, self._after_commit)
        self.untold = UntoldLeaves(database, remote, lambda: now_ms() + self.ahead_ms, random.Random(1))
        self.membership = Membership(
            database,
            self.states,
            self.timeline,
            invitations,
            profiles,
            self,
            remote,
            identity,
            Entrance(joins, ReplacedRooms(user_writes, self.states, PushRules(user_writes)).carry_over),
        )
        self.notifier = Notifier(0)
        events = ClientEvents(self.states, now_ms)
        typing = TypingUsers(self.notifier.stir, now_ms)
        presence = no_presence(database, now_ms)
        self._sync = Sync(database, self.states, events, self.notifier, typing, presence)
        self._api = [
            self.incoming,
            InboundInvites(database, self.states, received, self.outside, identity, InviteLimits(INVITES)),
            ThirdPartyInvites(database, self.states, invitations, identity, client),
            Resident(database, self.states, self.timeline, self.key_ring, identity, joins),
            self.by_time,
            HistoryAnswers(database, self.states),
            SpaceAnswers(database, self.states, identity),
            StateAnswers(database, self.states),
            PublishedKeys(own, self.key_ring, now_ms, 24 * 3_600_000),
            PublicRooms(database, self.states, identity, RemoteRooms(client)),
            OpenIdTokens(database, self.server_name, now_ms),
            FederationSettings(allow_public_rooms_over_federation=True),
            FederationQueries(self.server_name, self._find_alias, self._find_profile, profiles_allowed=True),
            ServerSettings(
                server_name=self.server_name,  # type: ignore[arg-type]
                public_baseurl="https://unused.test/",  # type: ignore[arg-type]
                listeners=(),
                data_directory=self.path.parent,
            ),
        ]

    async def _listen(self, stack: AsyncExitStack) -> None:
        inbound = RequestAuthenticator(self.server_name, self.key_ring)

        async def authenticate(method: str, uri: str, headers: CIMultiDictProxy[str], content: Any, /) -> str:
            origin = await inbound.authenticate(method, uri, headers.getall("Authorization", ()), content)
            self.sender.heard_from(origin)
            return origin

        application = build_application(
            federation_api.ENDPOINTS,
            self._api,
            Authenticators(None, authenticate),
            resources=("federation",),
            body_timeout=2.0,
        )
        application.middlewares.extend(self.middlewares)
        runner = make_runner(application)
        stack.push_async_callback(runner.cleanup)
        await runner.setup()
        context = self.authority.server_context(f"{SUBNET}.{self.number}")
        await web.SockSite(runner, self._socket, ssl_context=context).start()

    def _after_commit(self, committed: Committed) -> None:
        self.committed.append(committed)
        self.notifier.committed(committed)
        self.merging.committed(committed)
        self.sender.wake(committed.destinations)

    async def _edu(self, origin: str, content: Mapping[str, Any]) -> None:
        self.edus.append((origin, content))

    async def _find_alias(self, alias: str) -> tuple[str, list[str]]:
        if alias not in self.aliases:
            raise not_found("Room alias not found")
        return self.aliases[alias], [self.server_name]

    async def resolve(self, alias: str) -> tuple[str, list[str]]:
        """What an alias names, for `membership`."""
        return await self._find_alias(alias)

    async def _find_profile(self, user_id: str) -> dict[str, Any]:
        if user_id not in self.profiles:
            raise not_found("User does not exist")
        return self.profiles[user_id]

    def user(self, localpart: str) -> str:
        """A user ID of this server."""
        return f"@{localpart}:{self.server_name}"

    async def account(self, localpart: str, *, is_deactivated: bool = False) -> str:
        """A user with an account; its user ID."""
        user_id = self.user(localpart)
        account = Account(user_id, None, False, False, is_deactivated, None, 0)
        await self.database.write(lambda tx: accounts.add(tx, account))
        return user_id

    async def sync(self, user_id: str, since: str | None = None, **options: Any) -> dict[str, Any]:
        """What /sync answers; `since`: a `next_batch`."""
        position = parse_stream_token(since) if since is not None else None
        request = SyncRequest(Requester(user_id, "DEVICE", 1), Filter(), position, **options)
        return await self._sync.sync(request)

    async def room(
        self, version: str = "10", *, join_rules: Mapping[str, Any] | None = None, **state: Any
    ) -> str:
        """A room that @ours has made; `state`: content by event type without `m.room.`."""
        creator = self.user("ours")
        users = {} if version == "12" else {creator: 100}
        drafts = [
            Draft(creator, "m.room.member", {"membership": "join"}, creator),
            Draft(creator, "m.room.power_levels", {"users": users, "invite": 0}, ""),
            Draft(creator, "m.room.join_rules", join_rules or {"join_rule": "public"}, ""),
            *(Draft(creator, f"m.room.{name}", content, "") for name, content in state.items()),
        ]
        return await self.timeline.create_room(version, creator, {}, drafts)

    async def say(self, room_id: str, sender: str, text: str) -> str:
        """Send a message."""
        return await self.timeline.send(
            room_id, Draft(sender, "m.room.message", {"msgtype": "m.text", "body": text})
        )

    async def stored(self, event_id: str) -> StoredEvent | None:
        """An event as it is stored."""
        return await self.database.read(lambda tx: stored_events.get(tx, event_id))

    async def state(self, room_id: str, event_type: str, state_key: str = "") -> Event | None:
        """An event of a room's current state."""

        async def work(tx: Transaction) -> Event | None:
            room = await rooms.get(tx, room_id)
            assert room is not None
            return await self.states.event(tx, room.current_state, event_type, state_key)

        return await self.database.read(work)

    async def members(self, room_id: str) -> list[str]:
        """The joined members of a room."""

        async def work(tx: Transaction) -> list[str]:
            room = await rooms.get(tx, room_id)
            if room is None:
                return []
            return [member.user_id for member in await memberships.of_room(tx, room.room_nid, ["join"])]

        return await self.database.read(work)
