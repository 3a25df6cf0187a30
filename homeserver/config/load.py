"""Reads homeserver.yaml into Settings, once, and says everything that is wrong with it at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import msgspec
import msgspec.inspect as inspect
import yaml
from msgspec import NODEFAULT

from . import acme
from .convert import INVALID, Converter, Problem, Report, show, suggestion
from .settings import (
    ALWAYS_BLOCKED,
    DEFAULT_FEDERATION_PORT,
    DEFAULT_PLAIN_PORT,
    LOOPBACK,
    Listener,
    ResourceName,
    Settings,
    groups,
)
from .synapse_keys import IGNORED_LISTENER_TYPES, IGNORED_RESOURCES, NOT_YET_EFFECTIVE, OLDER_NAMES, UNUSED
from .values import Secret, parse_server_name, parsers

SECRET_PATHS = {
    "registration_shared_secret_path": "registration_shared_secret",
    "turn_shared_secret_path": "turn_shared_secret",
}
"""The keys that are no fields of the settings: each names a file that has the value of another one."""


class ConfigError(Exception):
    """The configuration cannot be used. `problems` has every reason; the text is ready to be shown."""

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        self.source = source
        self.problems = tuple(problems)
        super().__init__("\n".join([f"{source} cannot be used:", *(f"  {problem}" for problem in problems)]))


@dataclass(frozen=True)
class Loaded:
    """The settings, and what there is to say about the file: unknown keys, and keys without effect."""

    settings: Settings
    warnings: tuple[Problem, ...]
    notes: tuple[Problem, ...]


class _Loader(yaml.SafeLoader):
    """YAML that refuses a key written twice: the first one would be lost without a word."""


def _mapping_without_duplicates(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    loader.flatten_mapping(node)
    seen: set[str] = set()
    for key_node, _ in node.value:
        if isinstance(key_node, yaml.ScalarNode):
            if key_node.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f'the key "{key_node.value}" is written twice', key_node.start_mark
                )
            seen.add(key_node.value)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping_without_duplicates)


def load_settings(path: Path) -> Loaded:
    """Read the file at `path`. Raises ConfigError that says what to do."""
    document = _read_yaml(path)
    return settings_from(document, base=path.resolve().parent, source=str(path), config_path=path.resolve())


def _read_yaml(path: Path) -> Any:
    remedy = "python -m homeserver generate-config --server-name NAME writes one"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(str(path), [Problem("", f"there is no such file ({remedy})")]) from None
    except IsADirectoryError:
        raise ConfigError(
            str(path), [Problem("", "this is a directory; give the path of the file in it")]
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(str(path), [Problem("", "this is not a text file in UTF-8")]) from None
    except OSError as error:
        message = f"cannot be read ({error.strerror}); check its owner and permissions"
        raise ConfigError(str(path), [Problem("", message)]) from None
    try:
        # A SafeLoader: it builds plain values only.
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        where = f"line {error.problem_mark.line + 1}" if error.problem_mark else ""
        message = (
            f"this is not valid YAML: {error.problem or error.context}; check the indentation and the quotes"
        )
        raise ConfigError(str(path), [Problem(where, message)]) from None
    except yaml.YAMLError as error:
        raise ConfigError(str(path), [Problem("", f"this is not valid YAML: {error}")]) from None


def settings_from(
    document: Any, *, base: Path, source: str = "the configuration", config_path: Path | None = None
) -> Loaded:
    """Settings from what YAML gave. Relative paths are taken from `base`. Raises ConfigError."""
    report = Report()
    if not isinstance(document, dict):
        message = f"found {show(document)}, but allowed is a section of settings with at least server_name"
        raise ConfigError(source, [Problem("", message)])
    document = {str(key): value for key, value in document.items() if value is not None}
    _rename_older(document, report)
    _name_unknown(document, report)
    _drop_foreign_listeners(document, report)
    for path_key, key in SECRET_PATHS.items():
        _read_secret(document, path_key, key, base, report)
    name = _server_name(document, report)
    _fill_defaults(document, name)

    converter = Converter(parsers(base), report)
    values: dict[str, Any] = {"config_path": config_path}
    for group_name, group in groups().items():
        info = inspect.type_info(group)
        assert isinstance(info, inspect.StructType)
        fields: dict[str, Any] = {}
        for each in info.fields:
            default = each.default if each.default_factory is NODEFAULT else each.default_factory()
            found = document.get(each.encode_name, NODEFAULT)
            fields[each.name] = (
                default
                if found is NODEFAULT
                else converter.convert(each.type, found, each.encode_name, default)
            )
        # A group with a wrong value is not built; the report has the reasons.
        if not any(value is INVALID or value is NODEFAULT for value in fields.values()):
            values[group_name] = group(**fields)
    if report.errors:
        raise ConfigError(source, report.errors)
    settings = _normalise(Settings(**values), base, report)
    if "federation_ip_range_blocklist" not in document:
        federation = settings.federation
        federation = msgspec.structs.replace(
            federation, federation_ip_range_blocklist=federation.ip_range_blocklist
        )
        settings = msgspec.structs.replace(settings, federation=federation)
    if report.errors:
        raise ConfigError(source, report.errors)
    return Loaded(settings, tuple(report.warnings), tuple(report.notes))


# --- before the conversion ----------------------------------------------------


def _rename_older(document: dict[str, Any], report: Report) -> None:
    for older, newer in OLDER_NAMES.items():
        if older in document:
            if newer in document:
                message = f'this is the older name of "{newer}", which is given too; remove one of them'
                report.errors.append(Problem(older, message))
            document[newer] = document.pop(older)
    acme.rename_older(document, report)
    # "use_presence" is what "presence.enabled" was once called, and counts where that is not given.
    if "use_presence" in document:
        presence = document.get("presence") or {}
        if isinstance(presence, dict):
            document["presence"] = {"enabled": document["use_presence"], **presence}
        del document["use_presence"]


def known_keys() -> frozenset[str]:
    """Every top-level key that has an effect, or will have one."""
    fields = {each.encode_name for group in groups().values() for each in msgspec.structs.fields(group)}
    return frozenset(fields | SECRET_PATHS.keys())


def _name_unknown(document: Mapping[str, Any], report: Report) -> None:
    known = known_keys()
    unused = sorted(key for key in document if key in UNUSED)
    if unused:
        message = "these settings of a Synapse configuration are not used by this server: " + ", ".join(
            unused
        )
        report.notes.append(Problem("", message))
    not_yet = sorted(key for key in document if key in NOT_YET_EFFECTIVE)
    if not_yet:
        report.notes.append(
            Problem("", "these settings are understood but have no effect yet: " + ", ".join(not_yet))
        )
    for key in document:
        if key not in known and key not in UNUSED:
            hint = suggestion(key, known) or " It is ignored; docs/configuration.md lists what there is."
            report.warnings.append(Problem(key, f"this key is not known.{hint}"))


def _drop_foreign_listeners(document: dict[str, Any], report: Report) -> None:
    """Leave out listeners and resources that only Synapse has; take the older single `bind_address`."""
    listeners = document.get("listeners")
    if not isinstance(listeners, list):
        return
    kept: list[Any] = []
    for index, listener in enumerate(listeners):
        path = f"listeners[{index}]"
        if isinstance(listener, dict) and listener.get("type") in IGNORED_LISTENER_TYPES:
            report.notes.append(
                Problem(path, f"a listener of type {listener['type']} is not opened by this server")
            )
            continue
        if isinstance(listener, dict):
            listener = dict(listener)
            listener.pop("tag", None)
            if "bind_address" in listener and "bind_addresses" not in listener:
                listener["bind_addresses"] = [listener.pop("bind_address") or "0.0.0.0"]
            if isinstance(listener.get("resources"), list):
                listener["resources"] = [_own_resources(each, path, report) for each in listener["resources"]]
        kept.append(listener)
    document["listeners"] = kept


def _own_resources(resource: Any, path: str, report: Report) -> Any:
    if not isinstance(resource, dict) or not isinstance(resource.get("names"), list):
        return resource
    for name in resource["names"]:
        if isinstance(name, str) and name in IGNORED_RESOURCES:
            report.notes.append(Problem(path, f"the resource {name} does not exist in this server"))
    names = [name for name in resource["names"] if name not in IGNORED_RESOURCES]
    # "compress" is left to the server: it compresses what is worth it.
    return {key: value for key, value in resource.items() if key != "compress"} | {"names": names}


def _read_secret(document: dict[str, Any], path_key: str, key: str, base: Path, report: Report) -> None:
    value = document.pop(path_key, None)
    if value is None:
        return
    if key in document:
        report.errors.append(Problem(path_key, f"{key} is given too; remove one of them"))
        return
    if not isinstance(value, str):
        report.error(path_key, value, "a path")
        return
    try:
        document[key] = (base / value).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        message = f"{base / value} cannot be read ({error}); write a long random text into it"
        report.errors.append(Problem(path_key, message))


def _server_name(document: Mapping[str, Any], report: Report) -> Any:
    if "server_name" not in document:
        message = (
            "it is missing; it is the part after the colon in @user:example.org and the only required setting"
        )
        report.errors.append(Problem("server_name", message))
        return None
    try:
        return parse_server_name(document["server_name"])
    except ValueError:
        return None  # the conversion below reports it with its path


def _fill_defaults(document: dict[str, Any], name: Any) -> None:
    """Defaults that depend on other settings, written as they would stand in the file."""
    data = document.setdefault("data_directory", "data")
    data = data if isinstance(data, str) else "data"
    # Without a server name there is an error already; any text does.
    document.setdefault("signing_key_path", f"{name or 'unknown'}.signing.key")
    document.setdefault("public_baseurl", f"https://{name or 'unknown'}/")
    document.setdefault("media_store_path", f"{data}/media_store")
    document.setdefault("listeners", default_listeners(name))
    document.setdefault("database", {"name": "sqlite3", "args": {"database": f"{data}/homeserver.db"}})


def default_listeners(name: Any) -> list[dict[str, Any]]:
    """TLS for everybody, on the port in the server's name if it has one; plain HTTP on loopback."""
    port = getattr(name, "port", None)
    resources = [{"names": ["client", "federation"]}]
    tls_port = port if port and port >= 1024 and port != DEFAULT_PLAIN_PORT else DEFAULT_FEDERATION_PORT
    return [
        {"port": tls_port, "tls": True, "resources": resources},
        {
            "port": DEFAULT_PLAIN_PORT,
            "bind_addresses": list(LOOPBACK),
            "x_forwarded": True,
            "resources": resources,
        },
    ]


# --- after the conversion -----------------------------------------------------


def _normalise(settings: Settings, base: Path, report: Report) -> Settings:
    """Check what concerns several settings, and make the forms that the program expects."""
    _check_tls(settings, report)
    tls = msgspec.structs.replace(settings.tls, acme=acme.complete(settings, report))
    settings = msgspec.structs.replace(settings, tls=tls)
    _check_listeners(settings.server.listeners, report)
    for index, contact in enumerate(settings.server.well_known_support.contacts):
        if contact.matrix_id is None and contact.email_address is None:
            message = "it needs a matrix_id or an email_address"
            report.errors.append(Problem(f"well_known_support.contacts[{index}]", message))
    registration = settings.registration
    if (
        registration.enable_registration
        and not registration.registration_requires_token
        and not registration.enable_registration_without_verification
    ):
        message = (
            "true, so anybody could make accounts, robots first. Set registration_requires_token: true, or "
            "enable_registration_without_verification: true if that is what you want"
        )
        report.errors.append(Problem("enable_registration", message))
    federation = settings.federation
    replace = msgspec.structs.replace
    settings = replace(
        settings,
        federation=replace(
            federation,
            ip_range_blocklist=federation.ip_range_blocklist + ALWAYS_BLOCKED,
            federation_ip_range_blocklist=federation.federation_ip_range_blocklist + ALWAYS_BLOCKED,
        ),
    )
    database = settings.storage.database
    args = _database_args(database.name, database.args, base, report)
    return replace(settings, storage=replace(settings.storage, database=replace(database, args=args)))


def _check_tls(settings: Settings, report: Report) -> None:
    pair = {"tls_certificate_path": settings.tls.tls_certificate_path}
    pair["tls_private_key_path"] = settings.tls.tls_private_key_path
    given = [key for key, value in pair.items() if value is not None]
    if len(given) == 1:
        (missing,) = pair.keys() - set(given)
        message = f"{given[0]} is given, so this is needed too (or neither, for a self-signed certificate)"
        report.errors.append(Problem(missing, message))


def _check_listeners(listeners: Sequence[Listener], report: Report) -> None:
    if not listeners:
        report.errors.append(
            Problem(
                "listeners",
                "there is none, so nobody could reach this server; remove the key for the default ones",
            )
        )
    seen: dict[tuple[int, str], int] = {}
    for index, listener in enumerate(listeners):
        if not listener.bind_addresses:
            allowed = "at least one address, such as 0.0.0.0 or 127.0.0.1"
            report.error(f"listeners[{index}].bind_addresses", [], allowed)
        for address in listener.bind_addresses:
            other = seen.setdefault((listener.port, address), index)
            if other != index:
                message = (
                    f"listeners[{other}] has the same port {listener.port} on {address}; change one of them"
                )
                report.errors.append(Problem(f"listeners[{index}].port", message))


def _database_args(name: str, args: Mapping[str, Any], base: Path, report: Report) -> dict[str, Any]:
    path = "database.args"
    if name == "sqlite3":
        database = args.get("database")
        if not isinstance(database, str) or not database:
            report.error(f"{path}.database", database, "the path of the SQLite file")
            return {}
        return {"database": database if database == ":memory:" else str(base / Path(database).expanduser())}
    normal = {
        ("database" if key == "dbname" else key): value for key, value in args.items() if value is not None
    }
    for key in ("user", "password", "database", "host", "sslmode"):
        if key in normal and not isinstance(normal[key], str):
            report.error(f"{path}.{key}", normal[key], 'a text (put it in quotes, as in "1234")')
    for key in ("port", "cp_min", "cp_max"):
        value = normal.get(key)
        if isinstance(value, str) and value.isdigit():
            normal[key] = int(value)
        elif value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            report.error(f"{path}.{key}", value, "a whole number")
    if isinstance(normal.get("password"), str):
        normal["password"] = Secret(normal["password"])
    return normal


assert set(get_args(ResourceName)).isdisjoint(IGNORED_RESOURCES)
