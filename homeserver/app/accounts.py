"""Accounts, and what users keep for themselves."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from homeserver.app.base import Base
from homeserver.app.people import People
from homeserver.config import Settings
from homeserver.services.account_data import AccountData
from homeserver.services.accounts import Accounts
from homeserver.services.administration import Administration
from homeserver.services.clock import Clock, now_ms
from homeserver.services.confirmation import Confirmation
from homeserver.services.deactivation import Deactivation, LeaveRoom
from homeserver.services.devices import Devices
from homeserver.services.filters import Filters
from homeserver.services.last_seen import LastSeen
from homeserver.services.login import Login
from homeserver.services.login_tokens import LoginTokens
from homeserver.services.openid import OpenIdTokens
from homeserver.services.password_change import PasswordChange
from homeserver.services.passwords import Passwords
from homeserver.services.push_rules import PushRules
from homeserver.services.registration import Registration
from homeserver.services.registration_tokens import RegistrationTokens
from homeserver.services.sent_trimming import SentTrimming
from homeserver.services.sessions import Sessions
from homeserver.services.shared_secret import SharedSecretRegistration
from homeserver.services.tags import Tags
from homeserver.services.third_party_identifiers import ThirdPartyIdentifiers
from homeserver.services.user_interactive import UserInteractive
from homeserver.services.user_writes import UserWrites
from homeserver.storage import pushers, sent_events
from homeserver.storage.database import Database


@dataclass(frozen=True, slots=True)
class Accounting:
    """Who may log in, and how; what they do with their accounts. services: all that handlers may ask for."""

    sessions: Sessions
    last_seen: LastSeen
    deactivation: Deactivation
    services: tuple[object, ...]


async def account_services(base: Base, people: People) -> list[object]:
    """Accounts, sessions and filters, and what users keep for themselves."""
    database = base.database
    writes = UserWrites(database, base.after_commit)
    built = build_accounts(base.settings, database, people.membership.withdraw)
    built.last_seen.work.start()
    base.stack.push_async_callback(built.last_seen.stop)
    trimming = SentTrimming(database, now_ms)
    trimming.work.start()
    base.stack.push_async_callback(trimming.work.stop)
    built.sessions.on_end.append(trimming.sessions_ended)
    built.deactivation.work.start()
    base.stack.push_async_callback(built.deactivation.work.stop)
    return [
        *built.services,
        Filters(database),
        AccountData(writes),
        Tags(writes),
        PushRules(writes),
    ]


def build_accounts(
    settings: Settings,
    database: Database,
    leave_room: LeaveRoom,
    *,
    clock: Clock = now_ms,
    monotonic: Callable[[], float] = time.monotonic,
    passwords: Passwords | None = None,
) -> Accounting:
    """Build it. clock, monotonic, passwords: what tests give instead of the usual ones."""
    server_name, limits = str(settings.server_name), settings.rate_limits
    accounts = Accounts(database, passwords or Passwords(), server_name, clock)
    sessions = Sessions(database, clock, settings.sessions)
    last_seen = LastSeen(database, clock)
    devices = Devices(database, sessions, last_seen, (pushers.remove_of_devices, sent_events.device_gone))
    existing = settings.sessions.login_via_existing_session
    login_tokens = LoginTokens(database, existing, clock, monotonic=monotonic)
    login = Login(accounts, sessions, login_tokens, limits.rc_login, monotonic=monotonic)
    interactive = UserInteractive(clock)
    tries = limits.rc_registration_token_validity
    tokens = RegistrationTokens(database, interactive, tries, clock, monotonic=monotonic)
    registration = Registration(
        accounts,
        sessions,
        interactive,
        tokens,
        settings.registration,
        limits.rc_registration,
        monotonic=monotonic,
    )
    confirmation = Confirmation(
        accounts, login, interactive, int(settings.sessions.ui_auth.session_timeout), clock
    )
    deactivation = Deactivation(database, confirmation, devices, leave_room)
    services = (
        accounts,
        sessions,
        last_seen,
        devices,
        login_tokens,
        login,
        interactive,
        tokens,
        registration,
        confirmation,
        deactivation,
        Administration(database, devices, server_name),
        OpenIdTokens(database, server_name, clock),
        PasswordChange(accounts, confirmation, devices),
        SharedSecretRegistration(accounts, sessions, settings.registration, clock),
        ThirdPartyIdentifiers(confirmation, limits.rc_3pid_validation, monotonic=monotonic),
    )
    return Accounting(sessions, last_seen, deactivation, services)
