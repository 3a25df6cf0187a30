"""What everything is built on: the database, the keys, what talks to other servers, who is told of a commit."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

from nacl.signing import VerifyKey
from unpaddedbase64 import decode_base64

from homeserver.config import Settings, load_signing_keys
from homeserver.core.backoff import BackoffPolicy
from homeserver.core.signing import key_id_of
from homeserver.doctor.self_doctor import SelfDoctor
from homeserver.examining import examine
from homeserver.federation.addresses import AddressFilter
from homeserver.federation.key_responses import TrustedKeyServer
from homeserver.federation.key_ring import KeyRing
from homeserver.federation.own_keys import OwnKeys, old_verify_key
from homeserver.federation.remote.transactions import send_transaction
from homeserver.federation.settings import OutboundSettings
from homeserver.federation.transport import FederationClient
from homeserver.services.clock import now_ms
from homeserver.services.identity import Identity
from homeserver.services.key_store import DatabaseKeyStore
from homeserver.services.notifier import Committed, Notifier
from homeserver.services.sender import Sender
from homeserver.services.typing_users import TypingUsers
from homeserver.storage import positions
from homeserver.storage.database import Database, open_database

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Base:
    """What everything else is built on. stack: closes what was opened, last first; observers: are told of each commit."""

    settings: Settings
    database: Database
    identity: Identity
    own_keys: OwnKeys
    client: FederationClient
    key_ring: KeyRing
    whitelist: frozenset[str] | None
    notifier: Notifier
    sender: Sender
    typing_users: TypingUsers
    stack: AsyncExitStack
    observers: list[Callable[[Committed], None]]

    def after_commit(self, committed: Committed) -> None:
        """Tell of what a unit of work has changed."""
        for observer in self.observers:
            observer(committed)


async def build_base(settings: Settings, stack: AsyncExitStack) -> Base:
    """Open the database, and build what talks to other servers. Raises DatabaseError, ConfigError."""
    database = await open_database(settings.storage.database)
    stack.push_async_callback(database.close)
    signing_keys = load_signing_keys(settings.keys.signing_key_path)
    identity = Identity(str(settings.server_name), signing_keys[0])
    log.debug("signing with %s", key_id_of(identity.signing_key))
    old_keys = {
        key_id: old_verify_key(old.key, old.expired_ts)
        for key_id, old in settings.keys.old_signing_keys.items()
    }
    own_keys = OwnKeys(identity.server_name, signing_keys, old_keys)
    allowed = settings.federation.federation_domain_whitelist
    whitelist = None if allowed is None else frozenset(str(name) for name in allowed)
    outbound = _outbound_settings(settings, whitelist)
    self_doctor = SelfDoctor(partial(examine, identity.server_name, settings, long_poll_s=0))
    stack.push_async_callback(self_doctor.stop)
    client = FederationClient(
        identity.server_name, identity.signing_key, outbound, own_trouble=self_doctor.trouble
    )
    stack.push_async_callback(client.close)
    store = DatabaseKeyStore(database)
    key_ring = KeyRing(client, store, own_keys, _notaries(settings), clock=now_ms)
    stack.push_async_callback(key_ring.close)
    notifier = Notifier(await database.read(positions.current))
    send = partial(send_transaction, client)
    sender = Sender(database, send, identity.server_name, now_ms, _backoff(settings), random.Random())
    return Base(
        settings,
        database,
        identity,
        own_keys,
        client,
        key_ring,
        whitelist,
        notifier,
        sender,
        TypingUsers(notifier.stir, now_ms),
        stack,
        [notifier.committed, lambda committed: sender.wake(committed.destinations)],
    )


def _notaries(settings: Settings) -> list[TrustedKeyServer]:
    return [
        TrustedKeyServer(
            str(notary.server_name),
            {key_id: VerifyKey(decode_base64(key)) for key_id, key in notary.verify_keys.items()},
        )
        for notary in settings.keys.trusted_key_servers
    ]


def _outbound_settings(settings: Settings, whitelist: frozenset[str] | None) -> OutboundSettings:
    federation = settings.federation
    return OutboundSettings(
        addresses=AddressFilter(federation.federation_ip_range_blocklist, federation.ip_range_allowlist),
        domain_whitelist=whitelist,
        verify_certificates=federation.federation_verify_certificates,
        custom_ca_files=federation.federation_custom_ca_list,
        request_timeout=federation.federation.client_timeout / 1000,
    )


def _backoff(settings: Settings) -> BackoffPolicy:
    timing = settings.federation.federation
    return BackoffPolicy(
        first_ms=int(timing.destination_min_retry_interval),
        multiplier=timing.destination_retry_multiplier,
        most_ms=int(timing.destination_max_retry_interval),
    )
