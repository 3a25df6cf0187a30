"""Certificates obtained and renewed by the server itself, with ACME (RFC 8555).

`renewal` decides when, keeps the account and the outcome on disk, and puts a new certificate in the place of the old one;
`orders` is one order from beginning to end; `authority` are the requests to the ACME server, which the library makes in threads;
`responders` prove that the names are ours; `schedule` and `explain` are pure.
"""

from .renewal import CertificateRenewal

__all__ = ["CertificateRenewal"]
