"""A pytest plugin: under a failed test stands what the cluster said last."""

from collections.abc import Generator

import pytest

from tests.e2e.node.node import Node


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        report.sections.append(("Cluster", Node.from_environment().last_lines()))
    return report
