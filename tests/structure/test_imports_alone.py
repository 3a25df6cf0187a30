"""Every module can be the first one that is imported: no import cycles that only hold in a lucky order."""

import subprocess
import sys

from .source import REPOSITORY, modules

# The libraries are loaded once in the parent; each module of ours is then imported in a fork of its own.
PROGRAM = """
import importlib, os, sys, traceback
for name in sys.argv[1].split(","):
    try:
        importlib.import_module(name)
    except ImportError:
        pass  # a library that is missing shows in the module that needs it
failed = 0
for name in sys.argv[2].split(","):
    child = os.fork()
    if child == 0:
        try:
            importlib.import_module(name)
        except BaseException:
            print(f"--- {name}", file=sys.stderr)
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    failed += os.waitpid(child, 0)[1] != 0
sys.exit(failed > 0)
"""


def test_every_module_imports_alone() -> None:
    names = [module.name for module in modules() if not module.name.endswith("__main__")]
    libraries = {
        name
        for module in modules()
        for _, name in module.imports()
        if name.split(".")[0]
        in {"aiohttp", "msgspec", "signedjson", "nacl", "cryptography", "asyncpg", "asyncio"}
    }
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, ",".join(sorted(libraries)), ",".join(names)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
