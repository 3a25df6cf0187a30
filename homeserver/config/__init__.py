"""homeserver.yaml to frozen, typed settings, once.

`load_settings(path)` reads the file; `settings_from(mapping, base=directory)` takes what YAML would give, for
tests and tools. Both return `Loaded(settings, warnings, notes)` or raise `ConfigError`, whose text names
every wrong value with its path, what was found and what is allowed.
"""

from .convert import Problem
from .load import ConfigError, Loaded, load_settings, settings_from
from .settings import (
    ApplicationServiceSettings,
    DatabaseSettings,
    FederationLimit,
    FederationSettings,
    FederationTiming,
    InviteLimits,
    JoinLimits,
    KeySettings,
    Listener,
    LoggingSettings,
    LoginLimits,
    MediaSettings,
    OldSigningKey,
    RateLimit,
    RateLimitSettings,
    RegistrationSettings,
    Resource,
    RoomSettings,
    ServerSettings,
    Settings,
    StorageSettings,
    Support,
    SupportContact,
    TLSSettings,
    TrustedKeyServer,
)
from .signing_key import create_signing_key, load_signing_keys
from .values import Duration, IPRange, RoomVersion, Secret, ServerName, Size

__all__ = [
    "ApplicationServiceSettings",
    "ConfigError",
    "DatabaseSettings",
    "Duration",
    "FederationLimit",
    "FederationSettings",
    "FederationTiming",
    "IPRange",
    "InviteLimits",
    "JoinLimits",
    "KeySettings",
    "Listener",
    "Loaded",
    "LoggingSettings",
    "LoginLimits",
    "MediaSettings",
    "OldSigningKey",
    "Problem",
    "RateLimit",
    "RateLimitSettings",
    "RegistrationSettings",
    "Resource",
    "RoomSettings",
    "RoomVersion",
    "Secret",
    "ServerName",
    "ServerSettings",
    "Settings",
    "Size",
    "StorageSettings",
    "Support",
    "SupportContact",
    "TLSSettings",
    "TrustedKeyServer",
    "create_signing_key",
    "load_settings",
    "load_signing_keys",
    "settings_from",
]
