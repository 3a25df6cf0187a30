"""What can go wrong on the command line, as one message with its remedy and without a traceback."""

from __future__ import annotations

import errno
import re
import sys
from collections.abc import Callable

from homeserver.config import ConfigError
from homeserver.storage.database import DatabaseError
from homeserver.tls import TLSError

EXIT_OK = 0
EXIT_FAILURE = 1
EXIT_INTERRUPTED = 130

# How asyncio and uvloop word a failed bind.
_BIND = re.compile(r"bind on address \('(?P<address>[^']*)', (?P<port>\d+)")


class CommandError(Exception):
    """A job of the command line could not be done; the text says why and what to do."""


def shown(job: Callable[[], int]) -> int:
    """Run the job. A failure that a person can mend is told on standard error; returns the exit code."""
    try:
        return job()
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except (CommandError, ConfigError, DatabaseError, TLSError) as error:
        message = str(error)
    except OSError as error:
        explained = explain(error)
        if explained is None:
            raise  # not one we know: the traceback is what a bug report needs
        message = explained
    sys.stdout.flush()
    print(f"homeserver: {message}", file=sys.stderr)
    return EXIT_FAILURE


def explain(error: OSError) -> str | None:
    """What the operating system refused, and the remedy; None when this error is not a known one."""
    if bind := _BIND.search(str(error)):
        return _explain_bind(error, bind["address"], bind["port"])
    if error.errno == errno.EADDRINUSE:
        return (
            "a port of the listeners is in use by another program, perhaps by this server started before. "
            "Stop that program (`ss -ltnp` names it), or change the port in listeners"
        )
    what = f"{error.filename}: " if error.filename else ""
    match error.errno:
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return (
                f"{what}{error.strerror}. The user that runs the server must be able to write there: change "
                "the owner (chown) or the path in homeserver.yaml"
            )
        case errno.ENOSPC | errno.EDQUOT:
            return f"{what}{error.strerror}. Make room on that disk, then start again"
        case errno.ENOENT | errno.ENOTDIR | errno.EISDIR if error.filename:
            return f"{what}{error.strerror}. Check the path in homeserver.yaml"
    return None


def _explain_bind(error: OSError, address: str, port: str) -> str:
    where = f"port {port} on {address}"
    if error.errno == errno.EADDRINUSE:
        return (
            f"{where} is in use by another program, perhaps by this server started before. Stop that program "
            f"(`ss -ltnp 'sport = :{port}'` names it), or change the port in listeners"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return (
            f"{where} needs more rights: ports below 1024 are for root. Use a port such as 8448 in listeners "
            "and a reverse proxy in front, or give the capability CAP_NET_BIND_SERVICE"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{where}: this machine does not have that address. Correct bind_addresses in listeners"
    return f"{where} cannot be opened ({error.strerror}). Correct port or bind_addresses in listeners"
