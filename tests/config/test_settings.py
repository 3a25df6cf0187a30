"""homeserver.yaml to settings: what is taken, and what is said about what is not."""

import ipaddress
from pathlib import Path
from typing import Any

import pytest
import yaml

from homeserver.config import ConfigError, Duration, Loaded, Settings, Size, load_settings, settings_from
from homeserver.config.load import known_keys
from homeserver.config.synapse_keys import NOT_YET_EFFECTIVE, UNUSED

BASE = Path("/srv/matrix")


def load(text: str) -> Loaded:
    return settings_from(yaml.safe_load("server_name: example.org\n" + text), base=BASE)


def settings(text: str = "") -> Settings:
    return load(text).settings


def errors(text: str, *, name: str = "server_name: example.org\n") -> list[str]:
    with pytest.raises(ConfigError) as raised:
        settings_from(yaml.safe_load(name + text), base=BASE)
    return [str(problem) for problem in raised.value.problems]


def test_only_the_server_name_is_required() -> None:
    found = settings()
    assert found.server_name == "example.org"
    assert found.server.public_baseurl == "https://example.org/"
    assert found.keys.signing_key_path == BASE / "example.org.signing.key"
    assert found.media.media_store_path == BASE / "data/media_store"
    assert found.storage.database.name == "sqlite3"
    assert found.storage.database.args == {"database": "/srv/matrix/data/homeserver.db"}
    assert found.rooms.default_room_version == "12"
    assert [server.server_name for server in found.keys.trusted_key_servers] == ["matrix.org"]
    assert found.federation.federation_domain_whitelist is None
    assert not found.registration.enable_registration


def test_default_listeners() -> None:
    public, local = settings().server.listeners
    assert (public.port, public.tls, public.bind_addresses) == (8448, True, ("::", "0.0.0.0"))
    assert (local.port, local.tls, local.bind_addresses) == (8008, False, ("127.0.0.1", "::1"))
    assert local.x_forwarded and not public.x_forwarded
    assert public.resource_names == local.resource_names == {"client", "federation"}


@pytest.mark.parametrize(
    ("server_name", "port"),
    [
        ("localhost:8448", 8448),
        ("localhost:9448", 9448),
        ("example.org:443", 8448),  # a reverse proxy has that one
        ("example.org:8008", 8448),  # the other listener has that one
        ("'[2001:db8::1]:8449'", 8449),
    ],
)
def test_a_port_in_the_server_name_is_listened_on(server_name: str, port: int) -> None:
    document = yaml.safe_load(f"server_name: {server_name}")
    assert settings_from(document, base=BASE).settings.server.listeners[0].port == port


def test_a_synapse_file_starts_this_server() -> None:
    loaded = load("""
pid_file: /run/matrix-synapse.pid
listeners:
  - port: 8008
    tls: false
    type: http
    x_forwarded: true
    bind_addresses: ['::1', '127.0.0.1']
    resources:
      - names: [client, federation]
        compress: false
  - {port: 9000, type: manhole, bind_address: 127.0.0.1}
  - {port: 9093, type: http, bind_address: "", resources: [{names: [replication, health]}]}
database:
  name: psycopg2
  args: {user: synapse, password: secret123, dbname: synapse, host: localhost, port: "5432", cp_min: 5, cp_max: 10}
log_config: /etc/matrix-synapse/log.yaml
media_store_path: /var/lib/matrix-synapse/media
registration_shared_secret: abc
report_stats: true
macaroon_secret_key: m
form_secret: f
signing_key_path: /etc/matrix-synapse/homeserver.signing.key
trusted_key_servers: [{server_name: matrix.org}]
ip_range_blacklist: [10.0.0.0/8]
ip_range_whitelist: [10.1.1.1]
rc_message: {per_second: 5}
""")
    found = loaded.settings
    assert loaded.warnings == ()
    assert [listener.port for listener in found.server.listeners] == [8008, 9093]
    assert found.server.listeners[1].bind_addresses == ("0.0.0.0",)
    assert found.server.listeners[1].resource_names == {"health"}
    assert found.storage.database.args == {
        "user": "synapse",
        "password": "secret123",
        "database": "synapse",
        "host": "localhost",
        "port": 5432,
        "cp_min": 5,
        "cp_max": 10,
    }
    assert found.federation.ip_range_blocklist == ("10.0.0.0/8", "0.0.0.0/32", "::/128")
    assert found.federation.federation_ip_range_blocklist == found.federation.ip_range_blocklist
    assert found.federation.ip_range_allowlist == ("10.1.1.1/32",)
    assert found.rate_limits.rc_message.per_second == 5
    assert found.rate_limits.rc_message.burst_count == 10, "a part that is not written keeps its default"
    notes = "\n".join(str(note) for note in loaded.notes)
    assert "not used by this server: form_secret, macaroon_secret_key, report_stats" in notes
    assert "listeners[1]: a listener of type manhole is not opened" in notes
    assert "have no effect yet: media_store_path" in notes


def test_secrets_do_not_show_themselves() -> None:
    found = settings("""
registration_shared_secret: hush-hush
database: {name: psycopg2, args: {password: hush-hush}}
""")
    assert found.registration.registration_shared_secret == "hush-hush"
    assert "hush-hush" not in repr(found)


def test_every_default_ip_range_is_one() -> None:
    for text in settings().federation.ip_range_blocklist:
        ipaddress.ip_network(text)


def test_nested_limits_keep_their_own_defaults() -> None:
    limits = settings("rc_joins: {remote: {burst_count: 99}}\nrc_federation: {window_size: 2s}").rate_limits
    assert (limits.rc_joins.remote.per_second, limits.rc_joins.remote.burst_count) == (0.01, 99)
    assert (limits.rc_joins.local.per_second, limits.rc_joins.local.burst_count) == (0.1, 10)
    assert limits.rc_federation.window_size == 2000
    assert limits.rc_federation.concurrent == 3


@pytest.mark.parametrize(
    ("written", "milliseconds"),
    [
        ("1500", 1500),
        ("500ms", 500),
        ("'30s'", 30_000),
        ("5m", 300_000),
        ("1h", 3_600_000),
        ("7d", 604_800_000),
    ],
)
def test_durations(written: str, milliseconds: int) -> None:
    found = settings(f"key_refresh_interval: {written}").keys.key_refresh_interval
    assert found == Duration(milliseconds)
    assert found.seconds == milliseconds / 1000


@pytest.mark.parametrize(
    ("written", "size"),
    [("100", 100), ("50M", 52_428_800), ("512K", 524_288), ("1G", 1024**3), ("5MB", 5 * 1024**2)],
)
def test_sizes(written: str, size: int) -> None:
    assert settings(f"max_upload_size: {written}").media.max_upload_size == Size(size)


def test_relative_paths_are_taken_from_the_files_directory(tmp_path: Path) -> None:
    path = tmp_path / "homeserver.yaml"
    path.write_text(
        "server_name: a.example\npid_file: run/pid\ndatabase: {name: sqlite3, args: {database: x.db}}"
    )
    found = load_settings(path).settings
    assert found.server.pid_file == tmp_path / "run/pid"
    assert found.storage.database.args == {"database": str(tmp_path / "x.db")}
    assert found.config_path == path


def test_a_database_in_memory() -> None:
    text = "database: {name: sqlite3, args: {database: ':memory:'}}"
    assert settings(text).storage.database.args == {"database": ":memory:"}


@pytest.mark.parametrize(
    ("text", "enabled"),
    [
        ("", True),
        ("presence: {enabled: false}", False),
        ("presence: {enabled: untracked}", "untracked"),
        ("use_presence: false", False),
        ("use_presence: false\npresence: {enabled: true}", True),
        ("use_presence: false\npresence: {include_offline_users_on_sync: true}", False),
        ("use_presence: false\npresence:", False),
    ],
)
def test_presence(text: str, enabled: bool | str) -> None:
    assert settings(text).people.presence.enabled == enabled


def test_the_secret_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from the file\n")
    document = {"server_name": "a.example", "registration_shared_secret_path": "secret"}
    found = settings_from(document, base=tmp_path).settings
    assert found.registration.registration_shared_secret == "from the file"


def test_unknown_keys_are_named_with_a_suggestion() -> None:
    loaded = load(
        "max_uplod_size: 5M\nmy_own: 1\nrc_login: {adress: {per_second: 1}}\nmacaroon_secret_key: x"
    )
    assert [str(warning) for warning in loaded.warnings] == [
        'max_uplod_size: this key is not known. Did you mean "max_upload_size"?',
        "my_own: this key is not known. It is ignored; docs/configuration.md lists what there is.",
        'rc_login.adress: this key is not known. Did you mean "address"?',
    ]


def test_the_lists_of_keys_do_not_overlap() -> None:
    assert not known_keys() & UNUSED
    assert known_keys() >= {name.partition(".")[0] for name in NOT_YET_EFFECTIVE}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "listeners: [{port: '80'}]",
            'listeners[0].port: found the text "80", but allowed is a whole number from 1 to 65535',
        ),
        (
            "listeners: [{port: 70000}]",
            "listeners[0].port: found 70000, but allowed is a whole number from 1 to 65535",
        ),
        ("listeners: [{tls: true}]", 'listeners[0]: the key "port" is missing'),
        (
            "listeners: []",
            "listeners: there is none, so nobody could reach this server; remove the key for the default ones",
        ),
        (
            "listeners: {port: 80}",
            "listeners: found a section with port, but allowed is a list, each of them a section with port, "
            "bind_addresses, type, tls, x_forwarded, trusted_proxies, resources",
        ),
        (
            "listeners: [{port: 80, bind_addresses: []}]",
            "listeners[0].bind_addresses: found an empty list, but allowed is at least one address, such as "
            "0.0.0.0 or 127.0.0.1",
        ),
        (
            "listeners: [{port: 80, bind_addresses: [x]}, {port: 80, bind_addresses: [x]}]",
            "listeners[1].port: listeners[0] has the same port 80 on x; change one of them",
        ),
        (
            "listeners: [{port: 80, resources: [{names: [clients]}]}]",
            'listeners[0].resources[0].names[0]: found the text "clients", but allowed is client, federation, '
            "health, keys, media, metrics, openid or static",
        ),
        (
            "database: {name: mysql}",
            'database.name: found the text "mysql", but allowed is psycopg2 or sqlite3',
        ),
        (
            "database: {name: sqlite3}",
            "database.args.database: found nothing, but allowed is the path of the SQLite file",
        ),
        (
            "database: {name: psycopg2, args: {password: 1234}}",
            'database.args.password: found 1234, but allowed is a text (put it in quotes, as in "1234")',
        ),
        (
            "max_upload_size: huge",
            'max_upload_size: found the text "huge", but allowed is a size such as 512K, 50M or 1G, or a whole '
            "number of bytes",
        ),
        (
            "key_refresh_interval: -1",
            "key_refresh_interval: found -1, but allowed is a duration such as 500ms, 30s, 5m, 1h, 7d, 4w or 1y, "
            "or a whole number of milliseconds",
        ),
        (
            "default_room_version: 99",
            'default_room_version: found 99, but allowed is one of "1", "2", "3", "4", "5", "6", "7", "8", "9", '
            '"10", "11", "12"',
        ),
        (
            "ip_range_blocklist: [10.0.0.0/99]",
            'ip_range_blocklist[0]: found the text "10.0.0.0/99", but allowed is an address or a range such as '
            "10.0.0.0/8, 192.0.2.1 or fc00::/7",
        ),
        (
            "presence: {enabled: maybe}",
            'presence.enabled: found the text "maybe", but allowed is true or false or untracked',
        ),
        (
            "ip_range_blocklist: []\nip_range_blacklist: []",
            'ip_range_blacklist: this is the older name of "ip_range_blocklist", which is given too; remove one '
            "of them",
        ),
        (
            "rc_joins: {local: {per_second: fast}}",
            'rc_joins.local.per_second: found the text "fast", but allowed is a number of at least 0',
        ),
        (
            "old_signing_keys: {'ed25519:a': {key: x, expired_ts: soon}}",
            'old_signing_keys.ed25519:a.expired_ts: found the text "soon", but allowed is a whole number of at '
            "least 0",
        ),
        (
            "federation_domain_whitelist: [https://a.example]",
            'federation_domain_whitelist[0]: found the text "https://a.example", but allowed is a server name '
            "such as example.org, matrix.example.org:8448 or [2001:db8::1] (no https://, no /)",
        ),
        (
            "public_baseurl: matrix.example.org",
            'public_baseurl: found the text "matrix.example.org", but allowed is an address such as '
            "https://matrix.example.org/ (https:// or http://, no query)",
        ),
        (
            "tls_certificate_path: a.pem",
            "tls_private_key_path: tls_certificate_path is given, so this is needed too (or neither, for a "
            "self-signed certificate)",
        ),
        (
            "enable_registration: true",
            "enable_registration: true, so anybody could make accounts, robots first. Set "
            "registration_requires_token: true, or enable_registration_without_verification: true if that is "
            "what you want",
        ),
        (
            'enable_registration: "yes"',
            'enable_registration: found the text "yes", but allowed is true or false',
        ),
        (
            "registration_shared_secret: 12345",
            "registration_shared_secret: found 12345, but allowed is a string that is not empty",
        ),
        (
            "registration_shared_secret: a\nregistration_shared_secret_path: b",
            "registration_shared_secret_path: registration_shared_secret is given too; remove one of them",
        ),
        (
            "log_level: LOUD",
            'log_level: found the text "LOUD", but allowed is CRITICAL, DEBUG, ERROR, INFO or WARNING',
        ),
        (
            "well_known_support: {contacts: [{role: m.role.admin}]}",
            "well_known_support.contacts[0]: it needs a matrix_id or an email_address",
        ),
    ],
)
def test_a_wrong_value_is_named_with_what_was_found_and_what_is_allowed(text: str, expected: str) -> None:
    assert errors(text) == [expected]


@pytest.mark.parametrize(
    "name",
    [
        "https://example.org",
        "exa mple.org",
        "Example.org",
        "example.org:0",
        "example.org:99999",
        "[::g]",
        "1",
    ],
)
def test_wrong_server_names(name: str) -> None:
    document: dict[str, Any] = {"server_name": int(name) if name.isdigit() else name}
    with pytest.raises(ConfigError, match="server_name: found"):
        settings_from(document, base=BASE)


def test_a_missing_server_name() -> None:
    (message,) = errors("log_level: INFO", name="")
    assert message.startswith(
        "server_name: it is missing; it is the part after the colon in @user:example.org"
    )


def test_all_wrong_values_are_told_at_once() -> None:
    assert len(errors("log_level: LOUD\nmax_upload_size: huge\nlisteners: [{}]")) == 3


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            b"server_name: a.example\nserver_name: b.example\n",
            'line 2: .*the key "server_name" is written twice',
        ),
        (b"server_name: [a\n", "line 2: this is not valid YAML"),
        (b"just a text", "found the text"),
        (b"", "found nothing"),
        (b"\xff\xfe", "not a text file in UTF-8"),
        (b"a: !!python/object/apply:os.getcwd []", "not valid YAML"),
    ],
)
def test_files_that_are_not_settings(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "homeserver.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=expected):
        load_settings(path)


def test_a_missing_file_and_a_directory(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no such file .*generate-config"):
        load_settings(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="this is a directory"):
        load_settings(tmp_path)
