"""The list of all sessions."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.libraries import write_photos
from tests.page.browsing import hold_embedding, shoot
from tests.served import Served

EMPTY = {"enabled": False}
YEARS = ["2024", "2025", "2026", "2027", "2028", "2029"]


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """Photos of six years, in folders of their own."""
    for year in YEARS:
        write_photos(tmp_path / "photos" / year, 2)
    return tmp_path / "photos"


def listed(page: Page) -> Locator:
    return page.get_by_role("list", name="Sessions").get_by_role("listitem")


def test_the_list_shows_the_newest_first_and_goes_on(
    page: Page, server: Served, library: Path, screenshots: Path
) -> None:
    for _ in range(3):
        server.ended(server.create(library / "2024", faceDetection=EMPTY))
    page.goto(server.url)
    rows = listed(page)
    expect(rows).to_have_count(3)
    expect(rows.first).to_contain_text("#3")

    gate = hold_embedding(server.run.engines)
    newest = server.create(library / "2025", category="Holidays")
    page.reload()
    expect(rows.first).to_contain_text(f"#{newest}")
    expect(rows.first.get_by_text("running")).to_be_visible()
    shoot(page, screenshots, "sessions")
    gate.open()
    expect(rows.first.get_by_text("100%")).to_be_visible()


def test_older_sessions_are_a_button_away(page: Page, server: Served, library: Path) -> None:
    gate = hold_embedding(server.run.engines)
    for _ in range(30):
        server.create(library, faceDetection=EMPTY)
    page.goto(server.url)
    rows = listed(page)
    expect(rows).to_have_count(25)
    rows.nth(24).get_by_role("link").click()
    expect(page).to_have_url(re.compile(r"#/sessions/6$"))
    page.go_back()
    expect(rows.nth(24)).to_be_in_viewport()
    page.get_by_role("button", name="More sessions").click()
    expect(rows).to_have_count(30)
    expect(page.get_by_role("button", name="More sessions")).to_be_hidden()
    gate.open()


def test_sessions_of_the_same_folder_are_told_apart(
    page: Page, server: Served, library: Path, screenshots: Path
) -> None:
    all_of_it = server.create(library, faceDetection=EMPTY)
    server.create(library, subdirectories=["2028"], faceDetection=EMPTY)
    several = server.create(library, subdirectories=YEARS, faceDetection=EMPTY)
    server.ended(several)
    page.goto(server.url)
    expect(listed(page).nth(0).get_by_text("only 2024, 2025 and 4 more")).to_be_visible()
    expect(listed(page).nth(1).get_by_text("only 2028")).to_be_visible()
    expect(listed(page).nth(2).get_by_text("only")).to_have_count(0)
    shoot(page, screenshots, "sessions-of-one-folder")
    page.goto(f"{server.url}/#/sessions/{several}")
    expect(page.locator(".session-head")).to_contain_text("only 2024, 2025 and 4 more")
    page.goto(f"{server.url}/#/sessions/{all_of_it}")
    expect(page.get_by_role("heading", name="Completed: 100%")).to_be_visible()
    expect(page.locator(".session-head .only")).to_be_hidden()


def test_the_list_says_what_a_session_waits_for(page: Page, server: Served, library: Path) -> None:
    gate = hold_embedding(server.run.engines)
    first = server.create(library)
    second = server.create(library)
    server.run.waiting_code(second, "Queued")
    page.goto(server.url)
    expect(listed(page).first).to_contain_text(f"Session {first} works on the same folders")
    gate.open()
    expect(listed(page).first).not_to_contain_text("works on the same folders")
