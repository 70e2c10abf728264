"""On CI a test that is skipped has failed: what was not tested there would otherwise look tested."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and _on_ci():
        report.outcome = "failed"
        report.longrepr = _why(report.longrepr)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a whole module that skips itself."""
    report = yield
    if report.skipped and _on_ci():
        report.outcome = "failed"
        report.longrepr = _why(report.longrepr)
    return report


def _on_ci() -> bool:
    return os.environ.get("CI") == "true"


def _why(skip: object) -> str:
    """Pytest keeps a skip as (file, line, reason)."""
    return f"skipped, which CI=true does not allow: {skip[2] if isinstance(skip, tuple) else skip}"
