"""One photo on the page: who is in it, what is known of it, what is like it; and searching by words."""

import hashlib
import re
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect

from tests.page.browsing import shoot
from tests.page.gallery import faces_of
from tests.page.naming import name_by_api, toast, undo
from tests.served import Served
from tests.text_towers import write_text_tower

TOGETHER = "photo 000.png"  # shows the first three of the cast


def open_photo(page: Page, server: Served, name: str = TOGETHER) -> int:
    rows = server.run.rows("SELECT id FROM image_assets WHERE path_text LIKE :name", name=f"%/{name}")
    page.goto(f"{server.url}/#/photos/{rows[0].id}")
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    return int(rows[0].id)


def boxes(page: Page) -> Any:
    return page.locator(".boxes .box")


def test_the_faces_of_a_photo_are_marked_where_they_are(page: Page, known: Served, screenshots: Path) -> None:
    name_by_api(known, 1, "Ben")
    open_photo(page, known)
    expect(boxes(page)).to_have_count(3)
    picture = page.locator(".picture").bounding_box()
    box = boxes(page).nth(1).bounding_box()
    assert picture is not None
    assert box is not None
    # Of the second place in tests/libraries.py: 72 px at 120, 100 in 320 × 240.
    scale = picture["width"] / 320
    for edge, at in (("x", picture["x"] + 120 * scale), ("y", picture["y"] + 100 * scale), ("width", 72 * scale)):
        assert abs(box[edge] - at) < 2, edge  # type: ignore[literal-required]
    expect(boxes(page).nth(1)).to_contain_text("Ben")
    shoot(page, screenshots, "photo")
    page.get_by_label("Mark faces").uncheck()
    expect(boxes(page).nth(1)).to_have_css("border-color", "rgba(0, 0, 0, 0)")
    page.keyboard.press("f")
    expect(page.get_by_label("Mark faces")).to_be_checked()


def test_a_face_is_named_at_its_box(page: Page, known: Served, screenshots: Path) -> None:
    name_by_api(known, 1, "Ben")
    open_photo(page, known)
    boxes(page).first.click()
    menu = page.get_by_role("dialog", name="Unknown face")
    field = menu.get_by_role("combobox", name="Who is this?")
    expect(field).to_be_focused()
    page.keyboard.type("be")
    expect(menu.get_by_role("option", name="Ben")).to_be_visible()
    shoot(page, screenshots, "photo-naming")
    field.fill("Anna")
    page.keyboard.press("Enter")
    expect(menu).to_be_hidden()
    expect(boxes(page).first).to_contain_text("Anna")
    expect(boxes(page).first).to_be_focused()
    people = page.get_by_role("list", name="People in this photo")
    expect(people.get_by_role("link")).to_have_text(["Anna", "Ben"])
    undo(page)
    expect(people.get_by_role("link")).to_have_text(["Ben"])


def test_a_face_is_not_whose_it_was_said_to_be(page: Page, known: Served) -> None:
    ben = name_by_api(known, 1, "Ben")
    before = known.client.get(f"/api/v1/persons/{ben}").json()["faces"]
    open_photo(page, known)
    people = page.get_by_role("list", name="People in this photo")
    people.get_by_role("button", name="Ben: change").click()
    page.get_by_role("dialog", name="Ben").get_by_role("button", name="Not Ben").click()
    expect(people.get_by_role("link")).to_have_count(0)
    assert known.client.get(f"/api/v1/persons/{ben}").json()["faces"] == before - 1


def test_a_face_that_does_not_matter_is_ignored_and_not_any_more(page: Page, known: Served) -> None:
    image = open_photo(page, known)
    people = page.get_by_role("list", name="People in this photo")
    boxes(page).nth(2).click()
    page.get_by_role("button", name="Ignore this face").dblclick()
    expect(people).to_contain_text("Ignored face")
    undo(page)
    expect(people).not_to_contain_text("Ignored face")

    boxes(page).nth(2).click()
    face = known.client.get(f"/api/v1/images/{image}/faces").json()["items"][2]
    known.client.post("/api/v1/faces/ignore", json={"faceIds": [face["id"]]})
    page.get_by_role("button", name="Ignore this face").click()
    expect(toast(page)).to_contain_text("Nothing changed")
    expect(toast(page).get_by_role("button", name="Undo")).to_have_count(0)
    boxes(page).nth(2).click()
    page.get_by_role("button", name="Do not ignore").click()
    expect(people).not_to_contain_text("Ignored face")


def test_escape_closes_the_menu_first_and_then_leads_back(page: Page, known: Served) -> None:
    open_photo(page, known)
    boxes(page).first.click()
    page.get_by_role("combobox").fill("x")
    expect(page.get_by_role("listbox")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("listbox")).to_be_hidden()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(boxes(page).first).to_be_focused()
    page.keyboard.press("Escape")
    expect(page).to_have_url(f"{known.url}/#/photos")


def test_what_is_known_of_a_photo_and_what_is_like_it(page: Page, known: Served, screenshots: Path) -> None:
    known.run.rows(
        "UPDATE image_assets SET taken_at = '2024-06-01 10:30+00' WHERE path_text LIKE :name RETURNING id",
        name=f"%/{TOGETHER}",
    )
    image = open_photo(page, known)
    about = page.get_by_role("complementary", name="About this photo")
    expect(about).to_contain_text("1 Jun 2024, 10:30")
    expect(about).to_contain_text("320 × 240 px")
    similar = page.get_by_role("region", name="Similar photos").get_by_role("link")
    expect(similar).to_have_count(12)
    similar.first.click()
    expect(page).to_have_url(re.compile(f"similarTo={image}&at=0$"))
    expect(page.get_by_role("link", name="Next photo")).to_be_visible()
    page.keyboard.press("ArrowRight")
    expect(page).to_have_url(re.compile(f"similarTo={image}&at=1$"))
    page.go_back()
    expect(page.get_by_role("heading", name=TOGETHER)).to_be_visible()
    page.get_by_role("link", name="Similar photos").click()
    expect(page.locator(".sight")).to_contain_text("Best matches first")
    photos = page.get_by_role("list", name="Photos").get_by_role("listitem")
    expect(photos).to_have_count(35)
    shoot(page, screenshots, "photos-similar")
    page.get_by_role("button", name="Remove the photo that others are to be like").click()
    expect(photos).to_have_count(36)


def test_a_photo_that_is_gone_or_never_was_says_so(page: Page, known: Served) -> None:
    known.run.rows(
        "UPDATE image_assets SET missing_since = now() WHERE path_text LIKE :name RETURNING id", name=f"%/{TOGETHER}"
    )
    open_photo(page, known)
    expect(page.get_by_text("The file is not where it was any more")).to_be_visible()
    page.goto(f"{known.url}/#/photos/999999")
    expect(page.get_by_role("heading", name="There is no such photo")).to_be_visible()


def test_photos_are_searched_by_words(page: Page, known: Served, screenshots: Path) -> None:
    write_text_tower(known.run.settings.models_path, hashlib.sha256(b"fake").hexdigest())
    known.run.rows("UPDATE models SET trained = true WHERE kind = 'clip' RETURNING id")
    page.goto(f"{known.url}/#/photos")
    words = page.get_by_label("Search photos")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/search?" in request.url else None)
    words.press_sequentially("a dog on a beach", delay=5)
    words.press("Enter")
    expect(page.locator(".sight")).to_contain_text("Best matches first")
    expect(page).to_have_url(re.compile(r"text=a\+dog\+on\+a\+beach$"))
    expect(words).to_be_focused()
    assert len({url for url in asked if "text=" in url}) <= 2
    name_by_api(known, 0, "Anna")
    page.get_by_label("With this person").fill("anna")
    page.get_by_role("option", name="Anna").click()
    photos = page.get_by_role("list", name="Photos").get_by_role("listitem")
    expect(photos).to_have_count(
        len(
            {
                row.asset_id
                for row in known.run.rows(
                    "SELECT asset_id FROM face_instances WHERE id = ANY(:ids)", ids=faces_of(known.run, 0)
                )
            }
        )
    )
    shoot(page, screenshots, "photos-by-words")
    photos.nth(1).get_by_role("link").click()
    expect(page.get_by_role("link", name="Previous photo")).to_be_visible()
    page.go_back()
    expect(words).to_have_value("a dog on a beach")


def test_words_that_cannot_be_compared_with_the_photos_are_told_why(page: Page, known: Served) -> None:
    write_text_tower(known.run.settings.models_path, hashlib.sha256(b"fake").hexdigest())
    page.goto(f"{known.url}/#/photos?text=a+dog")
    expect(page.get_by_role("alert")).to_contain_text("untrained weights")
    expect(toast(page)).to_be_empty()
