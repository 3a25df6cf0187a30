"""What an ACME server's problem documents mean, and what to do about them. Pure."""

from __future__ import annotations

from acme import messages

LONGEST = 600
"""As much of another server's text is shown, in characters."""

CONNECTION = {
    "http-01": "port 80 of {name} must reach this server from everywhere: see the name's A and AAAA records, the firewall, the "
    "router's forwarding. If something else has that port, have it forward /.well-known/acme-challenge/ to acme.port",
    "tls-alpn-01": "port 443 of {name} must reach a listener with tls: true of this server from everywhere: see the name's A and "
    "AAAA records, the firewall, the router's forwarding. If something else ends TLS on that port, such as a proxy, it needs the "
    "certificate, or use http-01",
}
"""What a challenge needs, whatever went wrong."""
OF_THE_CONNECTION = frozenset(
    {"connection", "unknownHost", "unauthorized", "incorrectResponse", "tls", "malformed"}
)
"""The problems of a challenge that come from what answers it, or from that nothing does."""

REMEDIES = {
    "dns": "give {name} an A or AAAA record with the address of this machine, and see that its name servers answer",
    "dnssec": "the DNSSEC signatures of {name} do not verify; ask whoever runs its name servers",
    "caa": "the CAA record of {name} permits other authorities only; add this one to it, or choose one of those with "
    "acme.directory_url",
    "rateLimited": "wait; nothing else helps. To try things out, use the authority's staging directory (acme.directory_url)",
    "rejectedIdentifier": "this authority gives no certificate for {name}; see acme.domains",
    "unsupportedIdentifier": "this authority gives no certificate for {name}; see acme.domains",
    "externalAccountRequired": "this authority wants accounts that were made elsewhere, which is not supported; choose another one "
    "with acme.directory_url",
    "userActionRequired": "the authority has new terms: read what it says",
    "invalidContact": "correct acme.email",
    "unsupportedContact": "correct acme.email",
    "invalidEmail": "correct acme.email",
    "unauthorized": "the authority refuses the account; see acme.account_key_file",
    "serverInternal": "the authority has a failure of its own; it is asked again later",
}


def code_of(problem: messages.Error) -> str:
    """The last part of the problem's type: `rateLimited`."""
    return printable(str(problem.typ)).rsplit(":", 1)[-1]


def explain(problem: messages.Error, name: str, challenge: str | None = None) -> str:
    """A problem document in words, with what to do. `challenge`: that the problem is about, if it is about one."""
    said: list[str] = []
    remedies: list[str] = []
    for each in (problem, *(problem.subproblems or ())[:5]):
        code = code_of(each)
        text = printable(each.detail or each.title or each.description or "no reason is given").rstrip(".")
        said.append(f"{text} ({code})")
        about = each.identifier.value if each.identifier else name
        remedies.append(remedy_for(code, challenge).format(name=printable(about)))
    what_to_do = [f"What to do: {each}" for each in dict.fromkeys(remedies) if each]
    return ". ".join([*dict.fromkeys(said), *what_to_do])


def remedy_for(code: str, challenge: str | None) -> str:
    """What helps against the problem, with `{name}` in it; empty when nothing is known."""
    if challenge is not None and code in OF_THE_CONNECTION:
        return CONNECTION[challenge]
    return REMEDIES.get(code, "")


def printable(text: str) -> str:
    """Another server's text as it may stand in a log: in one line, without control characters, not without end."""
    line = "".join(each if each.isprintable() else " " for each in text[: LONGEST + 1])
    return line if len(line) <= LONGEST else line[:LONGEST] + "..."
