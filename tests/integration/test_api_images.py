"""Images over HTTP: what is known of one, thumbnails that are made once and never leak, and look-alikes."""

import hashlib
import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import sqlalchemy as sa
from PIL import Image

from tests import libraries, pictures
from tests.local_runs import data_directory, wait_until
from tests.rows import add_model
from tests.served import Served, served
from trainyard import decoders
from trainyard.tables import image_assets, models, training_evidence
from trainyard.vectors import image_point

# A decoder that notes every thumbnail it makes, breaks down on photos called deadly, and waits at those called slow.
NOTED = """
import os, signal, sys, time
from trainyard import decoder_child, photos
make = photos.thumbnail
def noted(path, side_px):
    with open({log!r}, "ab") as log:
        log.write(path + b"\\n")
    if b"deadly" in path:
        os.kill(os.getpid(), signal.SIGKILL)
    while b"slow" in path and not os.path.exists({go!r}):
        time.sleep(0.005)
    return make(path, side_px)
photos.thumbnail = noted
decoder_child.main()
"""
NON_UTF_8 = os.fsdecode(b"caf\xe9.png") if sys.platform == "linux" else "café.png"
TWINS = ("twin 1.png", "twin 2.png", "twin 3.png", "twin 4.png", "twin 5.png")
ONE_EACH = (
    "plain.png", "deadly.png", "slow.png", "changed.png", "gone.png", "missing.png", "moved/away.png", "kept.png",
    "damaged.png", NON_UTF_8,
)  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = Path(os.path.realpath(tmp_path_factory.mktemp("photos")))
    for number, name in enumerate(ONE_EACH):
        libraries.write_photo(root / name, number, people=(number, number + 1))
    for name in TWINS:
        libraries.write_photo(root / name, 100)
    (root / "wide.jpg").write_bytes(pictures.encoded(pictures.coffee()))
    (root / "broken").mkdir()
    libraries.write_broken(root / "broken")
    return root


@pytest.fixture(scope="module")
def decoder_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("decoder")


@pytest.fixture(scope="module")
def server(root: Path, decoder_dir: Path) -> Iterator[Served]:
    script = decoder_dir / "noted.py"
    script.write_text(NOTED.format(log=str(decoder_dir / "log"), go=str(decoder_dir / "go")))
    with pytest.MonkeyPatch.context() as patch, data_directory() as data_dir:
        patch.setattr(decoders, "CHILD_COMMAND", (sys.executable, "-P", str(script)))
        with served(data_dir, root) as server:
            server.ended(server.create(root, category="Holidays"))
            yield server


@pytest.fixture
def ids(server: Served, root: Path) -> dict[str, int]:
    """The images' ids by name, relative to the root."""
    rows = server.run.rows("SELECT id, path FROM image_assets")
    return {os.path.relpath(os.fsdecode(row.path), root): row.id for row in rows}


def get(server: Served, image_id: int, what: str = "", **query: Any) -> httpx.Response:
    return server.client.get(f"/api/v1/images/{image_id}{what}", params=query)


def thumbnail(server: Served, image_id: int, **query: Any) -> httpx.Response:
    return get(server, image_id, "/thumbnail", **query)


def size_px(answer: httpx.Response) -> tuple[int, int]:
    assert answer.status_code == 200, answer.text
    picture = Image.open(BytesIO(answer.content))
    assert picture.format == "JPEG"
    return picture.size


def decodes(decoder_dir: Path, name: str) -> int:
    log = decoder_dir / "log"
    return log.read_bytes().count(os.fsencode(name) + b"\n") if log.exists() else 0


def plant(server: Served, path: str, vector: Any, **columns: Any) -> int:
    """An image that was embedded as this, written as workers write it; returns its id."""
    content = hashlib.sha256(path.encode()).digest()

    def work(connection: sa.Connection) -> tuple[int, str, str]:
        model = connection.execute(sa.select(models).where(models.c.collection == "images-fake")).one()
        values = {
            "path": path.encode(),
            "path_text": path,
            "path_sha256": content,
            "content_sha256": content,
            **columns,
        }
        asset = connection.execute(sa.insert(image_assets).values(values).returning(image_assets.c.id)).scalar_one()
        _evidence(connection, asset, content, model.id)
        return asset, model.collection, model.weights_sha256

    asset, collection, weights = server.run.database.transact(work)
    point = image_point(asset, content, weights)
    server.run.vectors.upsert(collection, [point], np.array([vector], np.float32), [{"asset_id": asset}])
    return asset


def _evidence(connection: sa.Connection, asset: int, content: bytes, model_id: int) -> None:
    values = {
        "asset_id": asset,
        "content_sha256": content,
        "model_id": model_id,
        "embedding_sha256": b"",
        "trained": False,
        "session_id": 1,
        "seconds": 0.0,
    }
    connection.execute(sa.insert(training_evidence).values(values))


def direction(number: int, towards: int | None = None) -> Any:
    """A unit vector of its own for each number; `towards` another, at a cosine of 0.8."""
    vector = np.zeros(512, np.float32)
    vector[number] = 1.0 if towards is None else 0.6
    if towards is not None:
        vector[towards] = 0.8
    return vector


def similar(server: Served, image_id: int, **query: Any) -> list[tuple[int, float]]:
    answer = get(server, image_id, "/similar", **query)
    assert answer.status_code == 200, answer.text
    return [(item["image"]["id"], round(item["similarity"], 3)) for item in answer.json()["items"]]


# One image


def test_an_image_is_shown_with_all_that_is_known_of_it(server: Served, root: Path, ids: dict[str, int]) -> None:
    image_id, sha256 = ids["plain.png"], hashlib.sha256((root / "plain.png").read_bytes()).hexdigest()
    assert get(server, image_id).json() == {
        "id": image_id,
        "path": str(root / "plain.png"),
        "width": 320,
        "height": 240,
        "takenAt": None,
        "category": "Holidays",
        "contentSha256": sha256,
        "missingSince": None,
        "broken": None,
        "faces": 2,
        "thumbnailUrl": f"/api/v1/images/{image_id}/thumbnail?v={sha256[:16]}",
    }


def test_a_broken_photo_says_why(server: Served, ids: dict[str, int]) -> None:
    image = get(server, ids["broken/text.jpg"]).json()
    assert image["broken"]["code"] == "not_an_image"
    assert image["contentSha256"] is None
    answer = thumbnail(server, ids["broken/text.jpg"])
    assert (answer.status_code, answer.json()["code"]) == (422, "not_an_image")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux takes names that are not UTF-8")
def test_a_name_that_is_not_utf_8_is_shown_in_print_and_read_by_its_bytes(server: Served, ids: dict[str, int]) -> None:
    assert get(server, ids[NON_UTF_8]).json()["path"].endswith("caf\\xe9.png")
    assert size_px(thumbnail(server, ids[NON_UTF_8])) == (320, 240)


@pytest.mark.parametrize("what", ["", "/thumbnail", "/similar"])
def test_an_id_that_no_image_has_is_not_found(server: Served, what: str) -> None:
    for image_id in (999_999_999, 2**63 - 1):
        answer = get(server, image_id, what)
        assert (answer.status_code, answer.json()["code"]) == (404, "NoSuchImage")
    for image_id in (0, -1, 2**63):
        assert get(server, image_id, what).status_code == 422


@pytest.mark.parametrize("what", ["", "/thumbnail", "/similar"])
def test_an_image_outside_the_folders_that_may_be_read_is_as_if_it_were_not_there(
    server: Served, root: Path, what: str
) -> None:
    for path in (f"/elsewhere{what}/photo.png", f"{root}-beside{what}/photo.png"):
        answer = get(server, plant(server, path, direction(500)), what)
        assert (answer.status_code, answer.json()["code"]) == (404, "NoSuchImage")


# Thumbnails


@pytest.mark.parametrize(
    ("side", "size"), [(160, (160, 106)), (320, (320, 213)), (640, (600, 400)), (1280, (600, 400))]
)
def test_a_thumbnail_fits_its_side_and_is_never_enlarged(
    server: Served, ids: dict[str, int], side: int, size: tuple[int, int]
) -> None:
    assert size_px(thumbnail(server, ids["wide.jpg"], side=side)) == size


@pytest.mark.parametrize("side", ["0", "321", "-160", "1e3", "320.5", "huge", "99999999999"])
def test_other_sides_are_refused(server: Served, ids: dict[str, int], side: str) -> None:
    answer = thumbnail(server, ids["wide.jpg"], side=side)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "side")


def test_a_versioned_thumbnail_is_kept_for_ever_and_another_for_a_while(server: Served, ids: dict[str, int]) -> None:
    versioned = server.client.get(get(server, ids["plain.png"]).json()["thumbnailUrl"])
    assert versioned.headers["cache-control"] == "private, max-age=31536000, immutable"
    assert versioned.headers["content-type"] == "image/jpeg"
    assert versioned.headers["x-content-type-options"] == "nosniff"
    for query in ({}, {"v": "0" * 16}):
        other = thumbnail(server, ids["plain.png"], **query)
        assert other.headers["cache-control"] == "private, max-age=300, immutable"


def test_a_client_that_has_the_thumbnail_is_told_so(server: Served, ids: dict[str, int]) -> None:
    tag = thumbnail(server, ids["plain.png"]).headers["etag"]
    address = f"/api/v1/images/{ids['plain.png']}/thumbnail"
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        answer = server.client.get(address, headers={"If-None-Match": known})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)
    larger = server.client.get(address, params={"side": 640}, headers={"If-None-Match": tag})
    assert larger.status_code == 200
    assert larger.headers["etag"] != tag


def test_clients_that_ask_at_once_have_it_made_once(server: Served, ids: dict[str, int], decoder_dir: Path) -> None:
    clients = 8
    ready = threading.Barrier(clients)

    def ask(_: int) -> bytes:
        ready.wait()
        return thumbnail(server, ids["slow.png"]).content

    with ThreadPoolExecutor(clients) as threads:
        asking = [threads.submit(ask, number) for number in range(clients)]
        wait_until(lambda: decodes(decoder_dir, "slow.png"), "the thumbnail to be begun")
        assert size_px(thumbnail(server, ids["plain.png"], side=160)) == (160, 120)  # nobody else has to wait
        (decoder_dir / "go").touch()
        answers = {asked.result() for asked in asking}
    assert len(answers) == 1
    assert decodes(decoder_dir, "slow.png") == 1


def test_a_kept_thumbnail_is_private_and_is_not_made_again(
    server: Served, root: Path, ids: dict[str, int], decoder_dir: Path
) -> None:
    first = thumbnail(server, ids["kept.png"]).content
    (root / "kept.png").unlink()
    assert thumbnail(server, ids["kept.png"]).content == first
    assert decodes(decoder_dir, "kept.png") == 1
    folder = server.run.settings.thumbnails_path
    assert {path.stat().st_mode & 0o077 for path in (folder, *folder.rglob("*"))} == {0}
    assert {path.suffix for path in folder.rglob("*") if path.is_file()} == {".jpg"}  # no drafts


def test_a_kept_file_that_a_crash_left_empty_is_made_again(server: Served, ids: dict[str, int]) -> None:
    first = thumbnail(server, ids["damaged.png"])
    name = first.headers["etag"].strip('"')
    [file] = server.run.settings.thumbnails_path.rglob(f"{name}.jpg")
    file.write_bytes(b"")
    assert thumbnail(server, ids["damaged.png"]).content == first.content
    assert file.read_bytes() == first.content


def test_where_nothing_can_be_kept_thumbnails_are_still_made(server: Served, ids: dict[str, int]) -> None:
    folder = server.run.settings.thumbnails_path
    thumbnail(server, ids["twin 2.png"])  # so that there is one
    folder.rename(folder.with_name("elsewhere"))
    folder.write_text("no folder")
    try:
        assert size_px(thumbnail(server, ids["twin 1.png"])) == (320, 240)
    finally:
        folder.unlink()
        folder.with_name("elsewhere").rename(folder)


def test_a_photo_that_breaks_decoders_down_fails_alone(server: Served, ids: dict[str, int]) -> None:
    answer = thumbnail(server, ids["deadly.png"])
    assert (answer.status_code, answer.json()["code"]) == (422, "worker_crashed")
    assert size_px(thumbnail(server, ids["plain.png"], side=640)) == (320, 240)


def test_a_file_that_is_gone_is_missing(server: Served, root: Path, ids: dict[str, int]) -> None:
    (root / "gone.png").unlink()
    answer = thumbnail(server, ids["gone.png"])
    assert (answer.status_code, answer.json()["code"]) == (404, "ImageMissing")


def test_a_photo_that_discovery_missed_is_missing(server: Served, ids: dict[str, int]) -> None:
    server.run.database.transact(
        lambda connection: connection.execute(
            sa.text("UPDATE image_assets SET missing_since = now() WHERE id = :id"), {"id": ids["missing.png"]}
        )
    )
    assert get(server, ids["missing.png"]).json()["missingSince"]
    answer = thumbnail(server, ids["missing.png"])
    assert (answer.status_code, answer.json()["code"]) == (404, "ImageMissing")


def test_a_folder_that_became_a_link_leading_out_shows_nothing(
    server: Served, root: Path, ids: dict[str, int], tmp_path: Path, decoder_dir: Path
) -> None:
    libraries.write_photo(tmp_path / "away.png", 77)
    (root / "moved").rename(root / "moved before")
    (root / "moved").symlink_to(tmp_path)
    answer = thumbnail(server, ids["moved/away.png"])
    assert (answer.status_code, answer.json()["code"]) == (404, "ImageMissing")
    assert decodes(decoder_dir, "away.png") == 0


def test_a_file_that_has_changed_is_shown_but_never_kept_as_what_it_was(
    server: Served, root: Path, ids: dict[str, int]
) -> None:
    before, status = (root / "changed.png").read_bytes(), (root / "changed.png").stat()
    (root / "changed.png").write_bytes(pictures.encoded(pictures.portrait(), "PNG"))
    changed = thumbnail(server, ids["changed.png"])
    assert size_px(changed) == (112, 112)
    assert changed.headers["cache-control"] == "private, no-cache"
    assert "etag" not in changed.headers
    (root / "changed.png").write_bytes(before)
    os.utime(root / "changed.png", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert size_px(thumbnail(server, ids["changed.png"])) == (320, 240)


# Look-alikes


def test_the_same_picture_is_the_most_similar_and_an_image_is_not_similar_to_itself(
    server: Served, ids: dict[str, int]
) -> None:
    twins = [ids[name] for name in TWINS]
    found = similar(server, twins[0])
    assert sorted(found[:4]) == [(twin, 1.0) for twin in sorted(twins[1:])]
    assert twins[0] not in dict(found)
    assert [similarity for _, similarity in found] == sorted((s for _, s in found), reverse=True)


def test_only_as_many_as_asked_for_come(server: Served, ids: dict[str, int]) -> None:
    assert len(similar(server, ids["plain.png"], limit=3)) == 3
    for limit in (0, 101):
        assert get(server, ids["plain.png"], "/similar", limit=limit).status_code == 422


def test_points_that_rows_do_not_bear_out_are_never_shown(server: Served, root: Path) -> None:
    image = plant(server, f"{root}/planted.png", direction(200))
    near = plant(server, f"{root}/near.png", direction(201, towards=200))
    plant(server, f"{root}/lost.png", direction(200), missing_since=sa.func.now())
    plant(server, f"{root}/ruined.png", direction(200), broken_code="truncated", broken_message="It is cut off.")
    plant(server, "/elsewhere/photo of another.png", direction(200))
    stale = plant(server, f"{root}/stale.png", direction(200))
    strange = image_point(10**9, b"", "a row that is not there")
    server.run.vectors.upsert("images-fake", [strange], direction(200)[None], [{"asset_id": 10**9}])
    server.run.vectors.upsert("images-fake", [image_point(1, b"", "no payload")], direction(200)[None], [{}])
    server.run.database.transact(
        lambda connection: connection.execute(
            sa.text("UPDATE image_assets SET content_sha256 = 'changed' WHERE id = :id"), {"id": stale}
        )
    )
    assert similar(server, image, limit=1) == [(near, 0.8)]


def test_more_is_asked_for_until_enough_may_be_shown(server: Served, root: Path) -> None:
    image = plant(server, f"{root}/crowded.png", direction(300))
    near = plant(server, f"{root}/near the crowd.png", direction(301, towards=300))
    for number in range(50):
        plant(server, f"/elsewhere/crowd {number}.png", direction(300))
    assert similar(server, image, limit=1) == [(near, 0.8)]


def test_an_image_without_a_vector_is_not_embedded(server: Served, root: Path, ids: dict[str, int]) -> None:
    unread = ids["broken/empty.png"]
    lost = plant(server, f"{root}/lost point.png", direction(400))
    server.run.vectors.delete("images-fake", [_point(server, lost)])
    for image_id in (unread, lost):
        answer = get(server, image_id, "/similar")
        assert (answer.status_code, answer.json()["code"]) == (409, "NotEmbedded")


def test_a_collection_that_is_not_there_is_as_good_as_no_vector(
    server: Served, root: Path, ids: dict[str, int]
) -> None:
    def embedded_by_another(connection: sa.Connection) -> None:
        model_id = add_model(connection, "clip")  # the newest, so it is asked first
        rows = connection.execute(
            sa.select(image_assets).where(image_assets.c.id.in_([ids["plain.png"], ids["wide.jpg"]]))
        ).all()
        for row in rows:
            _evidence(connection, row.id, row.content_sha256, model_id)
        connection.execute(
            sa.delete(training_evidence).where(
                training_evidence.c.asset_id == ids["wide.jpg"], training_evidence.c.model_id != model_id
            )
        )

    server.run.database.transact(embedded_by_another)
    assert len(similar(server, ids["plain.png"], limit=1)) == 1
    answer = get(server, ids["wide.jpg"], "/similar")
    assert (answer.status_code, answer.json()["code"]) == (409, "NotEmbedded")


def _point(server: Served, image_id: int) -> Any:
    [row] = server.run.rows(
        "SELECT e.content_sha256, m.weights_sha256 FROM training_evidence e JOIN models m ON m.id = e.model_id "
        "WHERE e.asset_id = :id",
        id=image_id,
    )
    return image_point(image_id, row.content_sha256, row.weights_sha256)
