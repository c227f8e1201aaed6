""" "Is this Anna?" on the page: by buttons and keys, one by one and many at once, and what becomes of the answers."""

import re
from threading import Event
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from jobs import assign
from tests.page.browsing import shoot
from tests.page.gallery import faces_of
from tests.page.naming import let_pass_end, name_by_api, suggest, toast
from tests.served import Served


def answers(server: Served, person: int) -> list[str]:
    """Status of all suggestions for a person, in the order they are asked in."""
    rows = server.run.rows(
        "SELECT status FROM face_suggestions WHERE person_id = :id ORDER BY similarity DESC, face_id", id=person
    )
    return [row.status for row in rows]


def wait_for_answers(server: Served, person: int, wanted: list[str]) -> None:
    server.run.wait_for(lambda _: answers(server, person)[: len(wanted)] == wanted, f"the answers {wanted}")


def test_faces_are_answered_by_keys(page: Page, known: Served, screenshots: Any) -> None:
    anna = suggest(known, 0, "Anna")
    page.goto(f"{known.url}/#/people/suggestions")
    question = page.get_by_role("heading", name="Is this Anna?")
    expect(question).to_be_visible()
    number = len(faces_of(known.run, 0))
    left = page.locator(".view-head .number")
    expect(left).to_have_text(f"{number} left")
    expect(page.get_by_text("90 % alike")).to_be_visible()
    for _ in range(3):  # held: the keyboard repeats it
        page.keyboard.down("y")
    page.keyboard.up("y")
    expect(page.get_by_text("89 % alike")).to_be_visible()
    page.keyboard.press("n")
    page.keyboard.press("s")
    page.keyboard.press("ArrowRight")
    expect(left).to_have_text(f"{number - 2} left")
    expect(page.get_by_text("86 % alike")).to_be_visible()
    wait_for_answers(known, anna, ["accepted", "rejected", "pending"])
    expect(toast(page)).to_contain_text("1 face is not Anna.")
    shoot(page, screenshots, "suggestions-answered")

    page.keyboard.press("z")
    expect(page.get_by_text("89 % alike")).to_be_visible()
    wait_for_answers(known, anna, ["accepted", "pending", "pending"])
    page.keyboard.press("Z")
    expect(page.get_by_text("90 % alike")).to_be_visible()
    wait_for_answers(known, anna, ["pending", "pending", "pending"])
    expect(page.get_by_role("button", name="Undo").last).to_be_disabled()
    page.keyboard.press("z")
    expect(left).to_have_text(f"{number} left")


def test_what_was_done_is_told_beside_the_buttons_never_on_them(page: Page, known: Served) -> None:
    suggest(known, 0, "Anna")
    page.set_viewport_size({"width": 360, "height": 640})
    page.goto(f"{known.url}/#/people/suggestions")
    page.get_by_role("button", name="No", exact=True).click()
    expect(toast(page)).to_contain_text("1 face is not Anna.")
    told, answer = toast(page).bounding_box(), page.get_by_role("group", name="Your answer").bounding_box()
    assert told is not None
    assert answer is not None
    assert told["y"] + told["height"] <= answer["y"]


def test_all_are_answered_however_fast(page: Page, known: Served) -> None:
    anna, ben = suggest(known, 0, "Anna"), suggest(known, 1, "Ben")
    page.goto(f"{known.url}/#/people/suggestions")
    expect(page.get_by_role("heading", name="Is this Anna?")).to_be_visible()
    number = len(answers(known, anna))
    for key in ["y", "n"] * number:
        page.keyboard.press(key)
    for _ in range(len(answers(known, ben)) - number):
        page.keyboard.press("n")
    expect(page.get_by_role("heading", name="Nothing to ask")).to_be_visible()
    given = (["accepted", "rejected"] * number)[:number]
    wait_for_answers(known, anna, given)
    known.run.wait_for(lambda _: "pending" not in answers(known, ben), "the last answer")


def test_the_answer_that_is_taken_back_is_the_one_given_last_however_slowly_it_goes_out(
    page: Page, known: Served
) -> None:
    anna = suggest(known, 0, "Anna")
    page.goto(f"{known.url}/#/people/suggestions")
    expect(page.get_by_text("90 % alike")).to_be_visible()
    held: list[Route] = []
    page.route("**/suggestions/accept", lambda route: held.append(route))
    with page.expect_request("**/suggestions/accept"):
        page.keyboard.press("y")
    page.keyboard.press("z")
    page.keyboard.press("n")
    expect(page.get_by_text("88 % alike")).to_be_visible()
    held.pop().continue_()
    expect(page.get_by_text("90 % alike")).to_be_visible()
    wait_for_answers(known, anna, ["pending", "rejected", "pending"])
    page.keyboard.press("z")
    expect(page.get_by_text("89 % alike")).to_be_visible()
    wait_for_answers(known, anna, ["pending", "pending", "pending"])


def test_an_answer_that_is_not_taken_is_asked_for_again(page: Page, known: Served) -> None:
    anna = suggest(known, 0, "Anna")
    page.goto(f"{known.url}/#/people/suggestions")
    expect(page.get_by_text("90 % alike")).to_be_visible()
    page.route("**/suggestions/accept", lambda route: route.abort())
    page.keyboard.press("y")
    expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
    expect(page.get_by_text("90 % alike")).to_be_visible()
    page.unroute("**/suggestions/accept")
    page.keyboard.press("y")
    wait_for_answers(known, anna, ["accepted", "pending"])
    expect(page.get_by_role("alert")).to_be_hidden()


def test_what_somebody_else_answered_meanwhile_is_passed_over(page: Page, known: Served) -> None:
    anna = suggest(known, 0, "Anna")
    page.goto(f"{known.url}/#/people/suggestions")
    expect(page.get_by_text("90 % alike")).to_be_visible()
    first = known.client.get("/api/v1/suggestions?limit=1").json()["items"][0]
    name_by_api(known, 0, "Ben")
    for key in "yyy":
        page.keyboard.press(key)
    assert first["person"]["id"] == anna
    expect(page.get_by_text("87 % alike")).to_be_visible()
    assert known.client.get(f"/api/v1/persons/{anna}").json()["faces"] == 0


def test_the_next_faces_are_loaded_before_they_are_asked_about(page: Page, known: Served) -> None:
    suggest(known, 0, "Anna")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{known.url}/#/people/suggestions")
    expect(page.get_by_text("90 % alike")).to_be_visible()
    ahead = known.client.get("/api/v1/suggestions?limit=4").json()["items"][1:]
    for one in ahead:
        known.run.wait_for(
            lambda _, id=one["face"]["id"]: any(id in url and "side=320" in url for url in asked), "the next face"
        )


def test_who_is_asked_about_is_found_behind_many_others(page: Page, known: Served) -> None:
    known.run.rows("INSERT INTO persons (name) SELECT 'Guest ' || n FROM generate_series(1, 120) AS n RETURNING id")
    suggest(known, 0, "Anna")
    page.goto(f"{known.url}/#/people")
    invitation = page.get_by_role("region", name="Suggestions")
    expect(invitation).to_contain_text("5+ faces look like Anna.")
    invitation.get_by_role("link").click()
    expect(page.get_by_role("heading", name="Is this Anna?")).to_be_visible()


def test_many_are_answered_at_once(page: Page, known: Served, screenshots: Any) -> None:
    anna = suggest(known, 0, "Anna")
    page.goto(f"{known.url}/#/people/{anna}/suggestions")
    faces = page.get_by_role("list", name="Suggestions for Anna").get_by_role("listitem")
    number = len(faces_of(known.run, 0))
    expect(faces).to_have_count(number)
    faces.nth(0).get_by_role("checkbox").check()
    faces.nth(1).get_by_role("checkbox").check()
    shoot(page, screenshots, "suggestions-of-a-person")
    page.get_by_role("button", name="Not Anna").click()
    expect(faces).to_have_count(number - 2)
    page.get_by_role("button", name="Choose all").click()
    page.get_by_role("button", name="Yes, Anna").dblclick()
    expect(faces).to_have_count(0)
    expect(page.get_by_text("Nothing to ask.")).to_be_visible()
    assert answers(known, anna) == ["rejected"] * 2 + ["accepted"] * (number - 2)
    toast(page).get_by_role("button", name="Undo").click()
    expect(faces).to_have_count(number - 2)


def test_while_more_of_them_are_looked_for_the_page_says_how_far_that_is(
    page: Page, known: Served, monkeypatch: pytest.MonkeyPatch, screenshots: Any
) -> None:
    """A part of Anna's faces is named; the pass that follows by itself finds the others."""
    go_on = Event()
    decide = assign.decide

    def held(*arguments: Any, **named: Any) -> Any:
        assert go_on.wait(120), "nobody let the pass go on"
        return decide(*arguments, **named)

    monkeypatch.setattr(assign, "decide", held)
    ids = [str(id) for id in faces_of(known.run, 0)]
    page.goto(f"{known.url}/#/people")
    answer = known.client.post("/api/v1/faces/assign", json={"faceIds": ids[:2], "name": "Anna"})
    assert answer.status_code == 200
    line = page.locator(".assigning")
    expect(line).to_contain_text(re.compile(r"Looking for more of them … \d+%"))
    expect(line.get_by_role("progressbar", name="Looking for more faces")).to_be_visible()
    shoot(page, screenshots, "people-looking-for-more")
    go_on.set()
    expect(line).to_be_hidden()
    expect(page.get_by_text(f"Looked again: {len(ids) - 2} faces recognised.")).to_be_visible()
    photos = known.client.get("/api/v1/persons").json()["items"][0]["photos"]
    expect(page.get_by_role("listitem").filter(has_text="Anna")).to_contain_text(f"{photos} photos")
    assert known.client.get("/api/v1/persons").json()["items"][0]["faces"] == len(ids)


def test_a_pass_too_quick_to_be_seen_is_told_of_all_the_same(page: Page, known: Served) -> None:
    ids = [str(id) for id in faces_of(known.run, 0)]
    page.goto(f"{known.url}/#/people")
    expect(page.get_by_role("list", name="Unknown people").get_by_role("listitem")).to_have_count(6)
    page.route("**/events", lambda route: route.abort())
    page.route("**/progress-unified", lambda route: route.abort())
    known.client.post("/api/v1/faces/assign", json={"faceIds": ids[:2], "name": "Anna"})
    let_pass_end(known)
    expect(page.get_by_text(f"Looked again: {len(ids) - 2} faces recognised.")).to_be_visible()
    expect(page.get_by_role("list", name="Unknown people").get_by_role("listitem")).to_have_count(5)


def test_what_the_pass_withdraws_is_asked_no_more(page: Page, known: Served) -> None:
    suggest(known, 1, "Ben")
    page.goto(f"{known.url}/#/people/suggestions")
    expect(page.get_by_role("heading", name="Is this Ben?")).to_be_visible()
    name_by_api(known, 0, "Anna")
    let_pass_end(known)
    expect(page.get_by_role("heading", name="Nothing to ask")).to_be_visible()


def test_two_who_answer_at_once_are_asked_about_what_is_left(browser: Browser, page: Page, known: Served) -> None:
    anna = suggest(known, 0, "Anna")
    number = len(faces_of(known.run, 0))
    page.goto(f"{known.url}/#/people/suggestions")
    expect(page.get_by_text("90 % alike")).to_be_visible()
    with browser.new_context() as context:
        other = context.new_page()
        other.goto(f"{known.url}/#/people/suggestions")
        expect(other.get_by_text("90 % alike")).to_be_visible()
        for _ in range(number):
            page.keyboard.press("y")
            other.keyboard.press("y")
        for one in (page, other):
            expect(one.get_by_role("heading", name="Nothing to ask")).to_be_visible()
    wait_for_answers(known, anna, ["accepted"] * number)


def test_a_broken_answer_leaves_the_keys_of_a_field_alone(page: Page, known: Served) -> None:
    """What is typed into a field is no shortcut."""

    def refuse(route: Route) -> None:
        route.fulfill(status=500, json={"title": "Internal Server Error", "detail": "This is a defect."})

    anna = suggest(known, 0, "Anna")
    page.route("**/suggestions/reject", refuse)
    page.goto(f"{known.url}/#/people/suggestions")
    expect(page.get_by_text("90 % alike")).to_be_visible()
    page.keyboard.press("Control+y")
    page.keyboard.press("n")
    expect(page.get_by_role("alert")).to_have_text("This is a defect.")
    assert set(answers(known, anna)) == {"pending"}
