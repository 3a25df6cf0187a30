"""What holds for every test: none hangs for ever, with CI=true none is skipped, and what they measure stands at the end of the log.

A test tells what it has measured with `record_property("figure", "the join took 2.1 s")`.
"""

import os
import threading
from collections.abc import Generator

import pytest

from tests.support.hanging import ended_if_it_hangs

PATIENCE_AT_THE_END_S = 30.0
IN_CI = os.environ.get("CI") == "true"
STANDARD_ERROR = pytest.StashKey[int]()
"""As it was before pytest captures it."""


def pytest_configure(config: pytest.Config) -> None:
    """Nothing is captured yet."""
    config.stash[STANDARD_ERROR] = os.dup(2)


def _fail_if_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip into a failure that gives the skip's reason; an expected failure stays what it is."""
    if report.outcome == "skipped" and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"With CI=true nothing may be skipped, and this was. {reason}"


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(exitstatus: int) -> None:
    """A database that a failed test left open has a thread, which would keep the process for ever."""
    last = threading.Timer(PATIENCE_AT_THE_END_S, os._exit, [exitstatus])
    last.daemon = True
    last.start()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """A test that hangs is a failure that says where it waited."""
    with ended_if_it_hangs(item.nodeid, item.config.stash[STANDARD_ERROR]):
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that skips itself fails in CI."""
    report = yield
    if IN_CI:
        _fail_if_skipped(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """A module that skips itself fails in CI."""
    report = yield
    if IN_CI:
        _fail_if_skipped(report)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show the figures, also those that other workers measured."""
    figures = [
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "call"
        for name, value in report.user_properties
        if name == "figure"
    ]
    if figures:
        terminalreporter.section("figures")
        for figure in figures:
            terminalreporter.write_line(str(figure))
