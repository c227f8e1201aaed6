"""Training sessions over HTTP: the real server, the real engine on real files, fake networks."""

import base64
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import sqlalchemy as sa

from tests.libraries import write_broken, write_photo, write_photos
from tests.local_runs import data_directory
from tests.served import Served, hold, served
from trainyard.folders import MOST_SUBDIRECTORIES, MOST_SUBDIRECTORY_CHARACTERS

SESSIONS = "/api/v1/training/sessions"


@pytest.fixture(scope="module")
def image_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("photos")
    write_photos(root / "holiday", 12)
    write_photos(root / "broken", 3)
    write_broken(root / "broken")
    (root / "empty").mkdir()
    (root / "hopeless").mkdir()
    write_broken(root / "hopeless")
    (root / "way out").symlink_to(root.parent)
    return root


@pytest.fixture(scope="module")
def server(image_root: Path) -> Iterator[Served]:
    with data_directory() as data_dir, served(data_dir, image_root) as found:
        yield found


@pytest.fixture
def held(server: Served) -> Iterator[Event]:
    """The networks wait until it is set: a session stays in its training."""
    go_on = Event()
    server.run.engines.fake_clip.on_encode = hold(go_on)
    yield go_on
    go_on.set()
    server.run.engines.fake_clip.on_encode = lambda pictures: None


def count(server: Served) -> int:
    return int(server.run.rows("SELECT count(*) FROM training_sessions")[0][0])


def problem(answer: Any, status: int) -> dict[str, Any]:
    """The answer's problem, of this status and in this form."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    assert {"type", "title", "detail", "code"} <= set(body)
    return body


# Making one


def test_a_session_is_made_and_runs_to_its_end(server: Served, image_root: Path) -> None:
    answer = server.client.post(
        SESSIONS,
        json={
            "root_path": str(image_root / "holiday"),
            "subdirectories": ["a"],
            "category": "Holidays",
            "face_detection": {"enabled": True, "min_confidence": 0.6, "min_face_size": 30},
        },
    )
    assert answer.status_code == 201
    made = answer.json()
    assert answer.headers["location"] == f"{SESSIONS}/{made['id']}"
    assert made["overallStatus"] in {"pending", "running"}
    assert made["faceDetection"] == {"enabled": True, "engine": None, "minConfidence": 0.6, "minFaceSize": 30}
    session = server.ended(made["id"])
    assert session["overallStatus"] == session["trainingStatus"] == "completed"
    assert session["rootPath"] == os.path.realpath(image_root / "holiday")
    assert session["category"] == "Holidays"
    assert session["faceDetection"]["engine"] == "fake"
    assert session["images"] == {"total": 6, "processed": 6, "failed": 0, "unchanged": 0, "skipped": 0}
    assert session["percentage"] == 100
    folders = server.client.get(f"{SESSIONS}/{made['id']}/subdirectories").json()
    assert folders == {"items": [{"path": "a", "selected": True, "imageCount": 6}], "nextPageToken": None}


def test_faces_can_be_switched_off(server: Served, image_root: Path) -> None:
    session_id = server.create(image_root / "holiday", faceDetection={"enabled": False})
    assert server.ended(session_id)["faceDetection"]["enabled"] is False
    phases = server.client.get(f"{SESSIONS}/{session_id}/progress-unified").json()["phases"]
    assert {name: phase["status"] for name, phase in phases.items()} == {
        "training": "completed",
        "faceDetection": "skipped",
        "clustering": "skipped",
    }
    assert server.client.get(f"/api/v1/face-sessions/{session_id}").status_code == 404


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({"rootPath": "/etc"}, "rootPath", "OutsideImageRoots"),
        ({"rootPath": "/"}, "rootPath", "OutsideImageRoots"),
        ({"rootPath": "{root}/holiday/../../.."}, "rootPath", "RootNotPlain"),
        ({"rootPath": "{root}/way out"}, "rootPath", "OutsideImageRoots"),
        ({"rootPath": "{root}/way out/etc"}, "rootPath", "OutsideImageRoots"),
        ({"rootPath": "{root}-2"}, "rootPath", "OutsideImageRoots"),
        ({"rootPath": "holiday"}, "rootPath", "RootNotAbsolute"),
        ({"rootPath": "{root}/gone"}, "rootPath", "RootNotFound"),
        ({"rootPath": "{root}/holiday/b/photo 001.png"}, "rootPath", "RootNotFound"),
        ({"rootPath": "{root}/holiday/a/photo 001.png"}, "rootPath", "RootNotAFolder"),
        ({"rootPath": "{root}/" + "x" * 5_000}, "rootPath", "PathTooLong"),
        ({"rootPath": "{root}/" + "x" * 300}, "rootPath", "RootNotFound"),
        ({"rootPath": "{root}/a\0b"}, "rootPath", "InvalidRequest"),
        ({"rootPath": ""}, "rootPath", "InvalidRequest"),
        ({}, "rootPath", "InvalidRequest"),
        ({"rootPath": "{root}", "subdirectories": [".."]}, "subdirectories", "OutsideRoot"),
        ({"rootPath": "{root}", "subdirectories": ["/etc"]}, "subdirectories", "OutsideRoot"),
        ({"rootPath": "{root}", "subdirectories": ["way out"]}, "subdirectories", "OutsideRoot"),
        ({"rootPath": "{root}", "subdirectories": ["gone"]}, "subdirectories", "RootNotFound"),
        ({"rootPath": "{root}", "subdirectories": ["x"] * 1_001}, "subdirectories", "TooManySubdirectories"),
        ({"rootPath": "{root}", "colour": "red"}, "colour", "InvalidRequest"),
        ({"rootPath": "{root}", "category": ""}, "category", "InvalidRequest"),
        (
            {"rootPath": "{root}", "faceDetection": {"minConfidence": 2}},
            "faceDetection.minConfidence",
            "InvalidRequest",
        ),
    ],
    ids=lambda value: str(value)[:60] if isinstance(value, dict) else str(value),
)
def test_a_request_that_cannot_be_done_names_its_field_and_makes_nothing(
    server: Served, image_root: Path, body: dict[str, Any], field: str, code: str
) -> None:
    before = count(server)
    filled = {k: v.replace("{root}", str(image_root)) if isinstance(v, str) else v for k, v in body.items()}
    answer = problem(server.client.post(SESSIONS, json=filled), 422)
    assert answer["code"] == code
    assert [error["field"] for error in answer["errors"]] == [field]
    assert count(server) == before


@pytest.mark.parametrize("content", [b"{", b"[]", b'"x"', b"\xff", b'{"rootPath": "\\ud800"}', b'{"rootPath": 1e999}'])
def test_a_body_that_is_no_request_is_a_problem_too(server: Served, content: bytes) -> None:
    answer = server.client.post(SESSIONS, content=content, headers={"content-type": "application/json"})
    assert problem(answer, 422)["code"] == "InvalidRequest"


def test_both_spellings_of_a_field_at_once_are_refused(server: Served, image_root: Path) -> None:
    both = {"rootPath": str(image_root), "root_path": "/etc"}
    assert problem(server.client.post(SESSIONS, json=both), 422)["code"] == "InvalidRequest"


def test_limits_on_subdirectories_are_those_of_the_core(server: Served, image_root: Path) -> None:
    longest = MOST_SUBDIRECTORY_CHARACTERS // MOST_SUBDIRECTORIES + 1
    names = [f"{i:0{longest}}" for i in range(MOST_SUBDIRECTORIES)]
    answer = server.client.post(SESSIONS, json={"rootPath": str(image_root), "subdirectories": names})
    assert problem(answer, 422)["code"] == "TooManySubdirectories"


# The same request twice


def test_an_idempotency_key_makes_one_session_however_often_it_is_sent(
    server: Served, image_root: Path, held: Event
) -> None:
    before = count(server)

    def post(_: int) -> Any:
        return server.client.post(
            SESSIONS, json={"rootPath": str(image_root / "holiday")}, headers={"Idempotency-Key": "once"}
        )

    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(post, range(8)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.headers["location"] for answer in answers}) == 1
    assert count(server) == before + 1


def test_an_idempotency_key_sent_with_another_request_is_refused(server: Served, image_root: Path) -> None:
    key = {"Idempotency-Key": "mine"}
    body = {"rootPath": str(image_root / "empty")}
    session_id = server.client.post(SESSIONS, json=body, headers=key).json()["id"]
    for other in (
        {**body, "category": "x"},
        {**body, "faceDetection": {"enabled": False}},
        {"rootPath": str(image_root)},
    ):
        refused = problem(server.client.post(SESSIONS, json=other, headers=key), 409)
        assert refused["code"] == "IdempotencyKeyReused"
    server.ended(session_id)
    assert server.client.delete(f"{SESSIONS}/{session_id}").status_code == 204
    assert "deleted" in problem(server.client.post(SESSIONS, json=body, headers=key), 409)["detail"]


def test_the_same_request_is_answered_the_same_whatever_has_changed_since(server: Served, image_root: Path) -> None:
    folder = image_root / "renamed"
    folder.mkdir()
    key = {"Idempotency-Key": "renamed"}
    first = server.client.post(SESSIONS, json={"rootPath": str(folder)}, headers=key)
    server.ended(first.json()["id"])
    folder.rmdir()
    again = server.client.post(SESSIONS, json={"root_path": str(folder)}, headers=key)
    assert (again.status_code, again.json()["id"]) == (201, first.json()["id"])
    other = server.client.post("/api/v1/face-sessions", json={}, headers=key)
    assert problem(other, 409)["code"] == "IdempotencyKeyReused"


def test_a_subdirectory_is_one_however_it_is_spelt(server: Served, image_root: Path) -> None:
    folder = write_photos(image_root / "spelt", 4)
    session_id = server.create(folder, subdirectories=["a", "a/", "./a", "a//"])
    session = server.ended(session_id)
    assert (session["subdirectories"], session["subdirectoryCount"]) == (["a"], 1)
    assert session["images"]["total"] == 2


# Looking


def test_sessions_are_listed_newest_first_a_page_at_a_time(server: Served, image_root: Path) -> None:
    made = [server.create(image_root / "empty") for _ in range(5)]
    for session_id in made:
        server.ended(session_id)
    seen: list[int] = []
    token = None
    while True:
        query = {"limit": 2, **({"pageToken": token} if token else {})}
        page = server.client.get(SESSIONS, params=query).json()
        assert len(page["items"]) <= 2
        seen += [session["id"] for session in page["items"]]
        token = page["nextPageToken"]
        if token is None:
            break
    assert seen == sorted(seen, reverse=True)
    assert seen[:5] == made[::-1]
    completed = server.client.get(SESSIONS, params={"status": "completed", "limit": 1000}).json()["items"]
    assert set(made) <= {session["id"] for session in completed}
    assert {session["overallStatus"] for session in completed} == {"completed"}


@pytest.mark.parametrize(
    "query",
    [
        {"limit": 0}, {"limit": 1_001}, {"limit": "many"}, {"pageToken": "x"}, {"pageToken": "é"},
        {"pageToken": "InRleHQi"}, {"pageToken": "dHJ1ZQ"}, {"pageToken": "MjE0NzQ4MzY0OA"}, {"pageToken": "LTE"},
        {"pageToken": "bnVsbA"}, {"status": "asleep"},
    ],
)  # fmt: skip
def test_a_list_asked_for_badly_says_what_is_wrong(server: Served, query: dict[str, Any]) -> None:
    answer = problem(server.client.get(SESSIONS, params=query), 422)
    assert [error["field"] for error in answer["errors"]] == list(query)


@pytest.mark.parametrize("path", ["", "/progress", "/progress-unified", "/failures", "/subdirectories"])
def test_a_session_that_is_not_there_is_a_404(server: Served, path: str) -> None:
    assert problem(server.client.get(f"{SESSIONS}/999999{path}"), 404)["code"] == "NoSuchSession"


@pytest.mark.parametrize("session_id", ["0", "-1", "2147483648", "99999999999999999999", "one", "1.5", "%00"])
def test_an_id_that_can_be_no_session_is_refused(server: Served, session_id: str) -> None:
    assert problem(server.client.get(f"{SESSIONS}/{session_id}"), 422)["code"] == "InvalidRequest"


def test_progress_reads_as_it_was_specified(server: Served, image_root: Path, held: Event) -> None:
    session_id = server.create(write_photos(image_root / "progress", 12))
    server.run.wait_for(
        lambda c: c.execute(
            sa.text("SELECT 1 FROM steps WHERE session_id = :id AND step = 'embed' AND status = 'running'"),
            {"id": session_id},
        ).first(),
        "embedding to begin",
    )
    unified = server.client.get(f"{SESSIONS}/{session_id}/progress-unified").json()
    assert list(unified) == [
        "sessionId", "overallStatus", "trainingStatus", "waiting", "filesFound", "overallProgress", "phases",
    ]  # fmt: skip
    assert unified["overallStatus"] == unified["trainingStatus"] == "running"
    assert list(unified["phases"]) == ["training", "faceDetection", "clustering"]
    assert unified["phases"]["faceDetection"]["status"] == "pending"
    plain = server.client.get(f"{SESSIONS}/{session_id}/progress").json()
    assert list(plain) == ["sessionId", "status", "progress"]
    assert list(plain["progress"]) == ["current", "total", "percentage", "eta_seconds"]
    assert plain["progress"] == {"current": 0, "total": 12, "percentage": 0.0, "eta_seconds": None}
    held.set()
    server.ended(session_id)


def test_failures_are_listed_with_their_reasons(server: Served, image_root: Path) -> None:
    session_id = server.create(image_root / "hopeless")
    session = server.ended(session_id)
    assert session["overallStatus"] == "failed"
    assert session["failure"]["code"] == "AllImagesFailed"
    first = server.client.get(f"{SESSIONS}/{session_id}/failures", params={"limit": 2}).json()
    rest = server.client.get(
        f"{SESSIONS}/{session_id}/failures", params={"limit": 2, "pageToken": first["nextPageToken"]}
    ).json()
    failed = first["items"] + rest["items"]
    assert rest["nextPageToken"] is None
    assert sorted(Path(image["path"]).name for image in failed) == ["cut off.jpg", "empty.png", "text.jpg"]
    assert all(image["code"] and image["message"] and image["phase"] == "training" for image in failed)


# Verbs


def ask(server: Served, session_id: int, verb: str) -> tuple[int, str]:
    answer = server.ask(session_id, verb)
    return answer.status_code, answer.json()["code"]


def test_an_unfinished_session_pauses_resumes_and_is_cancelled(server: Served, image_root: Path, held: Event) -> None:
    session_id = server.create(image_root / "holiday", category="verbs", faceDetection={"minFaceSize": 5})
    assert ask(server, session_id, "retry") == (409, "NotEnded")
    assert ask(server, session_id, "resume") == (200, "NothingToDo")
    assert problem(server.client.delete(f"{SESSIONS}/{session_id}"), 409)["code"] == "NotEnded"
    assert ask(server, session_id, "pause") == (202, "Accepted")
    assert server.session(session_id)["requested"] == "pause"
    held.set()
    server.run.wait_for(
        lambda c: c.execute(
            sa.text("SELECT 1 FROM training_sessions WHERE id = :id AND status = 'paused'"), {"id": session_id}
        ).first(),
        "the session to pause",
    )
    assert ask(server, session_id, "pause") == (200, "NothingToDo")
    assert ask(server, session_id, "retry") == (409, "NotEnded")
    assert ask(server, session_id, "resume") == (202, "Accepted")
    assert ask(server, session_id, "cancel") == (202, "Accepted")
    assert server.ended(session_id)["overallStatus"] == "cancelled"
    assert ask(server, session_id, "cancel") == (200, "AlreadyCancelled")
    for verb in ("pause", "resume", "retry"):
        assert ask(server, session_id, verb)[0] == 409


def test_a_clean_session_has_nothing_to_pause_or_retry(server: Served, image_root: Path) -> None:
    session_id = server.create(image_root / "empty")
    server.ended(session_id)
    assert ask(server, session_id, "retry") == (409, "NothingToRetry")
    for verb in ("pause", "resume", "cancel"):
        assert ask(server, session_id, verb) == (409, "SessionEnded")


def test_what_failed_is_tried_again_and_what_was_mended_is_done(server: Served, image_root: Path) -> None:
    folder = write_photos(image_root / "mended", 4)
    good = (folder / "a" / "photo 001.png").read_bytes()
    (folder / "a" / "photo 001.png").write_bytes(b"")
    session_id = server.create(folder)
    assert server.ended(session_id)["images"]["failed"] == 1
    (folder / "a" / "photo 001.png").write_bytes(good)
    assert ask(server, session_id, "retry") == (202, "Accepted")
    server.run.wait_for(
        lambda c: c.execute(
            sa.text("SELECT 1 FROM training_sessions WHERE id = :id AND failed = 0 AND status = 'completed'"),
            {"id": session_id},
        ).first(),
        "the retry to end",
    )
    assert server.client.get(f"{SESSIONS}/{session_id}/failures").json()["items"] == []
    assert ask(server, session_id, "retry") == (409, "NothingToRetry")


def test_an_unknown_verb_or_method_is_a_problem(server: Served, image_root: Path) -> None:
    session_id = server.create(image_root / "empty")
    server.ended(session_id)
    assert problem(server.ask(session_id, "explode"), 422)["errors"][0]["field"] == "verb"
    problem(server.client.put(f"{SESSIONS}/{session_id}"), 405)
    problem(server.client.get("/api/v1/nothing"), 404)


# Deleting


def test_a_deleted_session_is_gone_everywhere_and_its_id_is_not_used_again(server: Served, image_root: Path) -> None:
    session_id = server.create(image_root / "empty")
    server.ended(session_id)
    assert server.client.delete(f"{SESSIONS}/{session_id}").status_code == 204
    for path in ("", "/progress", "/progress-unified", "/failures", "/subdirectories"):
        assert server.client.get(f"{SESSIONS}/{session_id}{path}").status_code == 404
    problem(server.client.delete(f"{SESSIONS}/{session_id}"), 404)
    problem(server.ask(session_id, "retry"), 404)
    assert session_id not in [item["id"] for item in server.client.get(SESSIONS).json()["items"]]
    assert server.run.rows("SELECT deleted_at IS NOT NULL FROM training_sessions WHERE id = :id", id=session_id)[0][0]
    assert server.create(image_root / "empty") > session_id


# Several clients at once


def test_two_clients_that_race_to_pause_and_cancel_get_answers_that_agree(
    server: Served, image_root: Path, held: Event
) -> None:
    session_id = server.create(image_root / "holiday", category="race", faceDetection={"minFaceSize": 4})
    verbs = ["pause", "cancel"] * 6
    with ThreadPoolExecutor(12) as clients:
        answers = list(clients.map(lambda verb: (verb, *ask(server, session_id, verb)), verbs))
    assert [code for verb, status, code in answers if verb == "cancel" and status == 202] == ["Accepted"]
    assert {status for _, status, _ in answers} <= {200, 202, 409}
    held.set()
    assert server.ended(session_id)["overallStatus"] == "cancelled"


def test_two_sessions_over_the_same_folder_at_once_do_each_photo_once(server: Served, image_root: Path) -> None:
    folder = write_photos(image_root / "twice", 10)
    seen = server.run.engines.fake_clip.seen
    with ThreadPoolExecutor(2) as clients:
        one, two = clients.map(lambda _: server.create(folder), range(2))
    sessions = [server.ended(session_id) for session_id in (one, two)]
    assert server.run.engines.fake_clip.seen - seen == 10
    assert sorted(session["images"]["unchanged"] for session in sessions) == [0, 10]
    scans = "SELECT count(*) FROM face_scans s JOIN image_assets a ON a.id = s.asset_id WHERE a.path_text LIKE :folder"
    assert server.run.rows(scans, folder=f"{os.path.realpath(folder)}/%")[0][0] == 10
    jobs = "SELECT count(*) FROM training_jobs WHERE step = 'detect' AND session_id IN (:one, :two)"
    assert server.run.rows(jobs, one=one, two=two)[0][0] == 10


# Face sessions and categories


def test_every_session_that_looks_for_faces_is_a_face_session(server: Served, image_root: Path) -> None:
    folder = image_root / "faces"
    for number in range(6):
        write_photo(folder / f"{number}.png", number, (70, 71) if number < 2 else (70 + number % 2,))
    session_id = server.create(folder)
    server.ended(session_id)
    face_session = server.client.get(f"/api/v1/face-sessions/{session_id}").json()
    assert face_session["id"] == face_session["trainingSessionId"] == session_id
    assert face_session["status"] == "completed"
    assert face_session["totalImages"] == face_session["processedImages"] == face_session["currentAssetIndex"] == 6
    assert face_session["facesDetected"] == 8
    assigned = face_session["facesAssignedToPersons"] + face_session["clustersCreated"]
    assert face_session["facesAssigned"] == assigned
    assert face_session["clustersCreated"] > 0  # new people, so new groups
    listed = server.client.get("/api/v1/face-sessions", params={"limit": 1}).json()
    assert listed["items"] == [face_session]
    assert ask_face(server, session_id, "retry") == (409, "NothingToRetry")


def ask_face(server: Served, session_id: int, verb: str) -> tuple[int, str]:
    answer = server.client.post(f"/api/v1/face-sessions/{session_id}/{verb}")
    return answer.status_code, answer.json()["code"]


def test_faces_are_found_afterwards_by_a_face_session_of_its_own(server: Served, image_root: Path) -> None:
    folder = write_photos(image_root / "later", 6)
    training = server.create(folder, faceDetection={"enabled": False})
    server.ended(training)
    answer = server.client.post("/api/v1/face-sessions", json={"training_session_id": training, "min_face_size": 10})
    assert answer.status_code == 201
    made = answer.json()
    assert answer.headers["location"] == f"/api/v1/face-sessions/{made['id']}"
    assert (made["trainingSessionId"], made["minFaceSize"]) == (training, 10)
    session = server.ended(made["id"])
    assert (session["overallStatus"], session["trainingStatus"]) == ("completed", "skipped")
    assert session["sourceSessionId"] == training
    done = server.client.get(f"/api/v1/face-sessions/{made['id']}").json()
    assert (done["status"], done["totalImages"], done["facesDetected"]) == ("completed", 6, 8)


def test_a_face_session_without_a_source_looks_at_what_has_no_scan(server: Served, image_root: Path) -> None:
    folder = write_photos(image_root / "unscanned", 5)
    server.ended(server.create(folder, faceDetection={"enabled": False}))
    unscanned = server.run.rows("""
        SELECT count(DISTINCT e.asset_id) FROM training_evidence e LEFT JOIN face_scans s ON s.asset_id = e.asset_id
        WHERE s.asset_id IS NULL
    """)[0][0]
    made = server.client.post("/api/v1/face-sessions", json={}).json()
    assert made["trainingSessionId"] is None
    assert server.ended(made["id"])["overallStatus"] == "completed"
    assert server.client.get(f"/api/v1/face-sessions/{made['id']}").json()["totalImages"] == unscanned >= 5


def test_a_face_session_of_a_session_that_is_not_there_is_refused(server: Served) -> None:
    answer = problem(server.client.post("/api/v1/face-sessions", json={"trainingSessionId": 999_999}), 422)
    assert (answer["code"], answer["errors"][0]["field"]) == ("NoSuchSession", "trainingSessionId")


def test_categories_are_made_once_and_listed_by_name(server: Served) -> None:
    made = server.client.post("/api/v1/categories", json={"name": "Ünlü ✨"})
    again = server.client.post("/api/v1/categories", json={"name": "Ünlü ✨"})
    assert (made.status_code, again.status_code) == (201, 200)
    assert made.json() == again.json()
    names: list[str] = []
    token = None
    while True:
        query = {"limit": 1, **({"pageToken": token} if token else {})}
        page = server.client.get("/api/v1/categories", params=query).json()
        names += [category["name"] for category in page["items"]]
        token = page["nextPageToken"]
        if token is None:
            break
    assert names == sorted(set(names))
    assert "Ünlü ✨" in names
    stripped = server.client.post("/api/v1/categories", json={"name": "  Ünlü ✨ "})
    assert stripped.json() == made.json()
    for name in ("a\0b", " ", "\t", "a\nb", "x" * 201, "\ud800"):
        body = json.dumps({"name": name})
        refused = server.client.post("/api/v1/categories", content=body, headers={"content-type": "application/json"})
        assert problem(refused, 422)["errors"][0]["field"] == "name", name


@pytest.mark.parametrize("last", ["\0", "\ud800", 1, None, ["a"]])
def test_a_page_token_that_was_made_up_is_refused(server: Served, last: Any) -> None:
    token = base64.urlsafe_b64encode(json.dumps(last).encode()).decode().rstrip("=")
    answer = server.client.get("/api/v1/categories", params={"pageToken": token})
    assert problem(answer, 422)["code"] == "BadPageToken"


def test_photos_that_were_touched_count_as_unchanged_and_the_counts_add_up(server: Served, image_root: Path) -> None:
    folder = write_photos(image_root / "touched", 6)
    server.ended(server.create(folder))
    for photo in folder.rglob("*.png"):
        os.utime(photo, (1, 1))
    images = server.ended(server.create(folder))["images"]
    assert images == {"total": 6, "processed": 0, "failed": 0, "unchanged": 6, "skipped": 0}
