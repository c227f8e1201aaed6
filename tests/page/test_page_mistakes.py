"""What the page says before it asks the server: of a form that is not filled in, and of the folders ticked."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from tests.libraries import write_photos
from tests.page.conftest import SETTINGS
from tests.served import Served, served


@pytest.fixture
def two_roots(data_dir: Path, library: Path, tmp_path: Path) -> Iterator[Served]:
    """A server that may read two folders, so that none is chosen to begin with."""
    archive = write_photos(tmp_path / "archive", 2)
    with served(data_dir, Path(f"{library}:{archive}"), **SETTINGS) as server:
        yield server


def posted(page: Page) -> list[str]:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if request.method == "POST" else None)
    return asked


def test_without_a_folder_the_form_says_to_choose_one(page: Page, two_roots: Served) -> None:
    asked = posted(page)
    page.goto(f"{two_roots.url}/#/new")
    expect(page.get_by_text("Open a folder to choose it.")).to_be_visible()
    page.get_by_role("button", name="Begin").click()
    folder = page.get_by_label("Folder", exact=True)
    expect(folder).to_be_focused()
    expect(folder).to_have_accessible_description(re.compile("Choose a folder first."))
    assert asked == []
    page.get_by_role("list", name="Folders").get_by_role("button").first.click()
    expect(page.get_by_text("Chosen: all of")).to_be_visible()
    expect(page.get_by_text("Choose a folder first.")).to_be_hidden()


@pytest.mark.parametrize(
    ("label", "wrong", "right", "said"),
    [
        ("Least confidence", "1.5", "1", "from 0 to 1"),
        ("Least confidence", "0,5", "0.5", "from 0 to 1"),
        ("Smallest face, px", "0", "1", "1 or more"),
        ("Smallest face, px", "big", "32", "1 or more"),
    ],
)
def test_a_wrong_number_is_told_in_words(
    page: Page, server: Served, label: str, wrong: str, right: str, said: str
) -> None:
    asked = posted(page)
    page.goto(f"{server.url}/#/new")
    expect(page.get_by_text("Chosen: all of")).to_be_visible()
    page.get_by_text("More", exact=True).click()
    field = page.get_by_label(label)
    field.fill(wrong)
    page.get_by_role("button", name="Begin").click()
    expect(field).to_be_focused()
    expect(field).to_have_accessible_description(re.compile(said))
    assert asked == []
    field.fill(right)
    page.get_by_role("button", name="Begin").click()
    expect(page.get_by_role("heading", name="photos", exact=True)).to_be_visible()


def test_the_photos_of_the_ticked_folders_are_added_up(page: Page, server: Served, library: Path) -> None:
    def make_one_huge(route: Route) -> None:
        answer = route.fetch().json()
        answer["directories"][0]["images"] = {"count": 10_000, "exact": False, "text": "10,000+"}
        route.fulfill(json=answer)

    page.route("**/directories?path=*", make_one_huge)
    page.goto(f"{server.url}/#/new")
    page.get_by_label("Only b").check()
    expect(page.get_by_text(f"Chosen: 1 folder in {library} (20 photos)")).to_be_visible()
    page.get_by_label("Only a").check()
    expect(page.get_by_text(f"Chosen: 2 folders in {library} (10,020+ photos)")).to_be_visible()
    page.get_by_label("Only b").uncheck()
    expect(page.get_by_text(f"Chosen: 1 folder in {library} (10,000+ photos)")).to_be_visible()


def test_a_folder_that_is_typed_is_not_overwritten_by_a_late_answer(page: Page, server: Served, library: Path) -> None:
    mine = library / "mine"
    mine.mkdir(exist_ok=True)
    held: list[Route] = []
    page.route("**/directories?*", lambda route: held.append(route))
    with page.expect_request("**/directories?*"):
        page.goto(f"{server.url}/#/new")
    folder = page.get_by_label("Folder", exact=True)
    folder.fill(str(mine))
    with page.expect_response("**/directories?*"):
        held.pop().continue_()
    expect(folder).to_have_value(str(mine))
    with page.expect_request("**/training/sessions") as sent:
        folder.press("Enter")
    assert sent.value.post_data_json["rootPath"] == str(mine)


def test_a_number_that_no_session_can_have_is_told_so(page: Page, server: Served) -> None:
    page.goto(f"{server.url}/#/sessions/0")
    expect(page.get_by_role("heading", name="There is no such session")).to_be_visible()
    expect(page.locator("#connection")).to_be_empty()
