"""Every module can be the first one that is imported: everything it needs is there, and no imports go in circles.

A circle of imports only works when a lucky module comes first. So that the check takes no process for each module,
all are imported once, and the circles are looked for in the syntax trees.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache

from .source import REPOSITORY, Module, modules

PROGRAM = """
import importlib, sys, traceback
failed = 0
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except Exception:
        print(f"--- {name}", file=sys.stderr)
        traceback.print_exc()
        failed = 1
sys.exit(failed)
"""


def test_every_module_can_be_imported() -> None:
    names = [module.name for module in modules() if not module.name.endswith("__main__")]
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, *names],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr


def test_no_imports_go_in_circles() -> None:
    graph = {module.name: sorted(_needed(module)) for module in modules()}
    circle = _find_circle(graph)
    assert circle is None, "a circle of imports: " + " -> ".join(circle or [])


def test_a_circle_is_found() -> None:
    assert _find_circle({"a": ["b"], "b": ["c"], "c": []}) is None
    assert _find_circle({"a": ["b"], "b": ["c"], "c": ["b"]}) == ["b", "c", "b"]


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """What runs when the module is imported, but for what only the type checker sees."""
    for node in body:
        if isinstance(node, ast.If):
            if not (isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"):
                yield from _statements(node.body)
            yield from _statements(node.orelse)
        elif isinstance(node, ast.Try | ast.ClassDef | ast.With):
            yield from _statements(node.body)
        else:
            yield node


def _needed(module: Module) -> set[str]:
    """The modules of the package that are imported before this one is ready."""
    found: set[str] = set()
    for node in _statements(module.tree.body):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = module.base_of(node)
            below = {f"{base}.{alias.name}" for alias in node.names}
            # `from package import module` needs the package itself only for names that are no modules.
            found |= below & _names()
            if below - _names():
                found.add(base)
    return (found & _names()) - {module.name}


@cache
def _names() -> frozenset[str]:
    return frozenset(module.name for module in modules())


def _find_circle(graph: dict[str, list[str]]) -> list[str] | None:
    """The names along a circle, the first one again at its end; None when there is none."""
    finished: set[str] = set()
    for start in graph:
        path = [start]
        todo = [iter(graph[start])] if start not in finished else []
        while todo:
            following = next(todo[-1], None)
            if following is None:
                todo.pop()
                finished.add(path.pop())
            elif following in path:
                return [*path[path.index(following) :], following]
            elif following not in finished:
                path.append(following)
                todo.append(iter(graph[following]))
    return None
