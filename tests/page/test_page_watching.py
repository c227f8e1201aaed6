"""One session on the page, from its making to its end."""

import re
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.libraries import write_photo
from tests.page.browsing import bars, hold_detection, hold_embedding, let_pause, shoot
from tests.served import Served


def open_session(page: Page, server: Served, session_id: int) -> None:
    page.goto(f"{server.url}/#/sessions/{session_id}")


def test_half_the_faces_after_all_the_photos_is_62_5_percent(
    page: Page, server: Served, library: Path, screenshots: Path
) -> None:
    gate = hold_detection(server.run.engines, 20)
    session_id = server.create(library)
    open_session(page, server, session_id)
    expect(page.get_by_role("heading", level=2).first).to_have_text("Processing Training Pipeline: 62.5%")
    assert bars(page) == {"Training": "100%", "Face Detection (InsightFace)": "50%", "Clustering": "0%"}
    face_bar = page.get_by_role("progressbar", name="Face Detection (InsightFace): 50%")
    expect(face_bar).to_have_js_property("value", 50)
    expect(page.get_by_text("20 of 40")).to_be_visible()
    expect(page.get_by_text("weight 65%")).to_be_visible()
    expect(page).to_have_title(re.compile(r"^62\.5% · photos"))
    shoot(page, screenshots, "session-half-way")
    gate.open()
    expect(page.get_by_role("heading", name="Completed: 100%")).to_be_visible()
    expect(page.get_by_role("region", name="Faces")).to_contain_text("faces found")
    expect(page.get_by_role("region", name="Faces")).to_contain_text("one person, who has no name yet")
    shoot(page, screenshots, "session-completed")


def test_the_bars_grow_as_photos_are_done(page: Page, server: Served, library: Path) -> None:
    gate = hold_embedding(server.run.engines)
    open_session(page, server, server.create(library))
    label = page.locator("#phase-training")
    for expected in ("Training: 20%", "Training: 40%", "Training: 60%"):
        gate.let(8)
        expect(label).to_have_text(expected)
    expect(page.get_by_text("photos/s")).to_be_visible()
    gate.open()
    expect(label).to_have_text("Training: 100%")


def test_broken_photos_are_explained_and_done_once_they_are_mended(
    page: Page, server: Served, broken_library: Path, screenshots: Path
) -> None:
    open_session(page, server, server.create(broken_library))
    expect(page.get_by_role("heading", name="Completed: 100%")).to_be_visible()
    failures = page.get_by_role("region", name="Failures")
    expect(failures.get_by_role("row")).to_have_count(1 + 3)
    expect(failures.get_by_role("row").filter(has_text="empty.png")).to_contain_text("truncated")
    expect(failures.get_by_role("row").filter(has_text="text.jpg")).to_contain_text("not_an_image")
    shoot(page, screenshots, "session-failures")

    for number, name in enumerate(("cut off.jpg", "empty.png", "text.jpg")):
        write_photo(broken_library / "mended.png", 100 + number)
        (broken_library / "mended.png").rename(broken_library / name)
    page.get_by_role("button", name="Retry failed").click()
    expect(failures).to_be_hidden()
    expect(page.get_by_role("heading", name="Completed: 100%")).to_be_visible()
    expect(page.get_by_role("button", name="Retry failed")).to_be_disabled()
    assert server.session(1)["images"]["failed"] == 0


def test_a_session_is_paused_resumed_and_cancelled(page: Page, server: Served, library: Path) -> None:
    gate = hold_embedding(server.run.engines, 8)
    session_id = server.create(library)
    open_session(page, server, session_id)
    expect(page.locator("#phase-training")).to_have_text("Training: 20%")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator(".session-head .chip")).to_have_text(re.compile("pausing|paused"))
    let_pause(server, gate)
    expect(page.get_by_role("heading", name=re.compile("^Paused at"))).to_be_visible()
    expect(page.get_by_role("button", name="Pause")).to_be_disabled()

    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("heading", name=re.compile("^Processing Training Pipeline"))).to_be_visible()

    page.get_by_role("button", name="Cancel").click()
    question = page.get_by_role("dialog", name="Cancel this session?")
    page.keyboard.press("Escape")
    expect(question).to_have_count(0)
    assert server.session(session_id)["requested"] == "run"
    page.get_by_role("button", name="Cancel").click()
    question.get_by_role("button", name="Cancel the session").click()
    gate.open()
    expect(page.get_by_role("heading", name=re.compile("^Cancelled at"))).to_be_visible()
    assert server.session(session_id)["overallStatus"] == "cancelled"


def test_an_ended_session_is_deleted_after_a_question(page: Page, server: Served, library: Path) -> None:
    session_id = server.create(library)
    server.ended(session_id)
    open_session(page, server, session_id)
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Delete the session").click()
    expect(page.get_by_role("heading", name="No sessions yet")).to_be_visible()
    open_session(page, server, session_id)
    expect(page.get_by_role("heading", name="There is no such session")).to_be_visible()


def test_a_session_without_faces_skips_them_and_their_groups(
    page: Page, server: Served, library: Path, screenshots: Path
) -> None:
    open_session(page, server, server.create(library, faceDetection={"enabled": False}))
    expect(page.get_by_role("heading", name="Completed: 100%")).to_be_visible()
    assert bars(page) == {"Training": "100%", "Face Detection (InsightFace)": "skipped", "Clustering": "skipped"}
    expect(page.get_by_role("region", name="Faces")).to_be_hidden()
    shoot(page, screenshots, "session-without-faces")


def test_what_a_session_waits_for_is_said(page: Page, server: Served, library: Path, screenshots: Path) -> None:
    gate = hold_embedding(server.run.engines, 8)
    first = server.create(library)
    server.run.wait_for(lambda _: server.session(first)["overallStatus"] == "running", "the first to run")
    second = server.create(library)
    server.run.waiting_code(second, "Queued")
    open_session(page, server, second)
    expect(page.get_by_text("Waiting:")).to_be_visible()
    expect(page.get_by_role("status").filter(has_text="Queued")).to_contain_text("since")
    shoot(page, screenshots, "session-waiting")
    gate.open()
    expect(page.get_by_role("heading", name="Completed: 100%")).to_be_visible()
    expect(page.get_by_text("Waiting:")).to_be_hidden()


def test_finding_photos_shows_how_many_and_no_percentage_of_them(page: Page, server: Served, library: Path) -> None:
    session_id = server.create(library)
    server.ended(session_id)
    progress = server.client.get(f"/api/v1/training/sessions/{session_id}/progress-unified").json()
    phase = {
        "status": "pending",
        "weight": None,
        "progress": {"percentage": 0, "current": 0, "total": None, "failed": 0},
    }
    progress |= {
        "overallStatus": "running", "filesFound": 12_345, "overallProgress": {"percentage": 0, "etaSeconds": None},
        "phases": {"training": {**phase, "status": "running"}, "faceDetection": phase, "clustering": phase},
    }  # fmt: skip
    page.route("**/events", lambda route: route.abort())
    page.route("**/progress-unified", lambda route: route.fulfill(json=progress))
    open_session(page, server, session_id)
    expect(page.get_by_text("12,345 photos found so far")).to_be_visible()
    expect(page.get_by_role("heading", name="Processing Training Pipeline: 0%")).to_be_visible()
    assert page.locator("progress.large").get_attribute("value") is None
