"""How the page looks on small and dark screens, what it is made of, and the API's documentation."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, ViewportSize, expect

from api.page import FOLDER, POLICY, page_files
from tests.page.browsing import hold_detection, shoot
from tests.served import Served

PHONE: ViewportSize = {"width": 360, "height": 740}
ADDRESSES = ("sessions", "sessions/1", "new")


def wider_than_the_screen(page: Page) -> list[str]:
    """What sticks out to the right, by tag and class; nothing on a page that need not be moved sideways."""
    return page.evaluate("""() => {
        const width = document.documentElement.clientWidth;
        if (document.documentElement.scrollWidth <= width) return [];
        return [...document.querySelectorAll("main *, header *, footer *")]
            .filter((node) => node.getBoundingClientRect().right > width + 1)
            .map((node) => `${node.tagName}.${node.className}`);
    }""")


def test_a_phone_never_has_to_be_moved_sideways(
    page: Page, server: Served, broken_library: Path, screenshots: Path
) -> None:
    deep = broken_library / ("a-folder-with-a-very-long-name-" * 4) / ("and-one-in-it-" * 6)
    deep.mkdir(parents=True)
    (deep / f"{'a-photo-' * 12}.jpg").write_bytes(b"")
    server.ended(server.create(broken_library, category="A category of some length, as they come"))
    page.set_viewport_size(PHONE)
    for address in ADDRESSES:
        page.goto(f"{server.url}/#/{address}")
        expect(page.get_by_text(re.compile(r"Completed: 100%|#1|Chosen: all of")).first).to_be_visible()
        expect(page.locator(":text('truncated')")).to_have_count(3 if address == "sessions/1" else 0)
        shoot(page, screenshots, f"phone-{address.replace('/', '-')}")
        assert wider_than_the_screen(page) == []


def test_dark_screens_get_a_dark_page(page: Page, server: Served, library: Path, screenshots: Path) -> None:
    page.emulate_media(color_scheme="dark")
    gate = hold_detection(server.run.engines, 20)
    page.goto(f"{server.url}/#/sessions/{server.create(library)}")
    expect(page.get_by_role("heading", name="Processing Training Pipeline: 62.5%")).to_be_visible()
    shoot(page, screenshots, "dark-session")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(17, 22, 28)"
    gate.open()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_it_stands_on(page: Page, server: Served, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(server.url)
    pairs = [
        ("text", "ground"), ("text", "surface"), ("text", "raised"), ("quiet", "ground"), ("quiet", "surface"),
        ("accent", "surface"), ("on-accent", "accent"), ("good", "surface"), ("warn", "surface"),
        ("warn", "warn-ground"), ("bad", "surface"), ("bad", "bad-ground"),
    ]  # fmt: skip
    styles = "getComputedStyle(document.documentElement).getPropertyValue('--' + name)"
    colours = page.evaluate(f"names => names.map((name) => {styles})", [name for pair in pairs for name in pair])
    contrasts = [contrast(*pair) for pair in zip(colours[::2], colours[1::2], strict=True)]
    assert [pair for pair, reached in zip(pairs, contrasts, strict=True) if reached < 4.5] == []


def contrast(one: str, other: str) -> float:
    """WCAG 2's ratio of two colours such as #1a2b3c, 1 to 21."""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    channels = [int(colour.strip()[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_its_files_may_talk_to_nobody_else_and_are_asked_for_again(server: Served) -> None:
    for path in ("/", "/page/main.js", "/page/style.css", "/page/icon.svg"):
        answer = server.client.get(path)
        assert answer.status_code == 200
        assert answer.headers["content-security-policy"] == POLICY
        assert answer.headers["cache-control"] == "no-cache"
        known = server.client.get(path, headers={"If-None-Match": answer.headers["etag"]})
        assert (known.status_code, known.content) == (304, b"")
    assert "'unsafe" not in POLICY
    assert server.client.get("/page/__init__.py").status_code == 404


def test_every_module_is_fetched_at_once(page: Page, server: Served) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(server.url)
    expect(page.get_by_role("heading", name="No sessions yet")).to_be_visible()
    modules = {f"/page/{path.relative_to(FOLDER)}" for path in page_files() if path.suffix == ".js"}
    assert {url.removeprefix(server.url) for url in asked if url.endswith(".js")} == modules
    preloaded = set(
        re.findall(r'(?:modulepreload" href|src)="(/page/[\w/]+\.js)"', (FOLDER / "index.html").read_text())
    )
    assert preloaded == modules


def test_the_api_is_documented_without_asking_anybody_else(page: Page, server: Served, screenshots: Path) -> None:
    page.goto(server.url)
    page.get_by_role("link", name="API documentation").click()
    expect(page.get_by_role("heading", name="Trainyard")).to_be_visible()
    operation = page.locator(".opblock-summary").filter(has_text="progress-unified")
    expect(operation).to_be_visible()
    operation.click()
    expect(page.get_by_text("Progress of the whole session.").first).to_be_visible()
    shoot(page, screenshots, "docs")
