"""People on the page: naming groups of faces, and whatever is done to those who have a name."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from tests.page.browsing import shoot
from tests.page.gallery import CAST, write_gallery
from tests.page.naming import (
    ask_rather_than_assign,
    name_by_api,
    name_field,
    open_people,
    people,
    reread,
    toast,
    undo,
)
from tests.served import Served


@pytest.fixture
def library(tmp_path: Path) -> Path:
    return write_gallery(tmp_path / "photos")


def refuse(route: Route) -> None:
    route.fulfill(status=503, json={"title": "Service Unavailable", "detail": "A database cannot be reached."})


def test_from_a_folder_of_photos_to_everybody_found_by_name(
    page: Page, server: Served, library: Path, screenshots: Path
) -> None:
    """Create, watch, name, accept, search, undo: what a new user does."""
    page.goto(server.url)
    page.get_by_role("link", name="Begin the first session").click()
    expect(page.get_by_text("Chosen: all of")).to_be_visible()
    ask_rather_than_assign(server.run)
    page.get_by_role("button", name="Begin").click()
    expect(page.get_by_role("heading", name="Completed: 100%")).to_be_visible()
    page.get_by_role("link", name="Say who they are").click()

    groups = page.get_by_role("list", name="Unknown people").get_by_role("listitem")
    expect(groups).to_have_count(len(CAST))
    shoot(page, screenshots, "people-unknown")
    name_field(groups.first).fill("Anna")
    page.keyboard.press("Enter")
    expect(people(page)).to_have_count(1)
    expect(toast(page)).to_contain_text("now Anna.")
    expect(name_field(groups.first)).to_be_focused()

    write_gallery(library, range(42, 48))  # one more photo of each, with three more faces
    server.ended(server.create(library))
    reread(page)
    invitation = page.get_by_role("region", name="Suggestions")
    expect(invitation).to_contain_text(re.compile(r"\d faces? looks? like Anna\."))
    asked = int(invitation.inner_text().split()[0])
    invitation.get_by_role("link").click()
    expect(page.get_by_role("heading", name="Is this Anna?")).to_be_visible()
    shoot(page, screenshots, "suggestion")
    for _ in range(asked):
        page.get_by_role("button", name="Yes").click()
    expect(page.get_by_role("heading", name="Nothing to ask")).to_be_visible()

    page.get_by_role("link", name="Back to people").click()
    people(page).first.get_by_role("link", name=re.compile("^Anna")).click()
    page.get_by_role("link", name="Search these photos").click()
    photos = page.get_by_role("list", name="Photos").get_by_role("listitem")
    expect(page.get_by_role("list", name="All of these people")).to_contain_text("Anna")
    expect(page.get_by_role("link", name=re.compile(r"photo 04\d\.png"))).to_have_count(asked)
    before = photos.count()
    undo(page)
    expect(toast(page)).to_contain_text("Undone:")
    expect(photos).to_have_count(before - 1)


def test_groups_are_named_by_keys_alone(page: Page, known: Served, screenshots: Path) -> None:
    groups = open_people(page, known)
    name_field(groups.first).focus()
    for name in ("Anna", "Ben"):
        page.keyboard.type(name)
        expect(page.get_by_role("option", name=f"New person “{name}”")).to_be_visible()
        page.keyboard.press("Enter")
        expect(toast(page)).to_contain_text(f"now {name}.")
        expect(name_field(groups.first)).to_be_focused()
    expect(groups).to_have_count(4)
    page.keyboard.type("an")
    option = page.get_by_role("option", name="Anna")
    expect(option).to_be_visible()
    page.keyboard.press("ArrowDown")
    expect(option).to_have_attribute("aria-selected", "true")
    expect(name_field(groups.first)).to_have_attribute("aria-activedescendant", re.compile("^people-"))
    shoot(page, screenshots, "people-autocomplete")
    page.keyboard.press("Escape")
    expect(option).to_be_hidden()
    expect(name_field(groups.first)).to_have_value("an")
    page.keyboard.press("ArrowDown")
    expect(option).to_be_visible()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(toast(page)).to_contain_text("now Anna.")
    expect(people(page)).to_have_count(2)
    expect(page.locator("#announcer")).to_have_text(re.compile(r"^Next: Group of \d+ faces\.$"))


def test_a_name_in_other_letters_is_the_same_person(page: Page, known: Served) -> None:
    groups = open_people(page, known)
    for typed in ("Zoë", "zoë"):
        name_field(groups.first).fill(typed)
        page.keyboard.press("Enter")
        expect(toast(page)).to_contain_text("now Zoë.")
        reread(page)
    expect(groups).to_have_count(4)
    expect(people(page)).to_have_count(1)


def test_whatever_is_done_is_taken_back_at_once_or_from_the_history(
    page: Page, known: Served, screenshots: Path
) -> None:
    groups = open_people(page, known)
    name_field(groups.first).fill("Anna")
    page.keyboard.press("Enter")
    expect(groups).to_have_count(5)
    groups.first.get_by_role("button", name="Not a person I want").click()
    expect(toast(page)).to_contain_text("dismissed")
    expect(groups).to_have_count(4)
    page.get_by_role("heading", name="People").click()
    page.keyboard.press("Control+z")
    expect(toast(page)).to_contain_text("Undone:")
    expect(groups).to_have_count(5)

    page.get_by_role("link", name="History").click()
    changes = page.get_by_role("list", name="Changes").get_by_role("listitem")
    expect(changes).to_have_count(2)
    expect(changes.first).to_contain_text("Undone:")
    shoot(page, screenshots, "history")
    changes.nth(1).get_by_role("button", name=re.compile("^Undo: .* now Anna")).click()
    expect(page.get_by_role("button", name=re.compile("^Undo"))).to_have_count(0)
    page.get_by_role("link", name="People").first.click()
    expect(groups).to_have_count(6)
    expect(people(page)).to_have_count(0)


def test_a_change_that_cannot_be_taken_back_any_more_says_so(page: Page, known: Served) -> None:
    groups = open_people(page, known)
    name_field(groups.first).fill("Anna")
    page.keyboard.press("Enter")
    expect(toast(page)).to_contain_text("now Anna.")
    known.run.rows("UPDATE people_changes SET created_at = now() - interval '25 hours' RETURNING id")
    undo(page)
    expect(toast(page)).to_contain_text("24 hours")
    expect(people(page)).to_have_count(1)


def test_two_people_are_merged_and_parted_again(page: Page, known: Served, screenshots: Path) -> None:
    name_by_api(known, 0, "Anna")
    name_by_api(known, 1, "Anne")
    name_by_api(known, 2, "Ben")
    page.goto(f"{known.url}/#/people")
    page.get_by_role("button", name="Select").click()
    page.get_by_label("Select Anne").check()
    expect(page.get_by_role("button", name="Merge")).to_be_disabled()
    page.get_by_label("Select Anna").check()
    shoot(page, screenshots, "people-selecting")
    page.get_by_role("button", name="Merge").click()
    question = page.get_by_role("dialog", name="Whose name stays?")
    question.get_by_role("radio", name="Anna").check()
    shoot(page, screenshots, "people-merging")
    question.get_by_role("button", name="Merge").click()
    expect(people(page)).to_have_count(2)
    expect(page.get_by_role("button", name="Select")).to_be_focused()
    expect(toast(page)).to_contain_text("one person")
    undo(page)
    expect(people(page)).to_have_count(3)


def test_a_person_is_renamed_where_the_name_stands(page: Page, known: Served) -> None:
    name_by_api(known, 0, "Anna")
    ben = name_by_api(known, 1, "Ben")
    open_people(page, known)
    people(page).get_by_role("link", name=re.compile("^Anna")).click()
    expect(page.get_by_role("heading", name="Anna")).to_be_visible()
    page.get_by_role("button", name="Rename").click()
    page.get_by_label("Name", exact=True).fill("Hannah")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Hannah")).to_be_visible()
    expect(page.get_by_role("button", name="Rename")).to_be_focused()
    undo(page)
    expect(page.get_by_role("heading", name="Anna")).to_be_visible()

    page.get_by_role("button", name="Rename").click()
    page.get_by_label("Name", exact=True).fill("ben")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="They are the same: merge into Ben").click()
    expect(page).to_have_url(re.compile(f"#/people/{ben}$"))
    expect(toast(page)).to_contain_text("one person")
    page.go_back()
    expect(page).to_have_url(re.compile("#/people$"))


def test_wrong_faces_are_taken_out_and_the_best_one_is_the_cover(page: Page, known: Served, screenshots: Path) -> None:
    anna = name_by_api(known, 0, "Anna")
    page.goto(f"{known.url}/#/people/{anna}/faces")
    faces = page.get_by_role("list", name="Faces of Anna").get_by_role("listitem")
    expect(faces.first).to_be_visible()
    there = faces.count()
    faces.nth(2).get_by_role("checkbox").check()
    page.get_by_role("button", name="Use as cover").click()
    expect(toast(page)).to_contain_text("This face stands for Anna now.")
    cover = known.client.get(f"/api/v1/persons/{anna}").json()["cover"]["faceId"]
    expect(page.locator(f".person-cover img[src*='{cover}']")).to_be_visible()

    faces.nth(0).get_by_role("checkbox").check()
    faces.nth(2).get_by_role("checkbox").click(modifiers=["Shift"])
    shoot(page, screenshots, "person-faces")
    page.get_by_role("button", name="Not Anna").dblclick()
    expect(faces).to_have_count(there - 3)
    undo(page)
    expect(faces).to_have_count(there)


def test_a_deleted_persons_faces_are_unknown_again_until_that_is_undone(page: Page, known: Served) -> None:
    anna = name_by_api(known, 0, "Anna")
    page.goto(f"{known.url}/#/photos")
    open_people(page, known)
    people(page).get_by_role("link", name=re.compile("^Anna")).click()
    page.get_by_role("button", name="Delete").click()
    expect(page).to_have_url(re.compile("#/people$"))
    expect(toast(page)).to_contain_text("Anna is deleted")
    undo(page)
    expect(people(page)).to_have_count(1)
    page.go_back()
    expect(page).to_have_url(re.compile("#/photos$"))
    page.goto(f"{known.url}/#/people/{anna}")
    page.get_by_role("button", name="Delete").click()
    expect(page).to_have_url(re.compile("#/people$"))
    page.go_back()
    expect(page).to_have_url(re.compile("#/photos$"))  # not where she was
    page.goto(f"{known.url}/#/people/{anna + 1000}")
    expect(page.get_by_role("heading", name="There is no such person")).to_be_visible()


def test_a_persons_photos_show_where_the_face_is(page: Page, known: Served, screenshots: Path) -> None:
    anna = name_by_api(known, 0, "Anna")
    page.goto(f"{known.url}/#/people/{anna}")
    photos = page.get_by_role("list", name="Photos of Anna").get_by_role("link")
    expect(photos.first).to_be_visible()
    box = photos.first.locator(".tile-box")
    expect(box).to_have_css("opacity", "0")
    photos.first.focus()
    expect(box).to_have_css("opacity", "1")
    page.get_by_label("Show faces").check()
    expect(photos.nth(2).locator(".tile-box")).to_have_css("opacity", "1")
    shoot(page, screenshots, "person")
    photos.first.click()
    expect(page.get_by_role("link", name="Anna", exact=True)).to_be_visible()
    expect(page.get_by_role("link", name="Next photo")).to_be_visible()


def test_photos_of_a_person_that_could_not_be_read_are_read_later(page: Page, known: Served) -> None:
    anna = name_by_api(known, 0, "Anna")
    page.route("**/persons/*/photos?*", refuse)
    page.goto(f"{known.url}/#/people/{anna}")
    expect(page.get_by_role("alert")).to_have_text("A database cannot be reached.")
    page.unroute("**/persons/*/photos?*")
    reread(page)
    expect(page.get_by_role("list", name="Photos of Anna").get_by_role("link").first).to_be_visible()
    expect(page.get_by_role("alert")).to_be_hidden()


def test_a_group_is_looked_through_before_it_is_named(page: Page, known: Served, screenshots: Path) -> None:
    page.goto(f"{known.url}/#/photos")
    groups = open_people(page, known)
    groups.first.get_by_role("link", name="See all").click()
    faces = page.get_by_role("list", name="Faces of this group").get_by_role("listitem")
    expect(faces.first).to_be_visible()
    there = faces.count()
    shoot(page, screenshots, "group")
    faces.nth(0).get_by_role("checkbox").check()
    page.get_by_role("button", name="Ignore").click()
    expect(faces).to_have_count(there - 1)
    name = page.get_by_label("Name of this person")
    faces.first.get_by_role("checkbox").check()
    faces.last.get_by_role("checkbox").click(modifiers=["Shift"])
    page.get_by_role("button", name="Ignore").click()
    expect(page.get_by_text("Nobody is in this group any more")).to_be_visible()
    expect(name).to_be_hidden()
    undo(page)
    expect(faces).to_have_count(there - 1)
    expect(faces.last).to_be_visible()
    name.fill("Anna")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("#/people$"))
    expect(people(page).first).to_contain_text("Anna")
    page.go_back()
    expect(page).to_have_url(re.compile("#/photos$"))


def test_a_group_that_cannot_be_read_or_never_was_says_so(page: Page, known: Served) -> None:
    page.route("**/clusters/*", refuse)
    page.goto(f"{known.url}/#/people/groups/1")
    expect(page.get_by_role("alert")).to_have_text("A database cannot be reached.")
    expect(page.get_by_label("Name of this person")).to_be_hidden()
    page.unroute("**/clusters/*")
    page.goto(f"{known.url}/#/people/groups/99999999999")
    expect(page.get_by_text("Nobody is in this group any more")).to_be_visible()
    expect(page.get_by_label("Name of this person")).to_be_hidden()


def test_two_browsers_name_the_same_group_at_once(browser: Browser, page: Page, known: Served) -> None:
    groups = open_people(page, known)
    with browser.new_context() as context:
        other = context.new_page()
        theirs = open_people(other, known)
        name_field(theirs.first).fill("Anna")
        other.keyboard.press("Enter")
        expect(people(other)).to_have_count(1)
        held = groups.first
        name_field(held).fill("Somebody else")
        page.keyboard.press("Enter")
        expect(held.get_by_role("alert")).to_be_visible()
        reread(page)
        expect(groups).to_have_count(5)
        expect(people(page).first).to_contain_text("Anna")
        name_field(groups.first).fill("Ben")
        page.keyboard.press("Enter")
        expect(people(page)).to_have_count(2)
        reread(other)
        expect(people(other)).to_have_count(2)
    assert [one["name"] for one in known.client.get("/api/v1/persons").json()["items"]] == ["Anna", "Ben"]


def test_what_is_half_typed_outlives_a_new_look_at_the_list(page: Page, known: Served) -> None:
    groups = open_people(page, known)
    field = name_field(groups.nth(1))
    field.press_sequentially("Ann")
    name_by_api(known, 5, "Somebody")  # whose group is the last
    with page.expect_response("**/clusters?*"):
        reread(page)
    expect(people(page)).to_have_count(1)
    expect(groups).to_have_count(5)
    expect(page.locator("input:focus")).to_have_value("Ann")


@pytest.mark.parametrize("words", ["", " "])
def test_nothing_typed_names_nobody(page: Page, known: Served, words: str) -> None:
    groups = open_people(page, known)
    name_field(groups.first).fill(words)
    page.keyboard.press("Enter")
    name_field(groups.nth(1)).focus()
    expect(people(page)).to_have_count(0)
    expect(toast(page)).to_be_empty()


def test_a_name_that_the_server_does_not_take_is_said_at_the_field(page: Page, known: Served) -> None:
    groups = open_people(page, known)
    page.route("**/persons?query=*", lambda route: route.abort())  # nobody can be looked up either
    page.route("**/clusters/*/name", refuse)
    field = name_field(groups.first)
    field.fill("Anna")
    page.keyboard.press("Enter")
    expect(field).to_have_accessible_description("A database cannot be reached.")
    expect(field).to_be_focused()
    expect(field).to_have_value("Anna")
    page.unroute("**/clusters/*/name")
    page.keyboard.press("Enter")
    expect(people(page)).to_have_count(1)


def test_people_are_filtered_by_name(page: Page, known: Served) -> None:
    name_by_api(known, 0, "Anna")
    for number in range(12):
        known.client.post("/api/v1/persons", json={"name": f"<b>Guest</b> {number}"})
    page.goto(f"{known.url}/#/people")
    expect(people(page)).to_have_count(13)
    names: Locator = page.get_by_label("Filter people by name")
    expect(page.get_by_text("<b>Guest</b> 11")).to_be_visible()
    names.fill("ann")
    expect(people(page)).to_have_count(1)
    names.fill("nobody here")
    expect(page.get_by_text("Nobody is called “nobody here”.")).to_be_visible()
    names.fill("")
    expect(people(page)).to_have_count(13)


def test_where_nobody_is_the_page_says_what_to_do(page: Page, server: Served, screenshots: Path) -> None:
    page.goto(f"{server.url}/#/people")
    expect(page.get_by_role("heading", name="Nobody here yet")).to_be_visible()
    shoot(page, screenshots, "people-empty")
    for lists in ("**/persons?*", "**/clusters?*"):  # of what cannot be read it is not said that there is none
        page.route(lists, refuse)
        reread(page)
        expect(page.get_by_role("alert")).to_have_text("A database cannot be reached.")
        expect(page.get_by_role("heading", name="Nobody here yet")).to_be_hidden()
        page.unroute(lists)
        reread(page)
        expect(page.get_by_role("heading", name="Nobody here yet")).to_be_visible()
    page.locator("main").get_by_role("link", name="New session").click()
    expect(page.get_by_role("heading", name="New session")).to_be_visible()
