"""What axe-core has to say against a page: the rules of WCAG 2.2 A and AA, and its best practices."""

from typing import Any

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page

RUN = """() => axe.run(document, { resultTypes: ["violations"] }).then(({ violations }) => violations)"""


def violations(page: Page) -> list[str]:
    """Each rule that is broken, with the elements that break it; nothing for an accessible page."""
    page.evaluate(AXE_SCRIPT)  # past the page's policy, as developers' tools are
    return [_told(rule) for rule in page.evaluate(RUN)]


def _told(rule: dict[str, Any]) -> str:
    nodes = "; ".join(f"{' '.join(node['target'])} ({node['failureSummary']})" for node in rule["nodes"])
    return f"{rule['id']} [{rule['impact']}]: {rule['help']}: {nodes}"
