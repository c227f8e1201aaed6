"""Whoever cannot see, point or have it small: axe-core's rules, keys alone, twice the size, and phones."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, ViewportSize, expect

from tests.page.accessibility import violations
from tests.page.browsing import shoot
from tests.page.naming import let_pass_end, name_by_api, name_field, open_people, people, suggest, toast
from tests.page.test_page_looks import PHONE, wider_than_the_screen
from tests.served import Served

TWICE_THE_SIZE: ViewportSize = {"width": 640, "height": 450}  # of a window of 1280 × 900 at 200 %
LONG_NAME = "Maximiliane-Alexandra von und zu Hohenlohe-Schillingsfürst the younger"


@pytest.fixture
def full(known: Served) -> Served:
    """Somebody named, somebody suggested, and a change to take back."""
    name_by_api(known, 0, "Anna")
    name_by_api(known, 1, LONG_NAME)
    let_pass_end(known)
    suggest(known, 2, "Ben")
    known.client.post("/api/v1/categories", json={"name": "Holidays"})
    return known


def sees(text: str) -> Callable[[Page], None]:
    return lambda page: expect(page.locator("main").get_by_text(re.compile(text)).first).to_be_visible()


# Each view, by its address, once this is to be seen.
VIEWS = {
    "sessions": sees("#1"),
    "sessions/1": sees("Completed: 100%"),
    "new": sees("all of them done before"),
    "people": sees("faces"),
    "people/suggestions": sees("Is this Ben"),
    "people/history": sees("Anna"),
    "people/1": sees("photos"),
    "people/2/faces": sees("Choose the faces"),
    "people/3/suggestions": sees("Which of these are Ben"),
    "people/groups/GROUP": sees("faces"),
    "photos": sees("36 photos"),
    "photos?personId=1": sees("Anna"),
    "photos/19?at=0": sees("Anna|Unknown face"),
}  # fmt: skip


def open_view(page: Page, server: Served, address: str) -> None:
    group = server.client.get("/api/v1/clusters?limit=1").json()["items"][0]["id"]
    page.goto(f"{server.url}/#/{address.replace('GROUP', str(group))}")
    VIEWS[address](page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_view_breaks_a_rule_of_accessibility(page: Page, full: Served, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    for address in VIEWS:
        open_view(page, full, address)
        assert violations(page) == [], address


def test_nothing_that_opens_breaks_a_rule_either(page: Page, full: Served) -> None:
    groups = open_people(page, full)
    name_field(groups.first).fill("a")
    expect(page.get_by_role("option").first).to_be_visible()
    assert violations(page) == []
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(toast(page)).to_contain_text("now")
    assert violations(page) == []
    page.get_by_role("button", name="Select").click()
    page.get_by_label("Select Anna").check()
    page.get_by_label("Select Ben").check()
    assert violations(page) == []
    page.get_by_role("button", name="Merge").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    assert violations(page) == []
    page.goto(f"{full.url}/#/photos/19")
    page.locator(".boxes .box").first.click()
    expect(page.get_by_role("dialog")).to_be_visible()
    assert violations(page) == []
    page.goto(f"{full.url}/#/people/1/faces")
    page.locator(".pick").first.check()
    assert violations(page) == []


@pytest.mark.parametrize(("size", "name"), [(PHONE, "phone"), (TWICE_THE_SIZE, "twice")])
def test_nothing_sticks_out_on_a_phone_or_at_twice_the_size(
    page: Page, full: Served, size: ViewportSize, name: str, screenshots: Path
) -> None:
    page.set_viewport_size(size)
    for address in VIEWS:
        open_view(page, full, address)
        shoot(page, screenshots, f"{name}-{re.sub('[^a-z0-9]+', '-', address)}")
        assert wider_than_the_screen(page) == [], address


def test_a_phone_names_a_face_at_the_bottom_of_the_screen(page: Page, full: Served, screenshots: Path) -> None:
    page.set_viewport_size(PHONE)
    page.goto(f"{full.url}/#/photos/19")
    page.locator(".boxes .box").last.click()
    menu = page.get_by_role("dialog")
    menu.get_by_role("combobox").fill("a")
    expect(menu.get_by_role("option").first).to_be_visible()
    page.screenshot(path=screenshots / "phone-naming.png")
    box = menu.bounding_box()
    assert box is not None
    assert box["y"] + box["height"] <= PHONE["height"]
    assert wider_than_the_screen(page) == []


def test_the_focus_is_never_lost(page: Page, full: Served) -> None:
    """After whatever takes the thing away that had it, it is on something that goes on."""
    groups = open_people(page, full)
    left = groups.count()
    for number in range(left):
        groups.first.get_by_role("button", name="Not a person I want").focus()
        page.keyboard.press("Enter")
        expect(groups).to_have_count(left - number - 1)
        assert has_focus(page)
    page.goto(f"{full.url}/#/people/3/suggestions")
    page.get_by_role("button", name="Choose all").focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Yes, Ben").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("Nothing to ask.")).to_be_visible()
    assert has_focus(page)
    toast(page).get_by_role("button", name="Undo").focus()
    page.keyboard.press("Enter")
    expect(toast(page)).to_contain_text("Undone:")
    assert has_focus(page)
    page.get_by_role("link", name="People", exact=True).first.focus()
    page.keyboard.press("Enter")
    expect(people(page).first).to_be_visible()
    expect(page.locator("main")).to_be_focused()


def has_focus(page: Page) -> bool:
    return bool(page.evaluate("document.activeElement !== document.body && document.activeElement.checkVisibility()"))


def test_the_way_to_a_named_person_is_found_by_keys_alone(page: Page, full: Served) -> None:
    page.goto(f"{full.url}/#/people")
    expect(people(page).first).to_be_visible()
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent").startswith("Anna"):
            break
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Anna")).to_be_visible()
    photos = page.get_by_role("list", name="Photos of Anna").get_by_role("link")
    expect(photos.first).to_be_visible()
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("Boolean(document.activeElement.closest('.photo-grid'))"):
            break
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.get_by_role("complementary", name="About this photo")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page).to_have_url(re.compile("#/people/1$"))
    expect(photos.nth(1)).to_be_focused()
