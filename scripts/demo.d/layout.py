"""What the demo consists of, and its file demo.json."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

# Each server with the person who lives there. The room is alice's.
SERVERS = {"alpha": "alice", "beta": "bob", "gamma": "carol"}
ALIAS_LOCALPART = "lobby"

# Ports below those that systems give to outgoing connections (32768 and up).
FIRST_PORT = 18448
PORTS = 2 * len(SERVERS)


class DemoError(Exception):
    """Something that a person can mend; the message says what and how."""


@dataclass
class Person:
    """A user of the demo. `token` is an access token, None until there is one."""

    name: str
    password: str
    token: str | None = None


@dataclass(frozen=True)
class Server:
    """One of the servers: its names, its ports, its directory."""

    name: str
    federation_port: int
    client_port: int
    directory: Path

    @property
    def server_name(self) -> str:
        """A name under .localhost is this machine everywhere (RFC 6761), and needs no /etc/hosts."""
        return f"{self.name}.localhost:{self.federation_port}"

    @property
    def client_url(self) -> str:
        """Where clients of this machine reach it."""
        return f"http://127.0.0.1:{self.client_port}"

    @property
    def config_path(self) -> Path:
        return self.directory / "homeserver.yaml"

    @property
    def log_path(self) -> Path:
        return self.directory / "log"

    @property
    def pid_path(self) -> Path:
        return self.directory / "pid"

    @property
    def database_path(self) -> Path:
        return self.directory / "homeserver.db"


@dataclass
class Demo:
    """The demo in `directory`: three servers from `first_port` on, their people, and the room."""

    directory: Path
    first_port: int
    shared_secret: str
    people: dict[str, Person]
    room_id: str | None = None
    chats: int = 0
    servers: dict[str, Server] = field(init=False)

    def __post_init__(self) -> None:
        count = len(SERVERS)
        self.servers = {
            name: Server(name, self.first_port + i, self.first_port + count + i, self.directory / name)
            for i, name in enumerate(SERVERS)
        }

    @property
    def alias(self) -> str:
        """The room's alias, of the first server."""
        return f"#{ALIAS_LOCALPART}:{next(iter(self.servers.values())).server_name}"

    def person(self, server: Server) -> Person:
        """Who lives on a server."""
        return self.people[SERVERS[server.name]]

    def user_id(self, server: Server) -> str:
        """Who lives on a server, as Matrix names them."""
        return f"@{SERVERS[server.name]}:{server.server_name}"

    def save(self) -> None:
        """Write demo.json, which has the passwords in it, for its owner only."""
        content = {
            "first_port": self.first_port,
            "shared_secret": self.shared_secret,
            "people": {name: asdict(person) for name, person in self.people.items()},
            "room_id": self.room_id,
            "chats": self.chats,
        }
        temporary = _file(self.directory).with_suffix(".new")
        temporary.touch(mode=0o600)
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        temporary.replace(_file(self.directory))


def _file(directory: Path) -> Path:
    return directory / "demo.json"


def new_demo(directory: Path, first_port: int) -> Demo:
    """A demo that has nothing yet but names, passwords and its directory. Raises DemoError if that is another's."""
    if not 1024 <= first_port <= 65535 - PORTS:
        raise DemoError(
            f"--first-port: found {first_port}, but allowed is a number from 1024 to {65535 - PORTS}"
        )
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise DemoError(f"{directory} is not empty, and no demo is in it. Give another --directory")
    except OSError as error:
        raise DemoError(f"{directory} cannot be used: {error.strerror}") from error
    people = {name: Person(name, secrets.token_urlsafe(9)) for name in SERVERS.values()}
    return Demo(directory, first_port, secrets.token_urlsafe(32), people)


def load_demo(directory: Path) -> Demo | None:
    """The demo in a directory, None if there is none. Raises DemoError if demo.json cannot be read."""
    path = _file(directory)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        people = {name: Person(**person) for name, person in content.pop("people").items()}
        if people.keys() != set(SERVERS.values()):
            raise ValueError("other people are in it")
        return Demo(directory, people=people, **content)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DemoError(
            f"{path} cannot be used ({error}). Stop the processes of {directory}/*/pid, if they still run, "
            f"and remove {directory}"
        ) from error


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Only one command at a time changes the demo in a directory. Raises DemoError if another one does."""
    try:
        handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise DemoError(f"{directory} cannot be used: {error.strerror}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise DemoError(f"another scripts/demo is just starting or stopping {directory}; try again") from None
    else:
        yield
    finally:
        os.close(handle)
