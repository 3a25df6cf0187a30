"""Everything public says what it is."""

import ast
from collections.abc import Iterator

from .source import modules, place

Documented = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def _public(body: list[ast.stmt], promised: set[str]) -> Iterator[Documented]:
    """The public functions, classes and methods of a module; not what is inside functions, nor the promised."""
    for node in body:
        if isinstance(node, ast.If | ast.Try):
            yield from _public(node.body, promised)
        elif isinstance(node, Documented) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                inside = _public(node.body, promised)
                yield from (member for member in inside if member.name not in promised)


def _promised() -> set[str]:
    """The methods that a Protocol describes: what they do is said there, not at each implementation."""
    return {
        method.name
        for module in modules()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef)
        and any(isinstance(base, ast.Name) and base.id == "Protocol" for base in node.bases)
        for method in node.body
        if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(method)
    }


def _is_overload(node: Documented) -> bool:
    return any(isinstance(d, ast.Name) and d.id == "overload" for d in node.decorator_list)


def test_everything_public_has_a_docstring() -> None:
    promised = _promised()
    missing = [place(module, 1) for module in modules() if not ast.get_docstring(module.tree)]
    missing += [
        f"{place(module, node.lineno)} {node.name}"
        for module in modules()
        for node in _public(module.tree.body, promised)
        if not _is_overload(node) and not ast.get_docstring(node)
    ]
    assert not missing, "without a docstring:\n" + "\n".join(missing)
