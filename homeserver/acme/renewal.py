"""Sees to it that there is a certificate: obtains and renews it, and leaves one that works alone until there is a better one."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from josepy.jwk import JWK

from homeserver.certificate_watch import CertificateWatch
from homeserver.config import ACMESettings
from homeserver.tls import ACME_CERTIFICATE, CertificateStore, TLSError, write_whole

from .authority import Authority
from .errors import ACMEError, ChallengeFailed
from .keys import account_key
from .orders import obtain
from .responders import Responder
from .schedule import order_of_challenges, renewal_time, wait_after
from .state import State, read_state, write_state

log = logging.getLogger(__name__)

LOOK_AT_THE_CLOCK_EVERY_S = 3600.0
"""A machine may sleep, and its clock be set."""
BETWEEN_CERTIFICATES = datetime.timedelta(hours=1)
"""Whatever happens, not more than one certificate in this time."""
BETWEEN_TRIES_BY_HAND = datetime.timedelta(minutes=1)

Time = datetime.datetime


class CertificateRenewal:
    """Runs in the background until it is stopped; one order at a time."""

    def __init__(
        self,
        settings: ACMESettings,
        directory: Path,
        watch: CertificateWatch,
        responders: Sequence[Responder],
        tls_ports: Sequence[int],
        clock: Callable[[], Time],
    ) -> None:
        """`directory`: of the certificate and the state; `watch` serves what is obtained; `tls_ports`: of the listeners."""
        self._settings = settings
        self._path = directory / ACME_CERTIFICATE
        self._state_path = directory / "state.json"
        self._watch = watch
        self._responders = {each.kind: each for each in responders}
        self._tls_ports = tls_ports
        self._clock = clock
        self._state = State()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Go on where it stopped, from now on."""
        self._state = await asyncio.to_thread(read_state, self._state_path)
        asked_for = repr((self._settings, sorted(self._tls_ports)))
        if self._state.asked_for != asked_for:
            self._state.asked_for = asked_for
            self._state.failures = self._state.next_attempt_ts = 0
        due = self.due()
        if self._state.failures and due > self._clock():
            log.warning(
                "There is no new certificate from %s: %s. The next try is at %s; SIGHUP makes it now",
                self._settings.directory_url,
                self._state.last_failure,
                _shown(due),
            )
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End an order that is on its way, and what runs."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def try_now(self) -> None:
        """Wait no longer after a failure; not more than once a minute."""
        if (
            self._state.failures
            and self._clock() >= _time(self._state.last_attempt_ts) + BETWEEN_TRIES_BY_HAND
        ):
            self._state.next_attempt_ts = 0
        self._wake.set()

    def due(self) -> Time:
        """When to obtain the next certificate; in the past if it is time."""
        if _time(self._state.last_attempt_ts) > self._clock():
            # The clock was wrong then, and so is the time of the next try, perhaps by years.
            return self._wanted_at()
        return max(self._wanted_at(), _time(self._state.next_attempt_ts))

    def _wanted_at(self) -> Time:
        certificate = self._watch.certificate
        if (
            certificate.path != self._path
            or self._state.issued_by != self._settings.directory_url
            or not all(certificate.covers(name) for name in self._settings.domains)
        ):
            return _time(0)
        threshold = self._settings.reprovision_threshold
        return renewal_time(certificate.not_before, certificate.not_after, threshold)

    async def _run(self) -> None:
        while True:
            left = (self.due() - self._clock()).total_seconds()
            if left <= 0:
                await self.renew()
                continue
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left, LOOK_AT_THE_CLOCK_EVERY_S)):
                    await self._wake.wait()

    async def renew(self) -> None:
        """Try once to obtain a certificate, and keep how it went; nothing is raised, and what failed is logged."""
        state = self._state
        now = self._clock()
        state.failures += 1
        state.last_attempt_ts = _ms(now)
        state.next_attempt_ts = _ms(now + wait_after(state.failures))
        state.last_failure = "the server stopped during the last try"
        try:
            await self._keep_state()
            state.challenge = await self._obtain()
        except asyncio.CancelledError:
            # The operator stops the server, and may start it again soon; a crash gets no further than what was kept above.
            state.failures -= 1
            state.next_attempt_ts = _ms(now + BETWEEN_TRIES_BY_HAND)
            await self._keep_state()
            raise
        except ACMEError as error:
            state.last_failure = str(error)
            if error.wait is not None:
                state.next_attempt_ts = max(state.next_attempt_ts, _ms(now + error.wait))
        except OSError as error:
            state.last_failure = (
                f"{self._path.parent} cannot be written ({error}); give it to the user that runs the server"
            )
        except Exception as error:
            log.exception("Obtaining a certificate has failed")
            state.last_failure = f"an error of this server, which its log has ({type(error).__name__})"
        else:
            state.failures, state.last_failure = 0, ""
            state.issued_by = str(self._settings.directory_url)
            state.next_attempt_ts = _ms(now + BETWEEN_CERTIFICATES)
        if state.failures:
            self._complain()
        try:
            await self._keep_state()
        except OSError as error:
            log.error(
                "%s cannot be written (%s); give it to the user that runs the server", self._state_path, error
            )

    def _complain(self) -> None:
        certificate = self._watch.certificate
        log.error(
            "No certificate for %s: %s. Until then %s. The next try is at %s, or at SIGHUP",
            ", ".join(self._settings.domains),
            self._state.last_failure.rstrip("."),
            "the self-signed one stays in use, which other servers refuse"
            if certificate.self_signed
            else f"the one of before stays in use, which ends on {_shown(certificate.not_after)}",
            _shown(_time(self._state.next_attempt_ts)),
        )

    async def _obtain(self) -> str:
        """Obtain a certificate and serve it; returns the challenge that did it. Raises ACMEError, OSError."""
        settings = self._settings
        assert settings.account_key_file is not None
        key = await asyncio.to_thread(account_key, settings.account_key_file)
        failed: list[str] = []
        for kind in order_of_challenges(settings.challenges, self._tls_ports, self._state.challenge):
            log.info("Obtaining a certificate for %s from %s by %s", *self._what(), kind)
            try:
                await self._install(await self._order(key, self._responders[kind]))
            except ChallengeFailed as error:
                log.info("The certificate was not obtained by %s: %s", kind, error)
                failed.append(f"by {kind}: {error}")
                continue
            log.info("A certificate for %s from %s was obtained by %s", *self._what(), kind)
            return kind
        raise ACMEError("; ".join(failed))

    def _what(self) -> tuple[str, str]:
        return ", ".join(self._settings.domains), self._settings.directory_url

    async def _order(self, key: JWK, responder: Responder) -> bytes:
        settings = self._settings
        authority = Authority(settings.directory_url, key, settings.directory_ca_file, settings.domains)
        await authority.connect(settings.email)
        self._state.account_url = authority.account_url
        return await obtain(authority, settings.domains, responder)

    async def _install(self, content: bytes) -> None:
        """Put a new certificate in the place of the old one, if it is any good. Raises ACMEError, OSError."""
        staged = self._path.with_name(f"new-{ACME_CERTIFICATE}")
        await asyncio.to_thread(write_whole, staged, content, 0o600)
        try:
            certificate = (await asyncio.to_thread(CertificateStore, staged, staged)).certificate
        except TLSError as error:
            raise ACMEError(
                f"{self._settings.directory_url} has sent what is no certificate: {error}"
            ) from None
        missing = [name for name in self._settings.domains if not certificate.covers(name)]
        if missing or certificate.not_after <= self._clock():
            what = f"is not for {', '.join(missing)}" if missing else "has ended already"
            raise ACMEError(
                f"the certificate that {self._settings.directory_url} has sent {what}; it is in {staged}"
            )
        staged.replace(self._path)
        try:
            await self._watch.replace(self._path, self._path)
        except TLSError as error:
            raise ACMEError(f"the new certificate cannot be read again: {error}") from None

    async def _keep_state(self) -> None:
        """Keep it to the end, also when this is cancelled: two threads must not write the same file. Raises OSError."""
        writing = asyncio.create_task(asyncio.to_thread(write_state, self._state_path, self._state))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            await asyncio.wait({writing})
            raise


def _time(milliseconds: int) -> Time:
    return datetime.datetime.fromtimestamp(milliseconds / 1000, datetime.UTC)


def _ms(time: Time) -> int:
    return int(time.timestamp() * 1000)


def _shown(time: Time) -> str:
    return f"{time:%Y-%m-%d %H:%M} UTC"
