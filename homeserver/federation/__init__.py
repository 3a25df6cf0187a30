"""Outbound federation: finding other servers, asking them, and checking what they sign.

From the bottom up:

- `addresses` which IP addresses may be connected to; `names` the DNS; `connector` joins the two
- `discovery` (pure) and `locator` (its IO and caches): server name to host, port, Host header and certificate
name
- `authentication` (pure): the `X-Matrix` header, both ways
- `transport`: `FederationClient`, one signed request with every limit
- `own_keys`, `key_responses` (pure) and `key_ring`: our keys, and everybody else's
- `inbound`: who sent this request
- `remote`: one function a remote endpoint, with validated results

The layer imports `core` alone. Settings are explicit constructor arguments (`settings.OutboundSettings`).
"""
