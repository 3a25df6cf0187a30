"""Imports point downward only, and core is pure."""

import ast
import sys

from .source import PACKAGE, Module, modules, place

API_MAY_IMPORT = frozenset({"services", "http", "config", "core"})
# What each layer may import besides itself. Layers that do not stand in each other's sets never meet.
LAYERS: dict[str, frozenset[str]] = {
    "core": frozenset(),
    "config": frozenset({"core"}),
    "certificate_names": frozenset(),
    "certificate_files": frozenset({"certificate_names"}),
    "client_hello": frozenset(),
    "tls": frozenset({"config", "core", "client_hello", "certificate_files", "certificate_names"}),
    "certificate_watch": frozenset({"tls"}),
    "acme": frozenset({"certificate_watch", "tls", "config"}),
    "log": frozenset({"config", "core"}),
    "storage": frozenset({"core"}),
    "federation": frozenset({"core"}),
    "doctor": frozenset({"federation", "core", "certificate_files", "certificate_names"}),
    "examining": frozenset({"doctor", "federation", "config", "core", "certificate_files"}),
    "http": frozenset({"core", "config"}),
    "services": frozenset({"storage", "federation", "config", "core"}),
    "client_api": API_MAY_IMPORT,
    "federation_api": API_MAY_IMPORT,
    "admin_api": API_MAY_IMPORT,
    "web": API_MAY_IMPORT | {"doctor"},
}
# The composition root and the command line see everything.
TOP = frozenset({"app", "cli", "__main__"})

CORE_LIBRARIES = frozenset({"canonicaljson", "signedjson", "unpaddedbase64", "nacl"})
# Clocks, randomness, input and output, and ways around this list.
# fmt: off
IMPURE = frozenset({
    "asyncio", "concurrent", "contextvars", "ctypes", "datetime", "email", "fcntl", "ftplib", "getpass",
    "glob", "http", "imaplib", "importlib", "io", "locale", "logging", "mmap", "multiprocessing", "os",
    "pathlib", "pickle", "platform", "poplib", "queue", "random", "resource", "sched", "secrets",
    "select", "selectors", "shelve", "shutil", "signal", "smtplib", "socket", "socketserver", "sqlite3",
    "ssl", "subprocess", "sys", "syslog", "tempfile", "threading", "time", "urllib", "uuid", "warnings",
    "webbrowser", "wsgiref", "xmlrpc", "zoneinfo",
})
# fmt: on
IMPURE_FUNCTIONS = frozenset({"open", "print", "input", "exec", "eval", "__import__", "breakpoint"})


def _own_layers_imported(module: Module) -> list[tuple[int, str]]:
    return [
        (line, [*name.split("."), ""][1])
        for line, name in module.imports()
        if name.split(".")[0] == PACKAGE and name != PACKAGE
    ]


def test_every_module_stands_in_a_layer() -> None:
    unknown = [m.name for m in modules() if m.layer and m.layer not in LAYERS.keys() | TOP]
    assert not unknown, f"Give these a layer in LAYERS: {unknown}"


def test_imports_point_downward_only() -> None:
    wrong = [
        f"{place(module, line)}: {module.layer} must not import {layer}"
        for module in modules()
        if module.layer in LAYERS
        for line, layer in _own_layers_imported(module)
        if layer != module.layer and layer in LAYERS.keys() | TOP and layer not in LAYERS[module.layer]
    ]
    assert not wrong, "\n".join(sorted(set(wrong)))


def test_core_imports_only_what_is_pure() -> None:
    allowed = (sys.stdlib_module_names - IMPURE) | CORE_LIBRARIES | {PACKAGE}
    wrong = [
        f"{place(module, line)}: core must not import {name}"
        for module in modules()
        if module.layer == "core"
        for line, name in module.imports()
        if name.split(".")[0] not in allowed
    ]
    assert not wrong, "\n".join(sorted(set(wrong)))


def test_core_neither_waits_nor_does_input_or_output() -> None:
    wrong = []
    for module in modules():
        if module.layer != "core":
            continue
        for node in ast.walk(module.tree):
            if isinstance(node, ast.AsyncFunctionDef | ast.AsyncFor | ast.AsyncWith | ast.Await):
                wrong.append(f"{place(module, node.lineno)}: core must not be asynchronous")
            if isinstance(node, ast.comprehension) and node.is_async:
                wrong.append(f"{place(module, node.target.lineno)}: core must not be asynchronous")
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in IMPURE_FUNCTIONS
            ):
                wrong.append(f"{place(module, node.lineno)}: core must not call {node.func.id}()")
    assert not wrong, "\n".join(wrong)


def test_the_pure_part_of_signing_libraries_only() -> None:
    """signedjson makes random keys and reads files; core gets its keys from the caller."""
    impure = {"signedjson.key.generate_signing_key", "nacl.utils.random", "nacl.signing.SigningKey.generate"}
    wrong = []
    for module in modules():
        if module.layer != "core":
            continue
        wrong += [f"{place(module, line)}: {name}" for line, name in module.imports() if name in impure]
        wrong += [
            f"{place(module, node.lineno)}: .{node.attr}"
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Attribute) and node.attr in {"generate_signing_key", "generate"}
        ]
    assert not wrong, "\n".join(wrong)
