"""The composition root: the only place that builds the server's objects and wires them.

Read it from `serve`: storage, then what talks to other servers, then the services, then the listeners.
"""

from __future__ import annotations

import logging
import random
import socket
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
from aiohttp import web
from multidict import CIMultiDictProxy
from nacl.signing import VerifyKey
from unpaddedbase64 import decode_base64

from homeserver import admin_api, client_api, federation_api
from homeserver.config import Listener, RateLimit, RateLimitSettings, Settings, load_signing_keys
from homeserver.config.settings import EVERY_ADDRESS
from homeserver.core.backoff import BackoffPolicy
from homeserver.core.requester import Requester
from homeserver.core.signing import key_id_of
from homeserver.federation.addresses import AddressFilter
from homeserver.federation.inbound import RequestAuthenticator
from homeserver.federation.key_responses import TrustedKeyServer
from homeserver.federation.key_ring import KeyRing
from homeserver.federation.own_keys import OwnKeys, old_verify_key
from homeserver.federation.remote.transactions import send_transaction
from homeserver.federation.settings import OutboundSettings
from homeserver.federation.transport import FederationClient
from homeserver.http import Authenticators, RateLimiter, Request, build_application, make_runner
from homeserver.services.account_data import AccountData
from homeserver.services.accounts import Accounts
from homeserver.services.backfill import Backfill
from homeserver.services.client_events import ClientEvents
from homeserver.services.clock import now_ms
from homeserver.services.directory import Directory
from homeserver.services.event_gaps import EventGaps
from homeserver.services.event_intake import EventIntake
from homeserver.services.events_by_time import EventsByTime
from homeserver.services.federation_queries import FederationQueries
from homeserver.services.filters import Filters
from homeserver.services.history_answers import HistoryAnswers
from homeserver.services.identity import Identity
from homeserver.services.inbound_invites import InboundInvites
from homeserver.services.incoming import IncomingTransactions
from homeserver.services.incoming_edus import IncomingEDUs
from homeserver.services.invitations import Invitations
from homeserver.services.joins import RemoteJoins
from homeserver.services.joins_in_progress import JoinsInProgress
from homeserver.services.key_store import DatabaseKeyStore
from homeserver.services.login import Login
from homeserver.services.member_profiles import MemberProfiles
from homeserver.services.members import Members
from homeserver.services.membership import Membership
from homeserver.services.notifier import Committed, Notifier
from homeserver.services.outside_events import OutsideEvents
from homeserver.services.outside_rooms import OutsideRooms
from homeserver.services.pagination import Pagination
from homeserver.services.passwords import Passwords
from homeserver.services.profiles import Profiles
from homeserver.services.public_rooms import PublicRooms
from homeserver.services.published_keys import PublishedKeys
from homeserver.services.push_rules import PushRules
from homeserver.services.received_events import ReceivedEvents
from homeserver.services.registration import Registration
from homeserver.services.remote_directory import RemoteDirectory
from homeserver.services.remote_memberships import RemoteMemberships
from homeserver.services.remote_rooms import RemoteRooms
from homeserver.services.remote_summaries import RemoteSummaries
from homeserver.services.resident import Resident
from homeserver.services.room_creation import RoomCreation
from homeserver.services.room_imports import RoomImports
from homeserver.services.room_inbox import RoomInbox
from homeserver.services.room_reads import RoomReads
from homeserver.services.room_sending import RoomSending
from homeserver.services.room_state import RoomStates
from homeserver.services.room_summary import RoomSummary
from homeserver.services.room_writes import RoomWrites
from homeserver.services.sender import Sender
from homeserver.services.sessions import Sessions
from homeserver.services.shared_secret import SharedSecretRegistration
from homeserver.services.space_answers import SpaceAnswers
from homeserver.services.space_hierarchy import SpaceHierarchy
from homeserver.services.state_answers import StateAnswers
from homeserver.services.summary_lookup import SummaryLookup
from homeserver.services.sync import Sync
from homeserver.services.tags import Tags
from homeserver.services.third_party_invites import ThirdPartyInvites
from homeserver.services.timeline import Timeline
from homeserver.services.user_interactive import UserInteractive
from homeserver.services.user_writes import UserWrites
from homeserver.storage import positions
from homeserver.storage.database import Database, open_database
from homeserver.storage.state import NodeCache
from homeserver.tls import CertificateStore, certificate_store

log = logging.getLogger(__name__)


class Server:
    """The running server."""

    def __init__(self, stack: AsyncExitStack, certificates: CertificateStore | None) -> None:
        """`stack` closes what was opened, last first."""
        self._stack = stack
        self._certificates = certificates

    async def close(self) -> None:
        """Stop listening, end what runs, close the database."""
        await self._stack.aclose()

    def reload(self) -> None:
        """Read the TLS certificate again. Raises TLSError, and then the certificate of before stays in use."""
        if self._certificates is not None:
            self._certificates.reload()


async def serve(settings: Settings) -> Server:
    """Start the server: open the database, wire the services, listen.

    Raises DatabaseError, TLSError, ConfigError or OSError (a port in use) with what a person can do about it; then nothing is
    left open.
    """
    certificates = (
        certificate_store(settings) if any(listener.tls for listener in settings.server.listeners) else None
    )
    async with AsyncExitStack() as stack:
        database = await open_database(settings.storage.database)
        stack.push_async_callback(database.close)
        outbound = await _outbound(settings, database, stack)
        services = await _services(settings, database, outbound, stack)
        await _listen(settings, services, outbound, certificates, stack)
        return Server(stack.pop_all(), certificates)
    raise AssertionError("unreachable: the stack swallows no exceptions")


@dataclass(frozen=True, slots=True)
class _Outbound:
    """What talks to other servers."""

    identity: Identity
    own_keys: OwnKeys
    client: FederationClient
    key_ring: KeyRing
    whitelist: frozenset[str] | None


async def _outbound(settings: Settings, database: Database, stack: AsyncExitStack) -> _Outbound:
    signing_keys = load_signing_keys(settings.keys.signing_key_path)
    identity = Identity(str(settings.server_name), signing_keys[0])
    own_keys = OwnKeys(
        identity.server_name,
        signing_keys,
        {
            key_id: old_verify_key(old.key, old.expired_ts)
            for key_id, old in settings.keys.old_signing_keys.items()
        },
    )
    allowed = settings.federation.federation_domain_whitelist
    whitelist = None if allowed is None else frozenset(str(name) for name in allowed)
    client = FederationClient(
        identity.server_name, identity.signing_key, _outbound_settings(settings, whitelist)
    )
    stack.push_async_callback(client.close)
    notaries = [
        TrustedKeyServer(
            str(notary.server_name),
            {key_id: VerifyKey(decode_base64(key)) for key_id, key in notary.verify_keys.items()},
        )
        for notary in settings.keys.trusted_key_servers
    ]
    key_ring = KeyRing(client, DatabaseKeyStore(database), own_keys, notaries, clock=now_ms)
    stack.push_async_callback(key_ring.close)
    log.debug("signing with %s", key_id_of(identity.signing_key))
    return _Outbound(identity, own_keys, client, key_ring, whitelist)


def _outbound_settings(settings: Settings, whitelist: frozenset[str] | None) -> OutboundSettings:
    federation = settings.federation
    return OutboundSettings(
        addresses=AddressFilter(
            [str(network) for network in federation.federation_ip_range_blocklist],
            [str(network) for network in federation.ip_range_allowlist],
        ),
        domain_whitelist=whitelist,
        verify_certificates=federation.federation_verify_certificates,
        custom_ca_files=tuple(federation.federation_custom_ca_list),
        request_timeout=federation.federation.client_timeout / 1000,
    )


async def _services(
    settings: Settings, database: Database, outbound: _Outbound, stack: AsyncExitStack
) -> list[object]:
    """Everything that handlers may ask for."""
    notifier = Notifier(await database.read(positions.current))
    sender = Sender(
        database,
        partial(send_transaction, outbound.client),
        outbound.identity.server_name,
        now_ms,
        _backoff(settings),
        random.Random(),
    )

    def after_commit(committed: Committed) -> None:
        notifier.committed(committed)
        sender.wake(committed.destinations)

    graph = _graph(database, outbound, RoomWrites(database, after_commit))
    people = _people(settings, database, outbound, graph)
    await sender.start()
    stack.push_async_callback(sender.stop)
    stack.push_async_callback(graph.joins.stop)
    return [
        sender,
        people.directory,
        people.membership,
        people.profiles,
        people.creation,
        *_accounts(settings, database, outbound),
        *_private(UserWrites(database, after_commit)),
        *_rooms(database, outbound, graph, people, notifier),
        *_federation(settings, database, outbound, graph, people, stack),
        *_settings(settings),
    ]


@dataclass(frozen=True, slots=True)
class _People:
    """What our users do to be in rooms, and are called there."""

    directory: Directory
    invitations: Invitations
    membership: Membership
    profiles: Profiles
    creation: RoomCreation


def _people(settings: Settings, database: Database, outbound: _Outbound, graph: _Graph) -> _People:
    states, timeline, identity = graph.states, graph.timeline, outbound.identity
    remote_directory = RemoteDirectory(outbound.client)
    member_profiles = MemberProfiles(database)
    directory = Directory(database, states, timeline, remote_directory, identity, now_ms)
    invitations = Invitations(
        database, states, timeline, member_profiles, identity, outbound.client, outbound.key_ring
    )
    remote = RemoteMemberships(
        graph.outside, graph.joins, outbound.client, graph.received, graph.inbox, identity, now_ms
    )
    membership = Membership(
        database, states, timeline, invitations, member_profiles, directory, remote, identity
    )
    profiles = Profiles(
        database,
        identity.server_name,
        on_change=membership.profile_changed,
        remote=remote_directory.profile,
    )
    version = str(settings.rooms.default_room_version)
    creation = RoomCreation(timeline, invitations, member_profiles, identity, now_ms, version)
    return _People(directory, invitations, membership, profiles, creation)


@dataclass(frozen=True, slots=True)
class _Graph:
    """What moves the graphs of rooms, whoever asks for it."""

    states: RoomStates
    writes: RoomWrites
    timeline: Timeline
    received: ReceivedEvents
    gaps: EventGaps
    joining: JoinsInProgress
    joins: RemoteJoins
    outside: OutsideRooms
    inbox: RoomInbox


def _graph(database: Database, outbound: _Outbound, writes: RoomWrites) -> _Graph:
    states = RoomStates(NodeCache())
    identity, client = outbound.identity, outbound.client
    server_name = identity.server_name
    received = ReceivedEvents(outbound.key_ring)
    joining = JoinsInProgress()
    imports = RoomImports(writes, states, identity)
    gaps = EventGaps(database, writes, states, client, received)
    intake = EventIntake(writes, states, server_name, gaps)
    outside = OutsideRooms(writes, server_name)
    outside_events = OutsideEvents(received, outside, identity)
    return _Graph(
        states,
        writes,
        Timeline(writes, states, identity, now_ms),
        received,
        gaps,
        joining,
        RemoteJoins(database, client, received, imports, joining, identity, now_ms),
        outside,
        RoomInbox(database, states, received, intake, joining, outside_events, server_name),
    )


def _rooms(
    database: Database,
    outbound: _Outbound,
    graph: _Graph,
    people: _People,
    notifier: Notifier,
) -> list[object]:
    """What our clients read of rooms, and send to them."""
    states, identity = graph.states, outbound.identity
    client_events = ClientEvents(states, now_ms)
    backfill = Backfill(
        database, graph.writes, states, outbound.client, graph.received, graph.gaps, identity, now_ms
    )
    summaries = SummaryLookup(database, states, identity, RemoteSummaries(outbound.client, identity, now_ms))
    return [
        EventsByTime(database, states, outbound.client, backfill, identity),
        Members(database, states, client_events),
        Pagination(database, states, client_events, backfill),
        PublicRooms(database, states, identity, RemoteRooms(outbound.client)),
        RoomReads(database, states, client_events),
        RoomSummary(summaries, people.directory),
        SpaceHierarchy(summaries, now_ms),
        RoomSending(database, states, graph.timeline, people.membership, people.directory, identity),
        Sync(database, states, client_events, notifier),
    ]


def _federation(
    settings: Settings,
    database: Database,
    outbound: _Outbound,
    graph: _Graph,
    people: _People,
    stack: AsyncExitStack,
) -> list[object]:
    """What answers other servers."""
    identity, key_ring, states = outbound.identity, outbound.key_ring, graph.states
    server_name = identity.server_name
    transactions = IncomingTransactions(database, graph.inbox, IncomingEDUs({}), now_ms)
    stack.push_async_callback(transactions.stop)
    return [
        transactions,
        Resident(database, states, graph.timeline, key_ring, identity),
        InboundInvites(
            database,
            states,
            graph.received,
            graph.outside,
            identity,
            settings.rate_limits.rc_invites.per_user,
        ),
        ThirdPartyInvites(database, states, people.invitations, identity, outbound.client),
        HistoryAnswers(database, states),
        SpaceAnswers(database, states, identity),
        StateAnswers(database, states),
        PublishedKeys(outbound.own_keys, key_ring, now_ms, int(settings.keys.key_refresh_interval)),
        FederationQueries(
            server_name,
            people.directory.resolve,
            people.profiles.get_local,
            profiles_allowed=settings.federation.allow_profile_lookup_over_federation,
        ),
    ]


def _backoff(settings: Settings) -> BackoffPolicy:
    timing = settings.federation.federation
    return BackoffPolicy(
        first_ms=int(timing.destination_min_retry_interval),
        multiplier=timing.destination_retry_multiplier,
        most_ms=int(timing.destination_max_retry_interval),
    )


def _accounts(settings: Settings, database: Database, outbound: _Outbound) -> list[object]:
    """Accounts, sessions and filters."""
    limits = settings.rate_limits
    accounts = Accounts(database, Passwords(), outbound.identity.server_name, now_ms)
    sessions = Sessions(database, now_ms)
    return [
        accounts,
        sessions,
        Login(accounts, sessions, limits.rc_login),
        Registration(
            accounts, sessions, UserInteractive(now_ms), settings.registration, limits.rc_registration
        ),
        SharedSecretRegistration(accounts, sessions, settings.registration, now_ms),
        Filters(database),
    ]


def _private(writes: UserWrites) -> list[object]:
    """What users keep for themselves."""
    return [AccountData(writes), Tags(writes), PushRules(writes)]


def _settings(settings: Settings) -> Iterable[object]:
    """The groups of settings, for handlers that tell clients of them."""
    return (
        getattr(settings, field.name)
        for field in msgspec.structs.fields(Settings)
        if field.name != "config_path"
    )


def _rate_limits(settings: RateLimitSettings) -> dict[str, RateLimit]:
    """The limits that endpoints name: `rc_message`, `rc_login.address` and so on."""
    found: dict[str, RateLimit] = {}
    for field in msgspec.structs.fields(settings):
        value = getattr(settings, field.name)
        if isinstance(value, RateLimit):
            found[field.name] = value
            continue
        for inner in msgspec.structs.fields(value):
            limit = getattr(value, inner.name)
            if isinstance(limit, RateLimit):
                found[f"{field.name}.{inner.name}"] = limit
    return found


def _authenticators(services: Iterable[object], outbound: _Outbound, sender: Sender) -> Authenticators:
    sessions = next(service for service in services if isinstance(service, Sessions))
    inbound = RequestAuthenticator(
        outbound.identity.server_name, outbound.key_ring, outbound.whitelist, clock=now_ms
    )

    async def access_token(token: str, request: Request, /) -> Requester:
        return await sessions.authenticate(token)

    async def signed_request(method: str, uri: str, headers: CIMultiDictProxy[str], content: Any, /) -> str:
        origin = await inbound.authenticate(method, uri, headers.getall("Authorization", ()), content)
        sender.heard_from(origin)
        return origin

    return Authenticators(access_token, signed_request)


async def _listen(
    settings: Settings,
    services: list[object],
    outbound: _Outbound,
    certificates: CertificateStore | None,
    stack: AsyncExitStack,
) -> None:
    """Open the listeners. Raises OSError when a port is in use."""
    endpoints = [*client_api.ENDPOINTS, *federation_api.ENDPOINTS, *admin_api.ENDPOINTS]
    sender = next(service for service in services if isinstance(service, Sender))
    authenticators = _authenticators(services, outbound, sender)
    limits = RateLimiter(_rate_limits(settings.rate_limits))
    for listener in settings.server.listeners:
        application = build_application(
            endpoints,
            services,
            authenticators,
            limits,
            resources=listener.resource_names,
            x_forwarded=listener.x_forwarded,
        )
        runner = make_runner(application)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        for address in _addresses(listener):
            await web.TCPSite(
                runner,
                address,
                listener.port,
                ssl_context=certificates.context if listener.tls and certificates else None,
                backlog=1024,
            ).start()


def _addresses(listener: Listener) -> tuple[str, ...]:
    """The addresses to bind. A system without IPv6 has only the others of those that mean every address."""
    if socket.has_dualstack_ipv6() or set(listener.bind_addresses) != set(EVERY_ADDRESS):
        return listener.bind_addresses
    return tuple(address for address in listener.bind_addresses if ":" not in address)
