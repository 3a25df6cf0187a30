"""Accounts, and what users keep for themselves."""

from __future__ import annotations

from homeserver.app.base import Base
from homeserver.services.account_data import AccountData
from homeserver.services.accounts import Accounts
from homeserver.services.clock import now_ms
from homeserver.services.filters import Filters
from homeserver.services.login import Login
from homeserver.services.passwords import Passwords
from homeserver.services.push_rules import PushRules
from homeserver.services.registration import Registration
from homeserver.services.sessions import Sessions
from homeserver.services.shared_secret import SharedSecretRegistration
from homeserver.services.tags import Tags
from homeserver.services.user_interactive import UserInteractive
from homeserver.services.user_writes import UserWrites


def account_services(base: Base) -> list[object]:
    """Accounts, sessions and filters, and what users keep for themselves."""
    settings, database = base.settings, base.database
    limits = settings.rate_limits
    accounts = Accounts(database, Passwords(), base.identity.server_name, now_ms)
    writes = UserWrites(database, base.after_commit)
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
        AccountData(writes),
        Tags(writes),
        PushRules(writes),
    ]
