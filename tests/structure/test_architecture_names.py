"""The modules and names that docs/architecture.md speaks of are there."""

import re
from pathlib import Path

from tests.structure.source import REPOSITORY as ROOT

TEXT = (ROOT / "docs" / "architecture.md").read_text()
MODULE = re.compile(r"`((?:[a-z_0-9]+/)*[a-z_0-9]+\.py)(?:: ([A-Za-z_0-9.]+))?`")
PACKAGE_OR_MODULE = re.compile(r"`((?:services|storage|core|federation|app)/[a-z_0-9/]+)`")


def files(name: str) -> list[Path]:
    """The files that a name in the text may mean: below the package, the project, or anywhere below the package."""
    exact = [base / name for base in (ROOT / "homeserver", ROOT) if (base / name).exists()]
    return exact or list((ROOT / "homeserver").rglob(name))


def test_modules_and_what_is_named_in_them() -> None:
    found = MODULE.findall(TEXT)
    assert len(found) > 50
    missing = []
    for name, inner in found:
        candidates = files(name)
        word = re.compile(rf"\b{re.escape(inner.rpartition('.')[2])}\b")
        if not any(not inner or word.search(path.read_text()) for path in candidates):
            missing.append(f"{name}: {inner}" if inner else name)
    assert not missing


def test_packages() -> None:
    missing = [
        name
        for name in PACKAGE_OR_MODULE.findall(TEXT)
        if not (ROOT / "homeserver" / name).exists() and not (ROOT / "homeserver" / f"{name}.py").exists()
    ]
    assert not missing
