"""Findings on the certificate files of our own server: before it starts, and when it serves another certificate. Pure.

What other servers are shown is judged with the connection that showed it (`judge_connections`), so here is only what those
findings do not say yet.
"""

from __future__ import annotations

import datetime
from collections.abc import Collection, Iterator
from dataclasses import replace

from cryptography import x509

from homeserver.doctor.certificates import judge_chain
from homeserver.doctor.facts import Chain, Facts, FilesFacts
from homeserver.doctor.findings import Finding, Level, note, ok, problem, skipped, warning


def judge_certificate_files(
    files: FilesFacts, facts: Facts, tls_ports: Collection[int], told: Collection[str]
) -> Iterator[Finding]:
    """Findings on the files. tls_ports: where our listeners speak TLS; told: the codes of what was found by connecting."""
    where = f"{files.path} (tls_certificate_path)"
    serving = [each for each in facts.listeners if each.certificates]
    if files.unusable is not None:
        remedy = files.unusable.remedy
        if serving:
            remedy += (
                "; until then the server serves the certificate of before, and it cannot be started again"
            )
        level = warning if serving else problem
        yield level(files.unusable.code, "the certificate that is to be served", files.unusable.found, remedy)
        return
    if files.chain is None:
        return
    ours = files.chain.certificates
    outdated = [each for each in serving if each.certificates != ours]
    for each in outdated:
        yield _not_loaded(each.url, each.certificates[0], ours[0], where)
    shown = {chain.certificates[0] for chain in _chains_shown(facts)}
    if shown and not shown & {ours[0], *(each.certificates[0] for each in serving)}:
        yield note(
            "certificate-of-a-proxy",
            f"the certificate of {where}",
            "others are shown another one, by what stands in front of this server: this one is for the way between those two alone",
        )
    elif ours[0] in shown and not outdated:
        yield ok(
            "certificate-file", f"the certificate of {where}", "the one that others are shown, see below"
        )
    elif shown or (facts.asked is not None and facts.asked.ports & set(tls_ports)):
        yield from _as_shown(files, files.chain, facts, where, told, is_outdated=bool(outdated))
    else:
        yield skipped("certificate-file", f"the certificate of {where}", _why_not(facts))


def _as_shown(
    files: FilesFacts, chain: Chain, facts: Facts, where: str, told: Collection[str], *, is_outdated: bool
) -> Iterator[Finding]:
    """What others will be shown, judged as if they were. While another certificate is served, problems are yet to come."""
    if facts.asked is None:
        return
    now = datetime.datetime.fromtimestamp(files.seen_at_ms / 1000, datetime.UTC)
    for finding in judge_chain(chain, facts.asked.tls_name, now, where):
        if finding.code in told:
            continue
        is_yet_to_come = is_outdated and finding.level is Level.PROBLEM
        yield replace(finding, level=Level.WARNING) if is_yet_to_come else finding


def _chains_shown(facts: Facts) -> Iterator[Chain]:
    for each in (*facts.connections, *facts.delegating):
        if each.tls is not None and each.tls.chain is not None:
            yield each.tls.chain


def _not_loaded(url: str, served: x509.Certificate, ours: x509.Certificate, where: str) -> Finding:
    if served == ours:
        found = "the same certificate, with others beside it than the file has"
    else:
        until = f"{served.not_valid_after_utc:%Y-%m-%d %H:%M}"
        found = f"another certificate, until {until} UTC; that of the file is until {ours.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
    return warning(
        "certificate-not-loaded",
        f"the certificate at {url} is that of {where}",
        found,
        "a file that changes is read within half a minute: look again then, and in the log for why it was not. If the log says "
        "nothing, restart the server: it was started with another tls_certificate_path, or another program has this port",
    )


def _why_not(facts: Facts) -> str:
    if facts.asked is None:
        return "not judged: which name it has to be for is known when the name leads somewhere, see below"
    ports = " and ".join(str(port) for port in sorted(facts.asked.ports))
    return f"not judged: others come to port {ports}, where this server does not speak TLS itself, and nothing answers there yet"
