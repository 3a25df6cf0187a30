"""Watches the certificate that is served: reads its files again when they change, and warns before it ends.

Polling is enough: a certificate changes every few weeks, and what replaces it may be a link, a rename or a mount, which the
systems' own notices each tell in another way.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
from collections.abc import Callable
from pathlib import Path

from homeserver.tls import Certificate, CertificateStore, TLSError

log = logging.getLogger(__name__)

LOOK_EVERY_S = 30.0
WARN_DAYS = (14, 7, 3, 1)

Fingerprint = tuple[tuple[int, int, int] | None, ...]


class CertificateWatch:
    """Runs in the background until it is stopped."""

    def __init__(
        self,
        store: CertificateStore,
        clock: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
        *,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        """`store` has the certificate; `look_every_s`: how long a change may go unnoticed, in seconds."""
        self._store = store
        self._clock = clock
        self._look_every_s = look_every_s
        self._seen = self._fingerprint()
        self._warned_at: int | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def certificate(self) -> Certificate:
        """The one that is served."""
        return self._store.certificate

    def start(self) -> None:
        """Warn if it is time, and watch from now on."""
        self.warn()
        self._task = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Watch no more."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._look_every_s)
            try:
                await self.look()
            except Exception:
                log.exception("looking at the TLS certificate failed; it is looked at again")

    async def look(self) -> None:
        """Read the files again if they have changed, and warn if it is time.

        Files that do not fit each other are in the middle of a renewal, or wrong: the certificate of before stays in use, and they
        are tried again when they change, or at the next look.
        """
        now = await asyncio.to_thread(self._fingerprint)
        if now != self._seen:
            try:
                certificate = await asyncio.to_thread(self._store.reload)
            except TLSError as error:
                log.warning(
                    "The TLS certificate has changed and cannot be used; the one of before stays in use: %s",
                    error,
                )
            else:
                self._is_in_use(certificate, now)
        self.warn()

    async def replace(self, certificate_path: Path, private_key_path: Path) -> None:
        """Serve these files from now on, and watch them. Raises TLSError, and then the certificate of before stays in use."""
        certificate = await asyncio.to_thread(self._store.use, certificate_path, private_key_path)
        self._is_in_use(certificate, await asyncio.to_thread(self._fingerprint))

    def _is_in_use(self, certificate: Certificate, seen: Fingerprint) -> None:
        self._seen = seen
        self._warned_at = None
        log.info(
            "The TLS certificate has changed and is in use: it ends on %s",
            f"{certificate.not_after:%Y-%m-%d}",
        )

    def warn(self) -> None:
        """Log a warning 14, 7, 3 and 1 days before the certificate ends, and when it has ended; each once."""
        step = warning_step(self._store.certificate, self._clock())
        if step is None or step == self._warned_at:
            return
        self._warned_at = step
        certificate = self._store.certificate
        if step == 0:
            log.error(
                "The TLS certificate %s ended on %s: clients and other servers refuse to connect. Renew it; it is read again "
                "by itself",
                certificate.path,
                f"{certificate.not_after:%Y-%m-%d}",
            )
        else:
            log.warning(
                "The TLS certificate %s ends on %s, in %s or less. Renew it, and see why that did not happen by itself",
                certificate.path,
                f"{certificate.not_after:%Y-%m-%d}",
                "1 day" if step == 1 else f"{step} days",
            )

    def _fingerprint(self) -> Fingerprint:
        return tuple(_stamp(path) for path in (self._store.certificate_path, self._store.private_key_path))


def warning_step(certificate: Certificate, now: datetime.datetime) -> int | None:
    """The number of days in WARN_DAYS of which it is time to warn; 0 when the certificate has ended, None when it is early."""
    left = certificate.not_after - now
    if left <= datetime.timedelta():
        return 0
    reached = [days for days in WARN_DAYS if left <= datetime.timedelta(days=days)]
    return min(reached, default=None)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """What changes when the file does; links are followed, as certbot's are replaced."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_ino, status.st_mtime_ns, status.st_size)
