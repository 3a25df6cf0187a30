"""The specification is the index of the code: an operation is served where its name says, or in not_yet.txt.

spec_operations.json is the specification's side (scripts/update-spec-operations writes it), the ENDPOINTS of
the API packages are ours. not_yet.txt only shrinks.
"""

import importlib
import json
import re
from functools import cache
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

import pytest

from homeserver.http.endpoint import endpoints_of

from .source import REPOSITORY, modules

SPEC_PACKAGES = ("client_api", "federation_api")
HERE = Path(__file__).parent
SPEC = REPOSITORY.parent / "shared" / "spec" / "api"

# Two operations of the specification that are one method and path: one handler serves both.
SAME_PATH_AS = {
    "client-server inviteBy3PID": "client-server inviteUser",
    "client-server peekEvents": "client-server getEvents",
}


@cache
def spec_operations() -> dict[str, dict[str, str]]:
    """`client-server ban` -> file, operation, module, function, method, path, auth, link."""
    table = json.loads((HERE / "spec_operations.json").read_text(encoding="utf-8"))
    return {f"{entry['file'].split('/')[0]} {entry['operation']}": entry for entry in table}


@cache
def not_yet() -> frozenset[str]:
    """The operations that are not served yet."""
    lines = (HERE / "not_yet.txt").read_text(encoding="utf-8").splitlines()
    return frozenset(line.strip() for line in lines if line.strip() and not line.startswith("#"))


def spec_endpoints() -> list[Any]:
    """The endpoints of the two packages that follow the specification."""
    return [
        endpoint
        for package in SPEC_PACKAGES
        for endpoint in importlib.import_module(f"homeserver.{package}").ENDPOINTS
    ]


def place_of(endpoint: Any) -> tuple[str, str]:
    """(module below the package, function): ("client_api.banning", "ban")."""
    handler = endpoint.handler
    return handler.__module__.removeprefix("homeserver."), handler.__name__


@cache
def served() -> dict[tuple[str, str], list[Any]]:
    """The endpoints by their module and function; a handler may carry several."""
    found: dict[tuple[str, str], list[Any]] = {}
    for endpoint in spec_endpoints():
        found.setdefault(place_of(endpoint), []).append(endpoint)
    return found


def test_every_operation_is_served_or_listed() -> None:
    missing = [
        f"{key}: {entry['method']} {entry['path']} belongs to {entry['module']}.{entry['function']}"
        for key, entry in spec_operations().items()
        if key not in not_yet()
        and key not in SAME_PATH_AS
        and (entry["module"], entry["function"]) not in served()
    ]
    assert not missing, "neither served nor in not_yet.txt:\n" + "\n".join(missing)


def test_what_is_served_is_no_longer_listed() -> None:
    stale = [
        key
        for key in sorted(not_yet())
        if key not in spec_operations()
        or (spec_operations()[key]["module"], spec_operations()[key]["function"]) in served()
    ]
    assert not stale, "take these lines out of tests/structure/not_yet.txt:\n" + "\n".join(stale)


def test_what_is_served_has_the_method_path_and_security_of_the_specification() -> None:
    wrong = []
    for key, entry in spec_operations().items():
        endpoints = served().get((entry["module"], entry["function"]), [])
        found = [(endpoint.method, endpoint.path, endpoint.auth.name) for endpoint in endpoints]
        wanted = (entry["method"], entry["path"], entry["auth"])
        if endpoints and wanted not in found:
            wrong.append(f"{key}: {found}, the specification says {wanted}")
    assert not wrong, "\n".join(wrong)


def test_what_is_served_links_to_its_operation() -> None:
    wrong = []
    for entry in spec_operations().values():
        endpoints = served().get((entry["module"], entry["function"]), [])
        links = (
            re.findall(r"https://spec\.matrix\.org/\S+", endpoints[0].handler.__doc__ or "")
            if endpoints
            else []
        )
        if endpoints and entry["link"] not in links:
            wrong.append(f"{entry['module']}.{entry['function']}: its docstring needs Spec: {entry['link']}")
    assert not wrong, "\n".join(wrong)


def test_every_other_endpoint_links_to_what_it_follows() -> None:
    """Aliases and extensions too say where they are described: the specification or a proposal."""
    wrong = [
        ".".join(place_of(endpoint))
        for endpoint in spec_endpoints()
        if not re.search(r"https://(spec\.matrix\.org|github\.com)/\S+", endpoint.handler.__doc__ or "")
    ]
    assert not wrong, wrong


def test_no_method_and_path_is_served_twice() -> None:
    seen: dict[tuple[str, str], tuple[str, str]] = {}
    twice = []
    for endpoint in spec_endpoints():
        for path in endpoint.paths:
            route = (endpoint.method, re.sub(r"\{\w+\}", "{}", path))
            if route in seen:
                twice.append(f"{route}: {seen[route]} and {place_of(endpoint)}")
            seen[route] = place_of(endpoint)
    assert not twice, "\n".join(twice)


def test_every_endpoint_is_collected() -> None:
    """A handler that nobody put in ENDPOINTS would be silently unreachable."""
    declared = {
        place_of(endpoint)
        for module in modules()
        if module.layer in SPEC_PACKAGES and module.name != f"homeserver.{module.layer}"
        for endpoint in endpoints_of(importlib.import_module(module.name))
    }
    forgotten = declared - {place_of(endpoint) for endpoint in spec_endpoints()}
    assert not forgotten, sorted(forgotten)


@pytest.mark.parametrize(
    ("script", "table"),
    [
        ("update-spec-operations", "tests/structure/spec_operations.json"),
        ("update-spec-schemas", "tests/fuzz/spec_schemas.json"),
    ],
)
def test_the_table_is_the_specification(script: str, table: str) -> None:
    """Only where the specification is at hand, beside the repository."""
    if not SPEC.is_dir():
        return
    loader = SourceFileLoader(script.replace("-", "_"), str(REPOSITORY / "scripts" / script))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    current = (REPOSITORY / table).read_text(encoding="utf-8")
    assert module.render(SPEC) == current, f"run scripts/{script}"
