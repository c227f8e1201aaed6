"""Search over HTTP: everything asked for must be met, by the rows; ranked by points, or the newest first."""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from api.search_filters import Filters, condition
from api.search_newest import After, count, newest
from tests.query_plans import rows_read
from tests.search_rows import Library, towards
from tests.served_rows import ServedRows, served_rows
from trainyard.tables import image_assets, models
from trainyard.vectors import image_point

DAY = datetime(2024, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def server(database_url: str, tmp_path: Path) -> Iterator[ServedRows]:
    with served_rows(database_url, tmp_path, image_roots="/photos") as server:
        yield server


@pytest.fixture
def library(server: ServedRows) -> Library:
    return Library(server.services)


def search(server: ServedRows, **query: Any) -> httpx.Response:
    return server.client.get("/api/v1/search", params=query)


def found(server: ServedRows, **query: Any) -> dict[str, Any]:
    answer = search(server, **query)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def ids(page: dict[str, Any]) -> list[int]:
    return [item["image"]["id"] for item in page["items"]]


def paged(server: ServedRows, **query: Any) -> list[list[int]]:
    """The ids of every page, by their tokens."""
    pages, token = [], None
    while not pages or token:
        page = found(server, **query, **({"pageToken": token} if token else {}))
        pages.append(ids(page))
        token = page["nextPageToken"]
    return pages


def change(server: ServedRows, image_id: int, **columns: Any) -> None:
    with server.services.database.engine.begin() as connection:
        connection.execute(sa.update(image_assets).where(image_assets.c.id == image_id).values(**columns))


# The newest first


def test_photos_come_by_when_they_were_taken_else_found(server: ServedRows, library: Library) -> None:
    old = library.add("/photos/old.jpg", taken_at=DAY - timedelta(days=1))
    unknown = library.add("/photos/unknown.jpg", created_at=DAY)
    new = library.add("/photos/new.jpg", taken_at=DAY + timedelta(days=1), created_at=DAY - timedelta(days=9))
    page = found(server)
    assert ids(page) == [new, unknown, old]
    assert (page["total"], page["nextPageToken"]) == (3, None)
    assert {item["similarity"] for item in page["items"]} == {None}
    assert page["items"][0]["image"] == server.client.get(f"/api/v1/images/{new}").json()


def test_pages_hold_every_photo_once_also_of_the_same_moment(server: ServedRows, library: Library) -> None:
    photos = [library.add(f"/photos/{n}.jpg", taken_at=DAY) for n in range(7)]
    pages = paged(server, limit=3)
    assert [len(page) for page in pages] == [3, 3, 1]
    assert [photo for page in pages for photo in page] == photos[::-1]


def test_a_grid_may_jump(server: ServedRows, library: Library) -> None:
    photos = [library.add(f"/photos/{n}.jpg", taken_at=DAY - timedelta(hours=n)) for n in range(10)]
    page = found(server, skip=4, limit=3)
    assert (ids(page), page["total"]) == (photos[4:7], 10)
    assert ids(found(server, limit=3, pageToken=page["nextPageToken"])) == photos[7:]
    beyond = found(server, skip=10)
    assert (beyond["items"], beyond["total"], beyond["nextPageToken"]) == ([], 10, None)


def test_photos_of_which_there_is_no_picture_or_that_may_not_be_read_are_not_shown(
    server: ServedRows, library: Library
) -> None:
    library.add("/photos/gone.jpg", missing_since=DAY)
    library.add("/photos/broken.jpg", broken_code="truncated", broken_message="cut off")
    library.add("/elsewhere/a.jpg")
    library.add("/photos-beside/a.jpg")
    shown = library.add("/photos/a.jpg")
    unread = library.add("/photos/b.jpg", content_sha256=None)
    page = found(server)
    assert (ids(page), page["total"]) == ([unread, shown], 2)


# What must be met


def test_persons_must_be_in_the_photo_together(server: ServedRows, library: Library) -> None:
    anna, ben, eva = (library.person(name) for name in ("Anna", "Ben", "Eva"))
    both = library.add("/photos/both.jpg", people=(anna, ben, anna))
    alone = library.add("/photos/alone.jpg", people=(anna,))
    library.add("/photos/nobody.jpg")
    assert ids(found(server, personId=anna)) == [alone, both]
    page = found(server, personId=[ben, anna])
    assert (ids(page), page["total"]) == ([both], 1)
    assert found(server, personId=[anna, eva])["total"] == 0
    assert found(server, personId=2**31 - 1)["total"] == 0


def test_faces_of_another_network_or_of_earlier_content_say_nothing(server: ServedRows, library: Library) -> None:
    anna = library.person("Anna")
    photo = library.add("/photos/a.jpg")
    content = hashlib.sha256(b"/photos/a.jpg").digest()
    other = Library(server.services, "2" * 64)
    with server.services.database.engine.begin() as connection:
        values = {**other._card(), "kind": "face", "active": False}
        stranger = connection.execute(sa.insert(models).values(values).returning(models.c.id)).scalar_one()
    library.face(photo, content, 0, anna, stranger)
    library.face(photo, b"before", 0, anna)
    assert found(server, personId=anna)["total"] == 0
    library.face(photo, content, 0, anna)
    assert ids(found(server, personId=anna)) == [photo]


def test_categories_are_any_of_those_named(server: ServedRows, library: Library) -> None:
    sea, snow = library.category("Sea"), library.category("Snow")
    photos = [library.add(f"/photos/{n}.jpg", category_id=c) for n, c in enumerate((sea, snow, None))]
    assert ids(found(server, categoryId=[sea, snow, 99])) == [photos[1], photos[0]]
    assert ids(found(server, categoryId=snow)) == [photos[1]]


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ({"takenFrom": "2024-05-02"}, [3, 2]),
        ({"takenTo": "2024-05-01"}, [1, 0]),  # that day included
        ({"takenFrom": "2024-05-02", "takenTo": "2024-05-02"}, [2]),
        ({"takenFrom": "2024-05-01T12:00:00Z", "takenTo": "2024-05-02T00:00:00Z"}, [1]),
        ({"takenFrom": "2024-05-01T14:00:00+02:00", "takenTo": "2024-05-01T12:00:00"}, [1]),
        ({"takenFrom": "2024-06-01"}, []),
    ],
)
def test_a_span_of_time_has_both_its_ends_and_no_photo_of_an_unknown_time(
    server: ServedRows, library: Library, asked: dict[str, str], shown: list[int]
) -> None:
    hours = (-2, 0, 24, 48)
    photos = [library.add(f"/photos/{hour}.jpg", taken_at=DAY + timedelta(hours=hour)) for hour in hours]
    library.add("/photos/unknown.jpg", created_at=DAY)
    assert ids(found(server, **asked)) == [photos[number] for number in shown]


def test_everything_is_met_at_once_in_pages(server: ServedRows, library: Library) -> None:
    anna, sea = library.person("Anna"), library.category("Sea")
    meets = {"people": (anna,), "category_id": sea, "taken_at": DAY}
    photos = [library.add(f"/photos/{n}.jpg", towards(n / 10), **meets) for n in range(5)]
    for n, other in enumerate(({"people": ()}, {"category_id": None}, {"taken_at": DAY + timedelta(days=1)})):
        library.add(f"/photos/not {n}.jpg", towards(0.05), **{**meets, **other})
    asked = {"personId": anna, "categoryId": sea, "takenTo": "2024-05-01"}
    assert paged(server, limit=2, **asked) == [photos[:2:-1], photos[2:0:-1], photos[:1]]
    assert paged(server, limit=2, similarTo=photos[0], **asked) == [photos[1:3], photos[3:]]


# By likeness


def test_the_most_alike_come_first_and_a_photo_is_not_like_itself(server: ServedRows, library: Library) -> None:
    photos = [library.add(f"/photos/{n}.jpg", towards(n / 10)) for n in range(6)]
    page = found(server, similarTo=photos[0])
    assert ids(page) == photos[1:]
    assert page["items"][0]["similarity"] == pytest.approx(0.995, abs=1e-4)
    assert (page["total"], page["nextPageToken"]) == (None, None)
    assert paged(server, similarTo=photos[0], limit=2) == [photos[1:3], photos[3:5], photos[5:]]


def test_points_that_rows_do_not_bear_out_are_passed_over_and_pages_stay_full(
    server: ServedRows, library: Library
) -> None:
    liked = library.add("/photos/liked.jpg", towards(0))
    for n in range(30):  # more than are asked for to spare
        library.add(f"/elsewhere/{n}.jpg", towards(0.01))
    library.add("/photos/gone.jpg", towards(0.01), missing_since=DAY)
    library.add("/photos/broken.jpg", towards(0.01), broken_code="truncated", broken_message="cut off")
    changed = library.add("/photos/changed.jpg", towards(0.01))
    change(server, changed, content_sha256=b"another")
    server.services.vectors.upsert(
        library.collection, [image_point(999, b"", "no row")], towards(0.01)[None], [{"asset_id": 999}]
    )
    photos = [library.add(f"/photos/{n}.jpg", towards(0.1 + n / 10)) for n in range(5)]
    assert paged(server, similarTo=liked, limit=2) == [photos[:2], photos[2:4], photos[4:]]
    assert [
        item["image"]["id"] for item in server.client.get(f"/api/v1/images/{liked}/similar").json()["items"]
    ] == photos


def test_a_payload_that_is_behind_its_row_cannot_lie(server: ServedRows, library: Library) -> None:
    anna, ben, sea = library.person("Anna"), library.person("Ben"), library.category("Sea")
    liked = library.add("/photos/liked.jpg", towards(0))
    behind = {"person_ids": [anna, ben], "category_id": sea, "taken_at": DAY.isoformat()}
    library.add("/photos/a.jpg", towards(0.1), people=(ben,), taken_at=DAY + timedelta(days=400), payload=behind)
    for asked in ({"personId": anna}, {"categoryId": sea}, {"takenTo": "2024-05-01"}):
        assert found(server, similarTo=liked, **asked)["items"] == []
    assert len(found(server, similarTo=liked, personId=ben)["items"]) == 1


def test_only_so_many_points_are_looked_at(
    server: ServedRows, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.search_ranked.MOST_RANKED", 10)
    monkeypatch.setattr("api.search_ranked.SPARE", 1)
    photos = [library.add(f"/photos/{n:02}.jpg", towards(n / 20)) for n in range(20)]
    pages = paged(server, similarTo=photos[0], limit=4)
    assert pages[:2] == [photos[1:5], photos[5:9]]
    assert sum(map(len, pages)) < 15


def test_a_photo_that_was_not_embedded_is_like_nothing(server: ServedRows, library: Library) -> None:
    photo = library.add("/photos/a.jpg")
    answer = search(server, similarTo=photo)
    assert (answer.status_code, answer.json()["code"]) == (409, "NotEmbedded")
    hidden = library.add("/elsewhere/a.jpg", towards(0))
    for image_id in (hidden, 10**9):
        answer = search(server, similarTo=image_id)
        assert (answer.status_code, answer.json()["code"]) == (404, "NoSuchImage")


# Tokens and mistakes


def test_a_token_of_another_question_is_refused(server: ServedRows, library: Library) -> None:
    photos = [library.add(f"/photos/{n}.jpg", towards(n / 10), taken_at=DAY) for n in range(5)]
    newest_token = found(server, limit=2)["nextPageToken"]
    ranked_token = found(server, limit=2, similarTo=photos[0])["nextPageToken"]
    assert found(server, limit=1, pageToken=newest_token)["items"]  # pages may differ in size
    for query in (
        {"pageToken": newest_token, "takenFrom": "2024-01-01"},
        {"pageToken": newest_token, "similarTo": photos[0]},
        {"pageToken": ranked_token, "similarTo": photos[1]},
        {"pageToken": ranked_token, "similarTo": photos[0], "categoryId": 1},
        {"pageToken": ranked_token},
        {"pageToken": "rubbish"},
    ):
        answer = search(server, **query)
        assert (answer.status_code, answer.json()["code"]) == (422, "BadPageToken"), query


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"skip": 1, "similarTo": 1}, "skip"),
        ({"skip": 1, "text": "a dog"}, "skip"),
        ({"skip": 1, "pageToken": "x"}, "skip"),
        ({"skip": -1}, "skip"),
        ({"limit": 1_001}, "limit"),
        ({"personId": 0}, "personId.0"),
        ({"personId": list(range(1, 22))}, "personId"),
        ({"categoryId": "sea"}, "categoryId.0"),
        ({"takenFrom": "yesterday"}, "takenFrom"),
        ({"takenFrom": "2024"}, "takenFrom"),
        ({"takenTo": "20240601"}, "takenTo"),
        ({"takenTo": "2024-02-30"}, "takenTo"),
        ({"text": "  "}, "text"),
        ({"text": "x" * 1_001}, "text"),
        ({"person": 1}, "person"),
    ],
)
def test_mistakes_are_named(server: ServedRows, query: dict[str, Any], field: str) -> None:
    answer = search(server, **query)
    assert answer.status_code == 422, answer.text
    assert [error["field"] for error in answer.json()["errors"]] == [field]


def test_without_a_text_tower_words_find_nothing_but_what_to_do(server: ServedRows, library: Library) -> None:
    answer = search(server, text="a dog")
    assert (answer.status_code, answer.json()["code"]) == (409, "TextSearchUnavailable")
    assert "`trainyard models download clip`" in answer.json()["detail"]
    assert server.client.get("/api/v1/system").json()["textSearch"] is False


# What it costs


MANY = 100_000


@pytest.fixture(scope="module")
def many(module_database_url: str) -> Iterator[sa.Connection]:
    """As many photos, one an hour, of a library whose statistics the database knows."""
    engine = sa.create_engine(module_database_url)
    with engine.connect() as connection:
        connection.execute(
            sa.text("""
            INSERT INTO image_assets (path, path_sha256, path_text, content_sha256, taken_at)
            SELECT convert_to(path, 'UTF8'), sha256(convert_to(path, 'UTF8')), path, sha256(convert_to(path, 'UTF8')),
                   CASE WHEN n % 10 <> 0 THEN timestamptz '2010-01-01Z' + n * interval '1 hour' END
            FROM (SELECT n, '/photos/' || n || '.jpg' AS path FROM generate_series(1, :many) n) named
            """),
            {"many": MANY},
        )
        connection.commit()
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(sa.text("VACUUM ANALYZE image_assets"))
        yield connection
    engine.dispose()


def test_a_page_of_a_large_library_reads_only_its_photos(many: sa.Connection) -> None:
    shown = condition(many, Filters(), ["/photos"])
    first = newest(many, shown, 101)
    after = After(first[-2].shown_at, first[-2].id)
    assert rows_read(many, lambda: newest(many, shown, 101)) == [101]
    assert rows_read(many, lambda: newest(many, shown, 101, after)) == [101]
    assert rows_read(many, lambda: newest(many, shown, 101, skip=50_000)) == [50_101]
    assert count(many, shown) == MANY
