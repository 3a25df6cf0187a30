"""Who we are to other servers."""

from dataclasses import dataclass

from signedjson.types import SigningKey


@dataclass(frozen=True, slots=True)
class Identity:
    """Our server name and the key that we sign with (signedjson's: it has `alg` and `version`)."""

    server_name: str
    signing_key: SigningKey

    def is_ours(self, identifier: str) -> bool:
        """Whether a user ID, alias or other identifier with a domain belongs to this server."""
        return identifier.partition(":")[2] == self.server_name
