"""The source code of the package as syntax trees, read once for all structure tests."""

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = "homeserver"


@dataclass(frozen=True)
class Module:
    """One module of the package."""

    name: str
    """Dotted: homeserver.core.events; a package's __init__ bears the package's name."""
    path: Path
    text: str
    tree: ast.Module
    is_package: bool

    @property
    def layer(self) -> str:
        """The first name below the package: core, storage, app, ...; the package itself is ''."""
        return ".".join(self.name.split(".")[1:2])

    def imports(self) -> list[tuple[int, str]]:
        """(line, dotted name) of everything that is imported anywhere in the module, relative names resolved.

        `from a import b` counts as both a and a.b, because b may be a module.
        """
        found: list[tuple[int, str]] = []
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found += [(node.lineno, alias.name) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = self.base_of(node)
                found.append((node.lineno, base))
                found += [(node.lineno, f"{base}.{alias.name}") for alias in node.names]
        return found

    def base_of(self, node: ast.ImportFrom) -> str:
        """The dotted name after `from`, made absolute."""
        if node.level == 0:
            return node.module or ""
        package = self.name.split(".") if self.is_package else self.name.split(".")[:-1]
        base = package[: len(package) - (node.level - 1)]
        return ".".join([*base, node.module] if node.module else base)


@cache
def modules() -> tuple[Module, ...]:
    """Every module of the package, in the order of their names."""
    found = []
    for path in sorted((REPOSITORY / PACKAGE).rglob("*.py")):
        parts = list(path.relative_to(REPOSITORY).with_suffix("").parts)
        is_package = parts[-1] == "__init__"
        if is_package:
            parts.pop()
        text = path.read_text(encoding="utf-8")
        found.append(Module(".".join(parts), path, text, ast.parse(text, str(path)), is_package))
    return tuple(found)


def place(module: Module, line: int) -> str:
    """`homeserver/core/events.py:12`, as an editor opens it."""
    return f"{module.path.relative_to(REPOSITORY)}:{line}"
