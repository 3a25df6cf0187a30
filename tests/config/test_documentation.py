"""docs/configuration.md and homeserver.yaml.sample against the settings."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import msgspec.inspect as inspect
import pytest
import yaml

from homeserver.config import RateLimit, load_settings, settings_from
from homeserver.config.convert import Converter, Report
from homeserver.config.load import SECRET_PATHS
from homeserver.config.settings import groups
from homeserver.config.synapse_keys import NOT_YET_EFFECTIVE
from homeserver.config.values import parsers

REPOSITORY = Path(__file__).parents[2]
ROW = re.compile(r"^\| `(?P<name>[^`]+)` \| (?P<default>.*?) \| (?P<meaning>.+) \|$")


def _documented() -> dict[str, tuple[str, str]]:
    text = (REPOSITORY / "docs/configuration.md").read_text(encoding="utf-8")
    rows = [match for line in text.splitlines() if (match := ROW.match(line))]
    names = [row["name"] for row in rows]
    assert len(names) == len(set(names)), "a setting stands in two rows"
    return {row["name"]: (row["default"], row["meaning"]) for row in rows}


def _fields(kind: inspect.Type, path: str) -> Iterator[tuple[str, inspect.Field]]:
    match kind:
        case inspect.StructType(cls=cls, fields=fields):
            if cls is not RateLimit:  # explained once, above the table
                for field in fields:
                    yield f"{path}{field.encode_name}", field
                    yield from _fields(field.type, f"{path}{field.encode_name}.")
        case inspect.VarTupleType(item_type=item):
            yield from _fields(item, f"{path[:-1]}[].")
        case inspect.DictType(value_type=value):
            yield from _fields(value, f"{path}*.")
        case inspect.UnionType(types=types):
            for each in types:
                yield from _fields(each, path)


def _settings() -> dict[str, inspect.Field]:
    return {
        name: field for group in groups().values() for name, field in _fields(inspect.type_info(group), "")
    }


def test_every_setting_is_documented_and_nothing_else() -> None:
    assert _documented().keys() == _settings().keys() | SECRET_PATHS.keys()


@pytest.mark.parametrize(("name", "default"), [(name, row[0]) for name, row in _documented().items()])
def test_documented_defaults_are_the_defaults(name: str, default: str) -> None:
    field = _settings().get(name)
    if field is None:
        assert name in SECRET_PATHS
        return
    actual = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    literal = re.fullmatch(r"`([^`]+)`", default)
    if default == "none":
        assert actual is None
    elif default == "required":
        assert actual is msgspec.NODEFAULT
    elif literal and literal[1] not in _settings() and actual is not msgspec.NODEFAULT:
        report = Report()
        value = Converter(parsers(Path("/")), report).convert(field.type, yaml.safe_load(literal[1]), name)
        assert not report.errors
        assert value == actual


def test_settings_without_effect_are_marked() -> None:
    marked = {name for name, (_, meaning) in _documented().items() if meaning.startswith("*Not yet.*")}
    assert marked == NOT_YET_EFFECTIVE


SAMPLE = REPOSITORY / "homeserver.yaml.sample"


def test_the_sample_is_valid() -> None:
    loaded = load_settings(SAMPLE)
    assert loaded.warnings == ()
    assert loaded.notes == ()


def _commented_blocks() -> list[Any]:
    """Each commented-out setting of the sample: a `# key:` line with the indented comment lines below it."""
    lines = SAMPLE.read_text(encoding="utf-8").splitlines()
    blocks: list[list[str]] = []
    for line in lines:
        if re.match(r"# [a-z_]+:( |$)", line):
            blocks.append([line[2:]])
        elif blocks and line.startswith("#   "):
            blocks[-1].append(line[2:])
    return ["\n".join(block) for block in blocks]


@pytest.mark.parametrize("block", _commented_blocks())
def test_what_is_commented_out_in_the_sample_is_valid(block: str) -> None:
    document = {"server_name": "example.org", **yaml.safe_load(block)}
    # A certificate needs its key beside it.
    if "tls_certificate_path" in document:
        document["tls_private_key_path"] = "key.pem"
    if "tls_private_key_path" in document:
        document["tls_certificate_path"] = "certificate.pem"
    loaded = settings_from(document, base=Path("/"))
    assert loaded.warnings == ()


def test_the_sample_shows_the_listeners_there_are_by_default() -> None:
    (block,) = [block for block in _commented_blocks() if block.startswith("listeners:")]
    shown = settings_from({"server_name": "example.org", **yaml.safe_load(block)}, base=Path("/"))
    default = settings_from({"server_name": "example.org"}, base=Path("/"))
    assert shown.settings.server.listeners == default.settings.server.listeners


def test_every_setting_is_used_or_marked() -> None:
    """A setting that nothing reads would be a promise that is not kept."""
    package = REPOSITORY / "homeserver"
    code = "\n".join(
        path.read_text(encoding="utf-8")
        for path in package.rglob("*.py")
        if (package / "config") not in path.parents
    )
    # The doctor and the federation tester only ask whether a proxy fits the setting.
    code = code.replace("media.max_upload_size", "")
    unused = {
        field.encode_name
        for group in groups().values()
        for field in msgspec.structs.fields(group)
        # Read as an attribute, or named as a rate limit: limit="rc_login.address".
        if not re.search(rf"[.\"]{field.encode_name}\b", code)
    }
    # This only permits what enable_registration asks for.
    permitted = {"enable_registration_without_verification"}
    assert unused - permitted == {name for name in NOT_YET_EFFECTIVE if "." not in name}
