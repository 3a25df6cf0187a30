"""How tokens are stored: a random token needs no slow hash."""

import hashlib


def token_hash(token: str) -> bytes:
    """What is stored of a token. Lone surrogates, which a query may hold, hash like anything else."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
