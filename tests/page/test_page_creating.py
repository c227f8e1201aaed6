"""Making sessions on the page."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from tests.libraries import write_photos
from tests.page.browsing import hold_embedding, shoot
from tests.served import Served


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """Photos of two years, in folders of their own, and a name that is no markup."""
    root = tmp_path / "photos"
    write_photos(root / "2024", 4)
    write_photos(root / "2025", 6)
    (root / "<img src=x onerror=alert(1)>").mkdir()
    return root


def test_a_folder_is_browsed_to_and_its_photos_are_done(
    page: Page, server: Served, library: Path, screenshots: Path
) -> None:
    page.goto(server.url)
    page.get_by_role("link", name="Begin the first session").click()
    folders = page.get_by_role("list", name="Folders")
    expect(folders.get_by_role("listitem").filter(has_text="2025")).to_contain_text("6 photos")
    expect(folders.get_by_role("button", name="<img src=x onerror=alert(1)>")).to_be_visible()
    folders.get_by_role("button", name="2025").click()
    expect(page.get_by_label("Folder", exact=True)).to_have_value(str(library / "2025"))
    expect(page.get_by_text(f"Chosen: all of {library}/2025 (6 photos)")).to_be_visible()
    page.get_by_label("Category").fill("Holidays")
    shoot(page, screenshots, "new-session")
    page.get_by_role("button", name="Begin").click()

    expect(page.get_by_role("heading", name="Completed: 100%")).to_be_visible()
    session = server.session(1)
    assert (session["rootPath"], session["category"]) == (str(library / "2025"), "Holidays")
    assert session["images"]["total"] == 6


def test_only_the_ticked_folders_are_done(page: Page, server: Served, library: Path) -> None:
    page.goto(f"{server.url}/#/new")
    page.get_by_label("Only 2024").check()
    expect(page.get_by_text(f"Chosen: 1 folder in {library} (4 photos)")).to_be_visible()
    page.get_by_role("button", name="Begin").click()
    expect(page.get_by_role("heading", name="Completed: 100%")).to_be_visible()
    assert server.session(1)["images"]["total"] == 4
    expect(page.get_by_text("2024", exact=True)).to_be_visible()


def test_the_way_back_up_leads_through_the_path(page: Page, server: Served, library: Path) -> None:
    page.goto(f"{server.url}/#/new")
    page.get_by_role("button", name="2025").click()
    page.get_by_role("list", name="Folders").get_by_role("button", name="a").click()
    expect(page.get_by_label("Folder", exact=True)).to_have_value(str(library / "2025" / "a"))
    page.get_by_role("navigation", name="Path of the open folder").get_by_role("button", name=str(library)).click()
    expect(page.get_by_label("Folder", exact=True)).to_have_value(str(library))


def test_a_double_click_makes_one_session(page: Page, server: Served) -> None:
    gate = hold_embedding(server.run.engines)
    page.goto(f"{server.url}/#/new")
    expect(page.get_by_text("Chosen: all of")).to_be_visible()
    page.get_by_role("button", name="Begin").dblclick()
    expect(page.get_by_role("heading", level=2).first).to_contain_text("Processing Training Pipeline")
    assert len(server.client.get("/api/v1/training/sessions").json()["items"]) == 1
    gate.open()


def test_a_form_sent_again_after_a_lost_answer_makes_one_session(page: Page, server: Served) -> None:
    page.goto(f"{server.url}/#/new")
    expect(page.get_by_text("Chosen: all of")).to_be_visible()
    lost: list[object] = []

    def lose_the_first(route: Route) -> None:
        if route.request.method == "POST" and not lost:
            lost.append(route.fetch())
            route.abort()
        else:
            route.continue_()

    page.route("**/training/sessions", lose_the_first)
    page.get_by_role("button", name="Begin").click()
    expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
    page.get_by_role("button", name="Begin").click()
    expect(page.get_by_role("heading", name="photos", exact=True)).to_be_visible()
    assert len(server.client.get("/api/v1/training/sessions").json()["items"]) == 1


def test_errors_stand_beside_the_fields_they_name(page: Page, server: Served, screenshots: Path) -> None:
    page.goto(f"{server.url}/#/new")
    expect(page.get_by_text("Chosen: all of")).to_be_visible()
    folder = page.get_by_label("Folder", exact=True)
    page.get_by_text("More", exact=True).click()
    page.get_by_label("Least confidence").fill("very")
    folder.fill("/nowhere")
    expect(page.get_by_text("Chosen:")).to_be_hidden()
    page.get_by_role("button", name="Begin").click()
    expect(page.get_by_label("Least confidence")).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_label("Least confidence")).to_have_accessible_description(re.compile("from 0 to 1, such as 0.5"))
    shoot(page, screenshots, "new-session-errors")

    page.get_by_label("Least confidence").fill("0.7")
    page.get_by_role("button", name="Begin").click()
    expect(folder).to_be_focused()
    expect(folder).to_have_accessible_description(re.compile("not inside the folders that may be read"))
    assert server.client.get("/api/v1/training/sessions").json()["items"] == []


def test_a_session_is_made_by_keyboard_alone(page: Page, server: Served, library: Path) -> None:
    page.goto(server.url)
    expect(page.get_by_role("link", name="Begin the first session")).to_be_visible()
    press_until_focused(page, "New session")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Chosen: all of")).to_be_visible()
    press_until_focused(page, "2024")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Folder", exact=True)).to_have_value(str(library / "2024"))
    press_until_focused(page, "Begin")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Completed: 100%")).to_be_visible()
    assert server.session(1)["rootPath"] == str(library / "2024")


def press_until_focused(page: Page, name: str) -> None:
    """Tab on until what has the focus bears this name, and shows that it has it."""
    for _ in range(40):
        page.keyboard.press("Tab")
        focused = page.locator(":focus")
        if focused.count() and focused.inner_text() == name:
            assert focused.evaluate("node => getComputedStyle(node).outlineStyle") == "solid"
            return
    raise AssertionError(f"Tab never led to {name}")


def test_what_it_will_cost_is_told_from_what_sessions_here_took(
    page: Page, server: Served, library: Path, screenshots: Path
) -> None:
    page.goto(f"{server.url}/#/new")
    cost = page.locator(".estimate")
    expect(cost).to_have_text("10 photos. How long that takes is not known yet: it is measured as sessions run.")
    page.get_by_label("Only 2024").check()
    expect(cost).to_contain_text("4 photos.")
    page.get_by_label("Only 2024").uncheck()
    server.ended(server.create(library / "2024"))
    page.reload()
    expect(cost).to_contain_text("10 photos, 4 of them done before")
    server.ended(server.create(library / "2025"))
    page.reload()
    expect(cost).to_have_text("10 photos, all of them done before: a few seconds.")
    page.route("**/estimate?*", lambda route: route.fulfill(json=costs(12_400, seconds=2_400, sessions=5)))
    page.reload()
    expect(cost).to_have_text("12,400 photos: about 40 min here, measured over the last 5 sessions.")
    shoot(page, screenshots, "new-session-cost")
    page.unroute("**/estimate?*")
    page.get_by_label("Folder", exact=True).fill("/nowhere")
    expect(cost).to_be_empty()


def costs(photos: int, seconds: float, sessions: int) -> dict[str, object]:
    return {
        "images": {"count": photos, "exact": True, "text": f"{photos:,}"},
        "known": {"embedded": 0, "searched": 0},
        "seconds": seconds,
        "phases": {},
        "sessionsMeasured": sessions,
    }
