"""All photos on the page, and those that are looked for: a grid of any length, filters, and the way back."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from playwright.sync_api import Page, Route, expect

from tests import pictures
from tests.libraries import photo
from tests.page.browsing import shoot
from tests.page.gallery import faces_of
from tests.page.naming import name_by_api, reread, toast
from tests.served import Served
from tests.served_rows import ServedRows, served_rows

MANY = 100_000
MOST_NODES = 260  # of the grid in the document, whatever its length
COLUMNS = 6  # at the width of the tests' browser

ADD_MANY = sa.text("""
    INSERT INTO image_assets (path, path_sha256, path_text, content_sha256, width, height, taken_at)
    SELECT convert_to(path, 'UTF8'), sha256(convert_to(path, 'UTF8')), path, sha256(convert_to(path || 'x', 'UTF8')),
           400, 300, timestamptz '2026-06-30 12:00+00' - number * interval '1 hour'
    FROM (
        SELECT number, '/photos/photo ' || lpad(number::text, 6, '0') || '.jpg' AS path
        FROM generate_series(0, :many - 1) AS number
    ) made
""")


@pytest.fixture
def many(database_url: str, tmp_path: Path) -> Iterator[ServedRows]:
    """The API alone, on the rows of 100,000 photos, the newest first by number; there are no files of them."""
    with served_rows(database_url, tmp_path, image_roots="/photos") as server:
        with server.services.database.engine.begin() as connection:
            connection.execute(ADD_MANY, {"many": MANY})
            connection.execute(sa.text("ANALYZE image_assets"))
        yield server


class Asked:
    """What a page asked the API for; thumbnails are answered here, as there are no files."""

    def __init__(self, page: Page) -> None:
        self.searches: list[str] = []
        self.thumbnails = 0
        self._picture = pictures.encoded(photo(7, (3,)))
        page.on("request", self._note)
        page.route("**/thumbnail*", self._answer)

    def _note(self, request: Any) -> None:
        if "/api/v1/search" in request.url:
            self.searches.append(request.url)

    def _answer(self, route: Route) -> None:
        self.thumbnails += 1
        route.fulfill(body=self._picture, content_type="image/jpeg")


def photo_link(page: Page, number: int) -> Any:
    return page.get_by_role("link", name=re.compile(rf"^photo {number:06}\.jpg"))


def told(page: Page) -> Any:
    """How many photos there are, as the page says."""
    return page.locator(".sight .number")


def nodes(page: Page) -> int:
    return int(page.evaluate("document.querySelectorAll('.photo-grid *').length"))


def test_a_hundred_thousand_photos_are_scrolled_with_few_nodes_and_few_requests(
    page: Page, many: ServedRows, screenshots: Path
) -> None:
    asked = Asked(page)
    page.clock.install()
    page.goto(f"{many.url}/#/photos")
    expect(told(page)).to_have_text("100,000 photos")
    expect(photo_link(page, 0)).to_be_visible()
    expect(page.get_by_text("June 2026")).to_be_visible()
    assert len(asked.searches) == 1
    assert nodes(page) < MOST_NODES
    rows = MANY / COLUMNS
    height = page.evaluate("document.querySelector('.photo-grid').clientHeight")
    assert abs(height / (rows * (page.locator(".photo-grid > li").first.bounding_box()["width"] + 4)) - 1) < 0.01  # type: ignore[index]

    stop_the_clock(page)
    for part in range(1, 100):  # dragging the scroll bar from top to bottom, a sixtieth of a second at each place
        page.evaluate("part => scrollTo(0, document.documentElement.scrollHeight * part / 100)", part)
        page.evaluate("dispatchEvent(new Event('scroll'))")
        page.clock.run_for(17)
        assert nodes(page) < MOST_NODES
    assert len(asked.searches) == 1  # what is only passed is not asked for
    page.clock.resume()
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    expect(photo_link(page, MANY - 1)).to_be_visible()
    last = page.get_by_role("listitem").filter(has=photo_link(page, MANY - 1))
    expect(last).to_have_attribute("aria-posinset", str(MANY))
    assert len(asked.searches) <= 4  # where the dragging ended, and what is in sight now
    assert asked.thumbnails < 3 * MOST_NODES
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight / 2)")
    expect(photo_link(page, MANY // 2)).to_be_visible()
    shoot_window(page, screenshots, "photos-in-the-middle")
    assert nodes(page) < MOST_NODES


def stop_the_clock(page: Page) -> None:
    """Timers and frames come only when the test has them come."""
    page.clock.pause_at(datetime.fromtimestamp(page.evaluate("Date.now()") / 1000 + 1, UTC))


def shoot_window(page: Page, folder: Path, name: str) -> None:
    """What is in sight of a page too long for a picture."""
    page.screenshot(path=folder / f"{name}.png")


def test_back_leads_to_where_the_photo_was(page: Page, many: ServedRows) -> None:
    Asked(page)
    page.goto(f"{many.url}/#/photos")
    expect(photo_link(page, 0)).to_be_visible()
    page.evaluate("scrollTo(0, 1_000_000)")
    expect(photo_link(page, 0)).to_have_count(0)
    in_sight = page.locator(".photo-grid a").nth(30)
    expect(in_sight).to_be_visible()
    name = in_sight.get_attribute("aria-label")
    before = page.evaluate("scrollY")
    in_sight.click()
    expect(page.get_by_role("heading", name=re.compile(r"photo \d+\.jpg"))).to_be_visible()
    same = page.get_by_role("link", name=name, exact=True)
    for lead_back in (page.go_back, page.locator(".back a").click):
        lead_back()
        expect(same).to_be_visible()
        expect(same).to_be_focused()
        assert abs(page.evaluate("scrollY") - before) < 400
        same.click()
        expect(page.get_by_role("link", name="Next photo")).to_be_visible()
        page.keyboard.press("ArrowRight")
        expect(page.get_by_role("heading", level=1)).not_to_have_text(str(name).split(",")[0])
    page.keyboard.press("Escape")
    expect(same).to_be_visible()
    page.reload()
    expect(same).to_be_visible()


def test_new_photos_are_told_of_and_shown_when_asked(page: Page, many: ServedRows) -> None:
    Asked(page)
    page.goto(f"{many.url}/#/photos")
    expect(told(page)).to_have_text("100,000 photos")
    newer = page.get_by_role("button", name="Show what is new")
    expect(newer).to_be_hidden()
    with many.services.database.engine.begin() as connection:
        connection.execute(sa.text("UPDATE image_assets SET missing_since = now() WHERE path_text LIKE '%00001.jpg'"))
    reread(page)
    newer.click()
    expect(told(page)).to_have_text("99,999 photos")
    expect(photo_link(page, 1)).to_have_count(0)
    expect(newer).to_be_hidden()


def test_the_grid_is_gone_through_by_keys(page: Page, many: ServedRows) -> None:
    Asked(page)
    page.goto(f"{many.url}/#/photos")
    photo_link(page, 0).focus()
    for key, number in (("ArrowRight", 1), ("ArrowDown", 1 + COLUMNS), ("End", 2 * COLUMNS - 1), ("Home", COLUMNS)):
        page.keyboard.press(key)
        expect(photo_link(page, number)).to_be_focused()
    page.keyboard.press("Control+End")
    expect(photo_link(page, MANY - 1)).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(photo_link(page, MANY - 1 - COLUMNS)).to_be_focused()
    page.keyboard.press("Control+Home")
    expect(photo_link(page, 0)).to_be_focused()
    page.keyboard.press("PageDown")
    expect(page.locator(".photo-grid a:focus")).not_to_have_attribute("aria-label", re.compile("photo 000000"))
    page.keyboard.press("Shift+Tab")  # one stop of the tabulator for all of them
    expect(page.locator(".photo-grid a:focus")).to_have_count(0)
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight / 2)")
    expect(photo_link(page, MANY // 2)).to_be_visible()
    page.keyboard.press("Tab")  # to one of those in sight, wherever that is
    expect(page.locator(".photo-grid a:focus")).to_be_in_viewport()


def test_the_next_and_the_last_photo_of_a_long_list_are_a_key_away(page: Page, many: ServedRows) -> None:
    Asked(page)
    page.goto(f"{many.url}/#/photos")
    photo_link(page, 3).click()
    heading = page.get_by_role("heading", level=1)
    expect(page.get_by_role("link", name="Next photo")).to_be_visible()
    page.keyboard.press("ArrowRight")
    expect(heading).to_have_text("photo 000004.jpg")
    expect(page.get_by_role("link", name="Previous photo")).to_be_visible()
    page.keyboard.press("ArrowLeft")
    expect(heading).to_have_text("photo 000003.jpg")
    page.go_back()
    expect(photo_link(page, 3)).to_be_visible()
    expect(page).to_have_url(f"{many.url}/#/photos")


SWIPE = """([from, to]) => {
    const stage = document.querySelector(".stage");
    const at = (x) => [new Touch({ identifier: 1, target: stage, clientX: x, clientY: 300 })];
    stage.dispatchEvent(new TouchEvent("touchstart", { touches: at(from), changedTouches: at(from) }));
    stage.dispatchEvent(new TouchEvent("touchend", { touches: [], changedTouches: at(to) }));
}"""


def test_a_finger_swipes_from_photo_to_photo(page: Page, many: ServedRows) -> None:
    Asked(page)
    page.goto(f"{many.url}/#/photos/4?at=3")
    heading = page.get_by_role("heading", level=1)
    for way, number in (((300, 100), 4), ((100, 300), 3), ((300, 280), 3)):
        expect(page.get_by_role("link", name="Next photo")).to_be_visible()
        page.evaluate(SWIPE, way)
        expect(heading).to_have_text(f"photo {number:06}.jpg")
    enlarged = page.context.new_cdp_session(page)
    for scale, number in ((2, 3), (1, 4)):  # enlarged, a finger moves the photo about
        enlarged.send("Emulation.setPageScaleFactor", {"pageScaleFactor": scale})
        page.wait_for_function("scale => visualViewport.scale === scale", arg=scale)
        page.evaluate(SWIPE, (300, 100))
        expect(heading).to_have_text(f"photo {number:06}.jpg")


def test_a_list_that_has_changed_still_knows_its_neighbours(page: Page, many: ServedRows) -> None:
    Asked(page)
    page.goto(f"{many.url}/#/photos")
    photo_link(page, 20).click()
    expect(page.get_by_role("link", name="Next photo")).to_be_visible()
    with many.services.database.engine.begin() as connection:
        connection.execute(
            sa.text("UPDATE image_assets SET missing_since = now() WHERE path_text < '/photos/photo 000010'")
        )
    page.reload()
    expect(page.get_by_role("link", name="Next photo")).to_have_attribute("href", re.compile("at=11$"))


def test_dates_are_in_the_address_and_outlive_a_reload(page: Page, many: ServedRows) -> None:
    Asked(page)
    page.goto(f"{many.url}/#/photos")
    page.get_by_label("Taken from").fill("2026-06-01")
    page.get_by_label("Taken to").fill("2026-06-02")
    expect(told(page)).to_have_text("48 photos")
    expect(page).to_have_url(re.compile("takenFrom=2026-06-01&takenTo=2026-06-02$"))
    page.reload()
    expect(told(page)).to_have_text("48 photos")
    page.go_back()
    expect(page.get_by_label("Taken to")).to_have_value("")
    expect(told(page)).to_have_text("100,000 photos")
    page.go_forward()
    page.get_by_role("button", name="Clear all").click()
    expect(told(page)).to_have_text("100,000 photos")
    page.get_by_label("Taken from").fill("2030-01-01")
    expect(page.get_by_role("heading", name="No photo matches all of this")).to_be_visible()
    page.get_by_role("button", name="Show all photos").click()
    expect(told(page)).to_have_text("100,000 photos")


def test_a_server_that_is_away_while_scrolling_is_waited_for(page: Page, many: ServedRows) -> None:
    Asked(page)
    page.goto(f"{many.url}/#/photos")
    expect(photo_link(page, 0)).to_be_visible()
    page.route("**/search?*", lambda route: route.abort())
    page.evaluate("scrollTo(0, 2_000_000)")
    expect(page.locator("#connection")).to_contain_text("Connection lost")
    page.unroute("**/search?*")
    expect(page.locator("#connection")).to_be_empty()
    expect(page.locator(".photo-grid a").first).to_be_visible()


def test_photos_of_people_together_are_found(page: Page, known: Served, screenshots: Path) -> None:
    name_by_api(known, 0, "Anna")
    name_by_api(known, 1, "Ben")
    page.goto(f"{known.url}/#/photos")
    expect(told(page)).to_have_text("36 photos")
    field = page.get_by_label("With this person")
    page.route("**/persons?query=*", lambda route: route.abort())
    field.fill("Anna")
    field.press("Enter")
    expect(field).to_have_accessible_description("People cannot be looked up just now. Press Enter to try again.")
    page.unroute("**/persons?query=*")
    for name in ("An", "Be"):
        field.fill(name)
        page.get_by_role("option").first.click()
    chosen = page.get_by_role("list", name="All of these people").get_by_role("listitem")
    expect(chosen).to_have_count(2)
    together = {face.image for face in images_of(known, 0)} & {face.image for face in images_of(known, 1)}
    expect(told(page)).to_have_text(f"{len(together)} photos")
    shoot(page, screenshots, "photos-of-two")
    page.get_by_role("button", name="Remove Ben").click()
    expect(chosen).to_have_count(1)
    page.go_back()
    expect(chosen).to_have_count(2)


READ_MEANWHILE = """async () => {
    const { PagedList } = await import("/page/photos/paged_list.js");
    let all = Array.from({ length: 300 }, (_, number) => number);
    const answers = [];
    const answer = () => answers.splice(0).forEach((one) => one());
    const list = new PagedList((after) => {
        const items = all.filter((number) => number > (after ?? -1)).slice(0, 100);
        return new Promise((read) => answers.push(() => read({ items, nextPageToken: items.at(-1) })));
    });
    const first = list.reread();
    answer();
    await first;
    const before = [list.want(0, 100), list.want(0, 100)];
    const late = answers.splice(0); // of the list as it was
    all = all.slice(10);
    const again = list.reread();
    answer();
    await again;
    const after = [list.want(0, 100), list.want(0, 100)];
    late.forEach((one) => one());
    answer();
    await Promise.all([...before, ...after]);
    return Array.from({ length: list.length }, (_, at) => list.item(at));
}"""


def test_a_list_that_is_reread_while_it_grows_has_neither_doubles_nor_gaps(page: Page, server: Served) -> None:
    page.goto(server.url)
    assert page.evaluate(READ_MEANWHILE) == list(range(10, 210))


def images_of(server: Served, who: int) -> list[Any]:
    ids = faces_of(server.run, who)
    return server.run.rows("SELECT asset_id AS image FROM face_instances WHERE id = ANY(:ids)", ids=ids)


def test_photos_of_a_category_are_found(page: Page, known: Served) -> None:
    made = known.client.post("/api/v1/categories", json={"name": "Holidays"}).json()
    known.run.rows("UPDATE image_assets SET category_id = :id WHERE id <= 5 RETURNING id", id=made["id"])
    page.goto(f"{known.url}/#/photos")
    page.get_by_label("Category").select_option("Holidays")
    expect(told(page)).to_have_text("5 photos")
    page.reload()
    expect(page.get_by_label("Category")).to_have_value(str(made["id"]))


def test_without_the_text_model_the_page_says_how_to_get_it(page: Page, known: Served, screenshots: Path) -> None:
    page.goto(f"{known.url}/#/photos")
    expect(page.get_by_text("trainyard models download clip")).to_be_visible()
    expect(page.get_by_label("Search photos")).to_have_count(0)
    shoot(page, screenshots, "photos")


def test_the_toast_outlives_the_way_to_another_view(page: Page, known: Served) -> None:
    page.goto(f"{known.url}/#/people")
    field = page.get_by_role("combobox").first
    field.fill("Anna")
    field.press("Enter")
    expect(toast(page)).to_contain_text("now Anna.")
    page.get_by_role("link", name="Photos", exact=True).click()
    expect(told(page)).to_have_text("36 photos")
    toast(page).get_by_role("button", name="Undo").click()
    expect(toast(page)).to_contain_text("Undone:")
