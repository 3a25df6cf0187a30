"""A handshake with ourselves in memory: what files of a certificate would look like to others, before anything is served."""

from __future__ import annotations

import ssl

# Client hello, the server's flight, the client's, the server's last (TLS 1.2): two are enough, more is no handshake.
_ROUNDS = 6


def rehearse(server: ssl.SSLContext, client: ssl.SSLContext) -> ssl.SSLObject:
    """The client's end of a handshake of these two. `client` checks no host name.

    Raises ssl.SSLError (SSLCertVerificationError when the client does not trust the certificate).
    """
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(to_client, to_server)
    ends = (asking, server.wrap_bio(to_server, to_client, server_side=True))
    for _ in range(_ROUNDS):
        finished = [_has_finished(end) for end in ends]
        if all(finished):
            return asking
    raise ssl.SSLError("no handshake came about")


def _has_finished(end: ssl.SSLObject) -> bool:
    try:
        end.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True
