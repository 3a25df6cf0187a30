"""The typed settings: one frozen struct a subject, each field named like its key in homeserver.yaml.

A group's fields are top-level keys of the file (`settings.registration.enable_registration` is the key
`enable_registration`); only structs that stand as the type of a field are nested in the file too. Every field
is explained in docs/configuration.md (a test compares the two). Meanings and defaults are those of a Synapse
homeserver.yaml unless that page says otherwise.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from .values import BaseURL, DomainName, Duration, IPRange, RoomVersion, Secret, ServerName, Size, WebAddress

Port = Annotated[int, Meta(ge=1, le=65535)]
Count = Annotated[int, Meta(ge=0)]
AtLeastOne = Annotated[int, Meta(ge=1)]
Rate = Annotated[float, Meta(ge=0)]

ResourceName = Literal["client", "federation", "health", "keys", "media", "metrics", "openid", "static"]
ChallengeType = Literal["tls-alpn-01", "http-01"]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]

DEFAULT_FEDERATION_PORT = 8448
DEFAULT_PLAIN_PORT = 8008
EVERY_ADDRESS = ("::", "0.0.0.0")
ANY_ADDRESS = frozenset({*EVERY_ADDRESS, ""})
LOOPBACK = ("127.0.0.1", "::1")

# Addresses that a server of the public Internet has no reason to call: loopback, private, shared, link-local,
# benchmark, documentation and multicast ranges.
DEFAULT_IP_RANGE_BLOCKLIST = tuple(
    IPRange(text)
    for text in (
        "127.0.0.0/8",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "192.0.0.0/24",
        "169.254.0.0/16",
        "192.88.99.0/24",
        "198.18.0.0/15",
        "192.0.2.0/24",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "::1/128",
        "fe80::/10",
        "fc00::/7",
        "2001:db8::/32",
        "ff00::/8",
        "fec0::/10",
    )
)
# "This host": never of use as a destination, so blocked whatever the file says.
ALWAYS_BLOCKED = (IPRange("0.0.0.0/32"), IPRange("::/128"))


# --- listeners and the web ----------------------------------------------------


class Resource(Struct, frozen=True, kw_only=True):
    """Which parts of the API a listener serves."""

    names: tuple[ResourceName, ...]


class Listener(Struct, frozen=True, kw_only=True):
    """One port that the server listens on."""

    port: Port
    bind_addresses: tuple[str, ...] = EVERY_ADDRESS
    type: Literal["http"] = "http"
    tls: bool = False
    x_forwarded: bool = False
    trusted_proxies: tuple[IPRange, ...] = (IPRange("127.0.0.0/8"), IPRange("::1/128"))
    resources: tuple[Resource, ...] = (Resource(names=("client", "federation")),)

    @property
    def local_url(self) -> str:
        """Where a program on this machine reaches it, without a slash at the end."""
        address = next((each for each in self.bind_addresses if each not in ANY_ADDRESS), "127.0.0.1")
        host = f"[{address}]" if ":" in address else address
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"

    @property
    def resource_names(self) -> frozenset[str]:
        """Every API that is served on this port."""
        return frozenset(name for resource in self.resources for name in resource.names)


class SupportContact(Struct, frozen=True, kw_only=True):
    """A person or group to turn to, as in /.well-known/matrix/support."""

    role: str = "m.role.admin"
    matrix_id: str | None = None
    email_address: str | None = None


class Support(Struct, frozen=True, kw_only=True):
    """The content of /.well-known/matrix/support.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#getwell-knownmatrixsupport
    """

    contacts: tuple[SupportContact, ...] = ()
    support_page: str | None = None


class ServerSettings(Struct, frozen=True, kw_only=True):
    """Who this server is and where it listens."""

    server_name: ServerName
    public_baseurl: BaseURL
    listeners: tuple[Listener, ...]
    data_directory: Path
    pid_file: Path | None = None
    serve_server_wellknown: bool = False
    extra_well_known_client_content: dict[str, Any] = {}
    well_known_support: Support = Support()


class ACMESettings(Struct, frozen=True, kw_only=True):
    """Certificates obtained and renewed by the server itself, from whom, and how it proves whose names they are.

    After loading `domains` has at least one name if `enabled`, and `account_key_file` a path.
    """

    enabled: bool = False
    domains: tuple[DomainName, ...] = ()
    challenges: tuple[ChallengeType, ...] = ("tls-alpn-01", "http-01")
    port: Port = 80
    bind_addresses: tuple[str, ...] = EVERY_ADDRESS
    reprovision_threshold: AtLeastOne = 30
    directory_url: WebAddress = WebAddress("https://acme-v02.api.letsencrypt.org/directory")
    directory_ca_file: Path | None = None
    account_key_file: Path | None = None
    email: str | None = None


class TLSSettings(Struct, frozen=True, kw_only=True):
    """The certificate of the TLS listeners; without paths and ACME a self-signed one is made in the data directory."""

    tls_certificate_path: Path | None = None
    tls_private_key_path: Path | None = None
    acme: ACMESettings = ACMESettings()


# --- storage ------------------------------------------------------------------


class DatabaseSettings(Struct, frozen=True, kw_only=True):
    """Which database.

    `args` is normalised: for sqlite3 `{"database": absolute path or ":memory:"}`; for psycopg2 the connection
    arguments as written, where `dbname` became `database` and `password` is a Secret.
    """

    name: Literal["sqlite3", "psycopg2"] = "sqlite3"
    args: dict[str, Any] = {}


class StorageSettings(Struct, frozen=True, kw_only=True):
    """The database."""

    database: DatabaseSettings


class MediaSettings(Struct, frozen=True, kw_only=True):
    """Uploaded and cached files."""

    media_store_path: Path
    max_upload_size: Size = Size(50 * 1024**2)
    url_preview_enabled: bool = False


# --- keys and federation ------------------------------------------------------


class OldSigningKey(Struct, frozen=True, kw_only=True):
    """A key of ours that signs no more and verifies what it signed before `expired_ts` (milliseconds)."""

    key: str
    expired_ts: Count


class TrustedKeyServer(Struct, frozen=True, kw_only=True):
    """A notary: a server that is asked for the keys of servers that do not answer."""

    server_name: ServerName
    verify_keys: dict[str, str] = {}
    accept_keys_insecurely: bool = False


class KeySettings(Struct, frozen=True, kw_only=True):
    """Our signing keys, and whom to ask for those of others."""

    signing_key_path: Path
    old_signing_keys: dict[str, OldSigningKey] = {}
    key_refresh_interval: Duration = Duration(86_400_000)
    trusted_key_servers: tuple[TrustedKeyServer, ...] = (
        TrustedKeyServer(server_name=ServerName("matrix.org")),
    )


class FederationTiming(Struct, frozen=True, kw_only=True):
    """How long to wait for other servers, and when to try again."""

    client_timeout: Duration = Duration(60_000)
    destination_min_retry_interval: Duration = Duration(600_000)
    destination_retry_multiplier: AtLeastOne = 2
    destination_max_retry_interval: Duration = Duration(7 * 86_400_000)


class FederationSettings(Struct, frozen=True, kw_only=True):
    """Whom we talk with and how."""

    federation_domain_whitelist: tuple[ServerName, ...] | None = None
    federation_verify_certificates: bool = True
    federation_custom_ca_list: tuple[Path, ...] = ()
    federation: FederationTiming = FederationTiming()
    ip_range_blocklist: tuple[IPRange, ...] = DEFAULT_IP_RANGE_BLOCKLIST
    ip_range_allowlist: tuple[IPRange, ...] = ()
    federation_ip_range_blocklist: tuple[IPRange, ...] = DEFAULT_IP_RANGE_BLOCKLIST
    allow_public_rooms_over_federation: bool = False
    allow_profile_lookup_over_federation: bool = True
    federation_rr_transactions_per_room_per_second: AtLeastOne = 50
    federation_tester: bool = False


# --- accounts and rooms -------------------------------------------------------


class RegistrationSettings(Struct, frozen=True, kw_only=True):
    """Who may make an account."""

    enable_registration: bool = False
    enable_registration_without_verification: bool = False
    registration_requires_token: bool = False
    registration_shared_secret: Secret | None = None
    allow_guest_access: bool = False


class LoginViaExistingSession(Struct, frozen=True, kw_only=True):
    """Tokens with which one client logs in another of the same user."""

    enabled: bool = False
    require_ui_auth: bool = True
    token_timeout: Duration = Duration(300_000)


class UserInteractiveSettings(Struct, frozen=True, kw_only=True):
    """For how long a confirmation is good for further operations that are not dangerous."""

    session_timeout: Duration = Duration(0)


class SessionSettings(Struct, frozen=True, kw_only=True):
    """How long those who have logged in stay so; None is for ever."""

    session_lifetime: Duration | None = None
    refreshable_access_token_lifetime: Duration = Duration(300_000)
    refresh_token_lifetime: Duration | None = None
    nonrefreshable_access_token_lifetime: Duration | None = None
    login_via_existing_session: LoginViaExistingSession = LoginViaExistingSession()
    ui_auth: UserInteractiveSettings = UserInteractiveSettings()


class RoomSettings(Struct, frozen=True, kw_only=True):
    """Rooms and their directory."""

    default_room_version: RoomVersion = RoomVersion("12")
    allow_public_rooms_without_auth: bool = False
    enable_search: bool = True


class UserDirectory(Struct, frozen=True, kw_only=True):
    """Whom people find when they search for users."""

    enabled: bool = True
    search_all_users: bool = False
    exclude_remote_users: bool = False
    prefer_local_users: bool = False
    show_locked_users: bool = False


class ServerNotices(Struct, frozen=True, kw_only=True):
    """Who sends the notices of this server, and what their room looks like."""

    system_mxid_localpart: str
    system_mxid_display_name: str | None = None
    system_mxid_avatar_url: str | None = None
    room_name: str = "Server Notices"
    room_topic: str | None = None
    room_avatar_url: str | None = None
    auto_join: bool = False


class PresenceSettings(Struct, frozen=True, kw_only=True):
    """Whether users see who is online. `untracked`: as if nobody ever was."""

    enabled: bool | Literal["untracked"] = True
    include_offline_users_on_sync: bool = False


class PeopleSettings(Struct, frozen=True, kw_only=True):
    """Finding users, telling them something, and who is online."""

    presence: PresenceSettings = PresenceSettings()
    user_directory: UserDirectory = UserDirectory()
    server_notices: ServerNotices | None = None


class VoIPSettings(Struct, frozen=True, kw_only=True):
    """The TURN server through which clients reach each other for calls."""

    turn_uris: tuple[str, ...] = ()
    turn_shared_secret: Secret | None = None
    turn_username: str | None = None
    turn_password: Secret | None = None
    turn_user_lifetime: Duration = Duration(3_600_000)
    turn_allow_guests: bool = True


class Push(Struct, frozen=True, kw_only=True):
    """What is told to the push gateways of users' apps, and when."""

    enabled: bool = True
    include_content: bool = True
    group_unread_count_by_room: bool = True
    jitter_delay: Duration = Duration(0)


class PushSettings(Struct, frozen=True, kw_only=True):
    """Notifications."""

    push: Push = Push()


class ApplicationServiceSettings(Struct, frozen=True, kw_only=True):
    """Bridges and other application services."""

    app_service_config_files: tuple[Path, ...] = ()


class LoggingSettings(Struct, frozen=True, kw_only=True):
    """What is logged, and where."""

    log_config: Path | None = None
    log_level: LogLevel = "INFO"


# --- rate limits --------------------------------------------------------------


class RateLimit(Struct, frozen=True, kw_only=True):
    """`per_second` actions a second on average, `burst_count` at once."""

    per_second: Rate
    burst_count: Count


class LoginLimits(Struct, frozen=True, kw_only=True):
    """Logins: by address, by account, and failed ones by account."""

    address: RateLimit = RateLimit(per_second=0.003, burst_count=5)
    account: RateLimit = RateLimit(per_second=0.003, burst_count=5)
    failed_attempts: RateLimit = RateLimit(per_second=0.17, burst_count=3)


class JoinLimits(Struct, frozen=True, kw_only=True):
    """Joins: of rooms we are in already, and of rooms that must be fetched from others."""

    local: RateLimit = RateLimit(per_second=0.1, burst_count=10)
    remote: RateLimit = RateLimit(per_second=0.01, burst_count=10)


class InviteLimits(Struct, frozen=True, kw_only=True):
    """Invites: into a room, of a user, by a user."""

    per_room: RateLimit = RateLimit(per_second=0.3, burst_count=10)
    per_user: RateLimit = RateLimit(per_second=0.003, burst_count=5)
    per_issuer: RateLimit = RateLimit(per_second=0.3, burst_count=10)


class PresenceLimits(Struct, frozen=True, kw_only=True):
    """Changes of presence by a user."""

    per_user: RateLimit = RateLimit(per_second=0.1, burst_count=1)


class FederationLimit(Struct, frozen=True, kw_only=True):
    """Incoming federation requests of one server: after `sleep_limit` in `window_size` they are delayed by
    `sleep_delay`, more than `reject_limit` waiting are refused, `concurrent` are worked on at once.
    """

    window_size: Duration = Duration(1000)
    sleep_limit: Count = 10
    sleep_delay: Duration = Duration(500)
    reject_limit: Count = 50
    concurrent: AtLeastOne = 3


class RateLimitSettings(Struct, frozen=True, kw_only=True):
    """Every rate limit, with Synapse's defaults."""

    rc_message: RateLimit = RateLimit(per_second=0.2, burst_count=10)
    rc_registration: RateLimit = RateLimit(per_second=0.17, burst_count=3)
    rc_registration_token_validity: RateLimit = RateLimit(per_second=0.1, burst_count=5)
    rc_login: LoginLimits = LoginLimits()
    rc_joins: JoinLimits = JoinLimits()
    rc_joins_per_room: RateLimit = RateLimit(per_second=1, burst_count=10)
    rc_invites: InviteLimits = InviteLimits()
    rc_room_creation: RateLimit = RateLimit(per_second=0.016, burst_count=10)
    rc_admin_redaction: RateLimit | None = None
    rc_3pid_validation: RateLimit = RateLimit(per_second=0.003, burst_count=5)
    rc_third_party_invite: RateLimit = RateLimit(per_second=0.0025, burst_count=5)
    rc_media_create: RateLimit = RateLimit(per_second=10, burst_count=50)
    rc_key_requests: RateLimit = RateLimit(per_second=20, burst_count=100)
    rc_reports: RateLimit = RateLimit(per_second=1, burst_count=5)
    rc_user_directory: RateLimit = RateLimit(per_second=0.016, burst_count=200)
    rc_presence: PresenceLimits = PresenceLimits()
    rc_federation: FederationLimit = FederationLimit()
    rc_federation_tester: RateLimit = RateLimit(per_second=0.1, burst_count=5)


# --- all together -------------------------------------------------------------


class Settings(Struct, frozen=True, kw_only=True):
    """Everything that homeserver.yaml says, read once."""

    server: ServerSettings
    tls: TLSSettings
    storage: StorageSettings
    media: MediaSettings
    keys: KeySettings
    federation: FederationSettings
    registration: RegistrationSettings
    sessions: SessionSettings
    rooms: RoomSettings
    people: PeopleSettings
    voip: VoIPSettings
    push: PushSettings
    application_services: ApplicationServiceSettings
    logging: LoggingSettings
    rate_limits: RateLimitSettings
    config_path: Path | None = None
    """The file the settings came from; the only field that is not a group."""

    @property
    def server_name(self) -> ServerName:
        """The name of this server, short for `server.server_name`."""
        return self.server.server_name


def groups() -> dict[str, type[Struct]]:
    """The groups of Settings: field name to struct type."""
    return {
        field.name: field.type
        for field in msgspec.structs.fields(Settings)
        if isinstance(field.type, type) and issubclass(field.type, Struct)
    }
