"""Files and functions stay short enough to be read; what is longer is listed with its reason."""

import ast

from .source import REPOSITORY, modules

MOST_LINES_OF_A_FILE = 500
MOST_LINES_OF_A_FUNCTION = 60

# path -> why it is longer
LONG_FILES: dict[str, str] = {}
# module:function -> why it is longer
LONG_FUNCTIONS: dict[str, str] = {}


def test_files_are_short() -> None:
    long = {
        str(module.path.relative_to(REPOSITORY)): lines
        for module in modules()
        if (lines := module.text.count("\n")) > MOST_LINES_OF_A_FILE
    }
    assert not long.keys() - LONG_FILES.keys(), f"over {MOST_LINES_OF_A_FILE} lines: {long}"
    assert not LONG_FILES.keys() - long.keys(), "no longer long: take them off LONG_FILES"


def test_functions_are_short() -> None:
    long = {
        f"{module.name}:{node.name}": lines
        for module in modules()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > MOST_LINES_OF_A_FUNCTION
    }
    assert not long.keys() - LONG_FUNCTIONS.keys(), f"over {MOST_LINES_OF_A_FUNCTION} lines: {long}"
    assert not LONG_FUNCTIONS.keys() - long.keys(), "no longer long: take them off LONG_FUNCTIONS"
