"""Real reverse proxies with exactly the blocks of docs/reverse-proxy.md, and with the classic mistakes.

Each runs in a network namespace of its own with our server, a peer and the doctor (`inside.py`); all at the same time, because
each waits for a long poll of 30 seconds.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from .mistakes import MISTAKES
from .programs import PROGRAMS, homeserver_yaml

SECONDS = 240
REPOSITORY = Path(__file__).resolve().parents[2]
# Names in the namespace; and a DNS that answers nothing at once, because nobody listens.
HOSTS = "127.0.0.1 localhost example.org peer.test\n"
IN_NAMESPACE = (
    "ip link set lo up && mount --bind hosts /etc/hosts && mount --bind resolv.conf /etc/resolv.conf && "
    'cd "$1" && shift && exec "$@"'
)


def why_not() -> str | None:
    """Why this cannot be tested here."""
    if os.geteuid() != 0:
        return "network namespaces take root"
    missing = [
        each
        for each in ("unshare", "ip", *(program.executable for program in PROGRAMS.values()))
        if not shutil.which(each)
    ]
    return f"not installed: {', '.join(missing)}" if missing else None


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What was seen with each proxy."""
    if reason := why_not():
        pytest.skip(reason)
    directory = tmp_path_factory.mktemp("proxies")
    directory.chmod(0o755)

    async def every() -> list[Any]:
        return await asyncio.gather(
            *(run(name, directory / name) for name in PROGRAMS), return_exceptions=True
        )

    ended = dict(zip(PROGRAMS, asyncio.run(every()), strict=True))
    failed = [str(each) for each in ended.values() if isinstance(each, BaseException)]
    assert not failed, "\n".join(failed)
    return ended


async def run(name: str, directory: Path) -> Any:
    """The JSON that `inside.py` prints."""
    await asyncio.to_thread(prepare, directory)
    inside = [sys.executable, "-m", "tests.proxies.inside", name, str(directory)]
    process = await asyncio.create_subprocess_exec(
        *("unshare", "--net", "--mount", "sh", "-c", IN_NAMESPACE, "sh", str(REPOSITORY), *inside),
        cwd=directory,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={
            **os.environ,
            "HOME": str(directory),
            "XDG_DATA_HOME": str(directory),
            "XDG_CONFIG_HOME": str(directory),
        },
    )
    try:
        async with asyncio.timeout(SECONDS):
            output, errors = await process.communicate()
    except TimeoutError:
        process.kill()
        output, errors = await process.communicate()
    assert process.returncode == 0, f"{name}: {errors.decode(errors='replace')[-4000:]}"
    return json.loads(output.splitlines()[-1])


def prepare(directory: Path) -> None:
    directory.mkdir(mode=0o755)
    (directory / "hosts").write_text(HOSTS)
    (directory / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_block_of_the_page_is_right(seen: dict[str, Any], name: str) -> None:
    assert seen[name]["good"] == []


@pytest.mark.parametrize("name", PROGRAMS)
def test_servers_join_each_other_through_it(seen: dict[str, Any], name: str) -> None:
    assert len(seen[name]["heard"]) == 4
    # The addresses of clients are known; else all would be the proxy's.
    assert "127.0.0.9" in seen[name]["addresses"]


@pytest.mark.parametrize(
    ("name", "mistake", "code"),
    [
        pytest.param(name, mistake.name, mistake.code, id=f"{name}: {mistake.name}")
        for name, mistakes in MISTAKES.items()
        for mistake in mistakes
    ],
)
def test_the_doctor_names_the_mistake(seen: dict[str, Any], name: str, mistake: str, code: str) -> None:
    findings = seen[name]["mistakes"][mistake]
    assert [each[0] for each in findings] == [code], findings
    assert findings[0][2]


def test_there_are_six_mistakes_for_each() -> None:
    assert MISTAKES.keys() == PROGRAMS.keys()
    assert all(len(mistakes) >= 6 for mistakes in MISTAKES.values())


def test_the_configuration_of_the_page_is_one() -> None:
    assert homeserver_yaml()["server_name"] == "example.org"
