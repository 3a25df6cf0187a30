"""The main job: start the server, say where it is, stop it when told."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import resource
import signal
import threading
from pathlib import Path
from typing import Protocol

import uvloop

from homeserver import log
from homeserver.cli import banner
from homeserver.cli.check_config import check_directories
from homeserver.cli.failures import EXIT_FAILURE, EXIT_OK, CommandError
from homeserver.config import Settings, load_settings, load_signing_keys
from homeserver.tls import TLSError

CLOSE_SECONDS = 1.5
"""How long open requests and queues have to end after SIGTERM."""
FORCED_EXIT_SECONDS = 1.9
"""When the process ends whatever still runs; everything that was answered is on disk by then."""

logger = logging.getLogger(__name__)


class Running(Protocol):
    """What `homeserver.app.serve` returns: the server, started."""

    async def close(self) -> None:
        """Stop listening, end what runs, close the database."""

    def reload(self) -> None:
        """Read the TLS certificate again. Raises TLSError and keeps the old one."""


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT. Raises what `failures.shown` tells."""
    loaded = load_settings(arguments.config)
    settings = loaded.settings
    note = log.configure(settings.logging)
    for warning in loaded.warnings:
        logger.warning("%s: %s", arguments.config, warning)
    for each in [*loaded.notes, *([note] if note else [])]:
        logger.info("%s: %s", arguments.config, each)
    load_signing_keys(settings.keys.signing_key_path)
    check_directories(settings)
    _raise_open_files()
    pid_file = settings.server.pid_file
    if pid_file is not None:
        _write_pid(pid_file)
    try:
        return uvloop.run(_serve(settings))
    finally:
        if pid_file is not None:
            pid_file.unlink(missing_ok=True)


def _raise_open_files() -> None:
    """Allow as many open files as the system lets us: each connection of a client or to a server is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _write_pid(path: Path) -> None:
    try:
        path.write_text(f"{os.getpid()}\n", encoding="ascii")
    except OSError as error:
        raise CommandError(
            f"pid_file: {path} cannot be written ({error.strerror}); correct or remove pid_file"
        ) from None


async def _serve(settings: Settings) -> int:
    # Imported here: a wrong setting is told at once, before everything that the server needs is loaded.
    from homeserver.app import serve

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop, stop, signal.Signals(number).name)
    # Until there is something to reload, SIGHUP must not end the process.
    loop.add_signal_handler(signal.SIGHUP, logger.info, "SIGHUP: still starting, nothing to read again yet")

    stopping = asyncio.create_task(stop.wait())
    starting = asyncio.create_task(serve(settings))
    try:
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            await asyncio.wait({starting}, timeout=CLOSE_SECONDS)
            return EXIT_OK
        server: Running = await starting
        loop.add_signal_handler(signal.SIGHUP, _reload, server)
        for line in banner.lines(settings):
            logger.info("%s", line)
        await stopping
        return await _close(server)
    finally:
        stopping.cancel()


def _stop(stop: asyncio.Event, name: str) -> None:
    if not stop.is_set():
        logger.info("%s: stopping", name)
        forced = threading.Timer(FORCED_EXIT_SECONDS, _force)
        forced.daemon = True
        forced.start()
    stop.set()


def _force() -> None:
    logger.warning("Not everything ended in time, so the process ends now. What was answered is on disk.")
    logging.shutdown()
    os._exit(EXIT_FAILURE)


async def _close(server: Running) -> int:
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await server.close()
    except TimeoutError:
        logger.warning("Stopped, though something did not end within %s s", CLOSE_SECONDS)
        return EXIT_FAILURE
    logger.info("Stopped")
    return EXIT_OK


def _reload(server: Running) -> None:
    try:
        server.reload()
    except TLSError as error:
        logger.error("SIGHUP: the certificate of before stays in use: %s", error)
    else:
        logger.info("SIGHUP: the TLS certificate was read again")
