"""What the page says of phases with nothing to do, of what was found on the way, and of what was asked."""

import re
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect

from tests.page.browsing import bars, hold_embedding, let_pause, shoot
from tests.page.naming import let_pass_end, name_by_api
from tests.served import Served


def notes(page: Page) -> list[str]:
    """What stands below each of the bars."""
    return page.locator(".phase-note > span:first-child").all_inner_texts()


def test_faces_that_are_switched_off_are_said_to_be(page: Page, server: Served, library: Path) -> None:
    page.goto(f"{server.url}/#/sessions/{server.create(library, faceDetection={'enabled': False})}")
    expect(page.get_by_role("heading", name="Completed: 100%")).to_be_visible()
    expect(page.locator(".phase-note").nth(1)).to_have_text("Switched off")
    expect(page.locator(".facts div").filter(has_text="Faces")).to_have_text("FacesOff")


def test_a_session_that_only_looks_for_faces_says_why_it_does_not_train(
    page: Page, server: Served, library: Path, screenshots: Path
) -> None:
    first = server.create(library, faceDetection={"enabled": False})
    server.ended(first)
    made = server.client.post("/api/v1/face-sessions", json={"trainingSessionId": first})
    page.goto(f"{server.url}/#/sessions/{made.json()['id']}")
    expect(page.get_by_role("heading", name="Completed: 100%")).to_be_visible()
    assert bars(page)["Training"] == "skipped"
    assert notes(page)[0] == "Photos were embedded before"
    shoot(page, screenshots, "face-session")


def test_a_second_session_has_nothing_new_and_tells_of_what_was_broken_before(
    page: Page, server: Served, broken_library: Path, screenshots: Path
) -> None:
    server.ended(server.create(broken_library))
    page.goto(f"{server.url}/#/sessions/{server.create(broken_library)}")
    expect(page.get_by_role("heading", name="Completed: 100%")).to_be_visible()
    expect(page.get_by_role("list", name="Notes")).to_contain_text("3 of the unchanged files could not be read before")
    assert notes(page) == ["Nothing new to embed", "Nothing to do", "Nothing to do"]
    expect(page.get_by_text("weight 0%")).to_have_count(0)
    shoot(page, screenshots, "session-with-nothing-new")


def phase(status: str, weight: float | None) -> dict[str, Any]:
    return {
        "status": status,
        "weight": weight,
        "progress": {"percentage": 0, "current": 0, "total": None, "failed": 0},
    }


def test_a_session_whose_first_phase_begins_is_starting(page: Page, server: Served, library: Path) -> None:
    session_id = server.create(library, faceDetection={"enabled": False})
    server.ended(session_id)
    at = f"/api/v1/training/sessions/{session_id}"
    session = server.session(session_id) | {"overallStatus": "pending", "trainingStatus": "running"}
    progress = server.client.get(f"{at}/progress-unified").json()
    progress |= {"overallStatus": "pending", "trainingStatus": "running"}
    later = phase("pending", None)
    progress["phases"] = {"training": phase("running", None), "faceDetection": later, "clustering": later}
    page.route("**/events", lambda route: route.abort())
    page.route(f"**{at}/progress-unified", lambda route: route.fulfill(json=progress))
    page.route(f"**{at}", lambda route: route.fulfill(json=session))
    page.goto(f"{server.url}/#/sessions/{session_id}")
    expect(page.locator(".session-head .chip")).to_have_text("starting")
    expect(page.locator(".outlook")).to_have_text("Starting…")


def test_what_was_asked_is_no_news_once_it_is_done(page: Page, server: Served, library: Path) -> None:
    gate = hold_embedding(server.run.engines, 8)
    page.goto(f"{server.url}/#/sessions/{server.create(library)}")
    expect(page.locator("#phase-training")).to_have_text("Training: 20%")
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_text("The session will pause.")).to_be_visible()
    let_pause(server, gate)
    expect(page.get_by_role("heading", name=re.compile("^Paused at"))).to_be_visible()
    expect(page.get_by_text("The session will pause.")).to_be_hidden()

    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("heading", name=re.compile("^Processing"))).to_be_visible()
    expect(page.get_by_text("The session will resume.")).to_be_hidden()
    gate.open()
    expect(page.get_by_role("heading", name="Completed: 100%")).to_be_visible()
    expect(page.locator(".actions .hint")).to_be_empty()


def test_a_retry_is_no_news_once_it_has_ended_even_if_nothing_came_of_it(
    page: Page, server: Served, broken_library: Path
) -> None:
    session_id = server.create(broken_library)
    ended = server.ended(session_id)["completedAt"]
    page.goto(f"{server.url}/#/sessions/{session_id}")
    page.get_by_role("button", name="Retry failed").click()
    server.run.wait_for(lambda _: server.session(session_id)["completedAt"] not in {None, ended}, "the retry to end")
    expect(page.locator(".actions .hint")).to_be_empty()
    expect(page.get_by_role("button", name="Retry failed")).to_be_enabled()


def test_a_refusal_shows_the_session_as_it_is_now(page: Page, server: Served, library: Path) -> None:
    gate = hold_embedding(server.run.engines, 8)
    session_id = server.create(library)
    page.route("**/events", lambda route: route.abort())
    page.goto(f"{server.url}/#/sessions/{session_id}")
    expect(page.locator("#phase-training")).to_have_text("Training: 20%")
    page.route("**/progress-unified", lambda route: route.abort())
    gate.open()
    server.ended(session_id)
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("alert")).to_contain_text("it cannot pause any more")
    expect(page.get_by_role("button", name="Delete")).to_be_enabled()
    page.unroute("**/progress-unified")
    expect(page.get_by_role("heading", name="Completed: 100%")).to_be_visible()
    expect(page.get_by_role("alert")).to_contain_text("it cannot pause any more")


def test_a_session_that_only_recognises_people_says_what_it_does(page: Page, known: Served, screenshots: Path) -> None:
    name_by_api(known, 0, "Anna")
    let_pass_end(known)
    page.goto(f"{known.url}/#/sessions")
    row = page.get_by_role("list", name="Sessions").get_by_role("listitem").first
    expect(row).to_contain_text("recognising people again")
    row.get_by_role("link").click()
    expect(page.get_by_role("heading", name="Completed: 100%")).to_be_visible()
    expect(page.locator("#phase-faceDetection")).to_contain_text("Recognising People")
    assert notes(page)[2] == "Groups stay as they are"
    shoot(page, screenshots, "session-recognising")
