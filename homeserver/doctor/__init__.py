"""The doctor: looks at a server as its peers and clients do, and says what is wrong and what to do.

`probes` look (DNS, TCP, TLS, HTTP) and return facts; the `judge_*` modules turn facts into findings, each with its remedy,
and touch nothing; `examination` runs the one and then the other, step by step as the discovery of the specification goes.
`report` has the shape of the federation tester's JSON.
"""

from homeserver.doctor.examination import Examination, Examiner, Own
from homeserver.doctor.findings import Finding, Level, Section
from homeserver.doctor.probes import Probes, ProbeSettings
from homeserver.doctor.report import as_report

__all__ = [
    "Examination",
    "Examiner",
    "Finding",
    "Level",
    "Own",
    "ProbeSettings",
    "Probes",
    "Section",
    "as_report",
]
