"""Password hashes, made and checked off the event loop."""

from __future__ import annotations

import asyncio

import argon2
from argon2.exceptions import InvalidHashError, VerificationError

# argon2id, with 19 MiB, two passes and one lane: some 25 ms on one core. A stronger hash would let a few
# logins at once take a small machine's memory.
DEFAULT_HASHER = argon2.PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
# Hashes computed at once; others wait.
CONCURRENCY = 2


class Passwords:
    """Hashes passwords with argon2id."""

    def __init__(self, hasher: argon2.PasswordHasher = DEFAULT_HASHER) -> None:
        self._hasher = hasher
        self._slots = asyncio.Semaphore(CONCURRENCY)
        # What a password is compared with where there is none, so that the time taken does not tell.
        self._nobodys_hash: str | None = None

    async def hash(self, password: str) -> str:
        """The hash to store: it says its own parameters and salt."""
        async with self._slots:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Whether the password is the one of the hash. With None, takes as long and answers False."""
        if password_hash is None:
            if self._nobodys_hash is None:
                self._nobodys_hash = await self.hash("")
            await self._matches(self._nobodys_hash, password)
            return False
        return await self._matches(password_hash, password)

    def needs_rehash(self, password_hash: str) -> bool:
        """Whether the hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(password_hash)

    async def _matches(self, password_hash: str, password: str) -> bool:
        async with self._slots:
            try:
                return await asyncio.to_thread(self._hasher.verify, password_hash, password)
            except (VerificationError, InvalidHashError):
                return False
