"""Everything public says what it is."""

import ast
from collections.abc import Iterator

from .source import modules, place

Documented = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def _public(body: list[ast.stmt]) -> Iterator[Documented]:
    """The public functions, classes and methods of a module or class body; not what is inside functions."""
    for node in body:
        if isinstance(node, ast.If | ast.Try):
            yield from _public(node.body)
        elif isinstance(node, Documented) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from _public(node.body)


def _is_overload(node: Documented) -> bool:
    return any(isinstance(d, ast.Name) and d.id == "overload" for d in node.decorator_list)


def test_everything_public_has_a_docstring() -> None:
    missing = [place(module, 1) for module in modules() if not ast.get_docstring(module.tree)]
    missing += [
        f"{place(module, node.lineno)} {node.name}"
        for module in modules()
        for node in _public(module.tree.body)
        if not _is_overload(node) and not ast.get_docstring(node)
    ]
    assert not missing, "without a docstring:\n" + "\n".join(missing)
