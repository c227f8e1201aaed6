"""Who may call, over real HTTP: tokens, the page's sign-in, other sites' pages, and what every answer carries."""

import asyncio
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.access import COOKIE, LARGEST_BODY_BYTES, LOOPBACK_HOST, Access
from api.tokens import Tokens
from tests.libraries import write_photos
from tests.local_runs import data_directory
from tests.served import Served, served
from trainyard.logs import OURS

OPERATOR = "operators-own-token"
READER = "a-token-of-readers!"
SYSTEM = "/api/v1/system"
CATEGORIES = "/api/v1/categories"
SIGN_IN = "/api/v1/sign-in"
ELSEWHERE = "https://evil.example"

AS_OPERATOR = {"Authorization": f"Bearer {OPERATOR}"}
AS_READER = {"Authorization": f"bearer {READER}"}
CSP = "default-src 'none'; frame-ancestors 'none'"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("access")


@pytest.fixture(scope="module")
def guarded(folder: Path) -> Iterator[Served]:
    """A server with tokens."""
    write_tokens(folder, f"operator {OPERATOR}\nreader {READER}\n")
    with data_directory() as data_dir, served(data_dir, folder, tokens_file=folder / "tokens") as server:
        yield server


@pytest.fixture(scope="module")
def unguarded(folder: Path) -> Iterator[Served]:
    """A server without."""
    with data_directory() as data_dir, served(data_dir, folder) as server:
        yield server


@pytest.fixture
def client(guarded: Served) -> Iterator[httpx.Client]:
    """A client of its own, as cookies stay in one."""
    with httpx.Client(base_url=guarded.url, timeout=30) as client:
        yield client


@pytest.fixture
def tokens(folder: Path) -> Iterator[Path]:
    """The file of tokens, as it was afterwards."""
    path = folder / "tokens"
    before = path.read_text()
    yield path
    write_tokens(folder, before)


def write_tokens(folder: Path, text: str) -> None:
    (folder / "draft").write_text(text)
    (folder / "draft").replace(folder / "tokens")


def problem(answer: httpx.Response, status: int) -> str:
    """The code of an answer that has to be a problem of this status, and to carry what all answers do."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["content-security-policy"] == CSP
    told = answer.json()
    assert (told["status"], told["type"]) == (status, f"urn:trainyard:problem:{told['code']}")
    assert OPERATOR not in answer.text
    assert READER not in answer.text
    return str(told["code"])


def sign_in(client: httpx.Client, token: str) -> str:
    answer = client.post(SIGN_IN, json={"token": token})
    assert answer.status_code == 204, answer.text
    return client.cookies[COOKIE]


# tokens


def test_whatever_is_not_open_needs_a_token(guarded: Served, client: httpx.Client) -> None:
    paths = client.get("/openapi.json", headers=AS_OPERATOR).json()["paths"]
    operations = [(method, path) for path, methods in paths.items() for method in methods]
    assert len(operations) > 20
    open_to_all = {("get", "/livez"), ("get", "/readyz"), ("post", SIGN_IN), ("post", "/api/v1/sign-out")}
    unheard_of = [("get", path) for path in ("/docs", "/openapi.json", "/metrics", "/nowhere", "/livez/", "/page")]

    for method, path in [*operations, *unheard_of]:
        answer = client.request(method, path.replace("{", "").replace("}", ""))
        if (method, path) in open_to_all:
            assert answer.status_code != 401, path
        else:
            assert problem(answer, 401) == "TokenNeeded", path
            assert answer.headers["www-authenticate"] == "Bearer"


def test_the_page_is_open_and_its_sign_in(client: httpx.Client) -> None:
    for path in ("/", "/page/page.js", "/livez", "/readyz"):
        assert client.get(path).status_code not in {401, 403}
        assert problem(client.post(path), 401) == "TokenNeeded"


def test_an_operator_may_do_everything_and_a_reader_may_look(client: httpx.Client) -> None:
    for headers, role in ((AS_OPERATOR, "operator"), (AS_READER, "reader")):
        seen = client.get(SYSTEM, headers=headers).json()
        assert (seen["role"], seen["tokensNeeded"]) == (role, True)

    assert client.post(CATEGORIES, json={"name": "holidays"}, headers=AS_OPERATOR).status_code == 201
    assert problem(client.post(CATEGORIES, json={"name": "work"}, headers=AS_READER), 403) == "OperatorNeeded"
    assert problem(client.delete("/api/v1/training/sessions/1", headers=AS_READER), 403) == "OperatorNeeded"
    assert [item["name"] for item in client.get(CATEGORIES, headers=AS_READER).json()["items"]] == ["holidays"]


@pytest.mark.parametrize("sent", ["Bearer", "Bearer nobodys-token-at-all", f"Bearer {OPERATOR}x", f"Bearer  x{READER}"])
def test_an_unknown_token_is_refused_even_beside_a_sign_in(client: httpx.Client, sent: str) -> None:
    sign_in(client, OPERATOR)

    answer = client.get(SYSTEM, headers={"Authorization": sent})

    assert problem(answer, 401) == "TokenInvalid"
    assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'


def test_a_token_counts_nowhere_but_in_its_header(client: httpx.Client) -> None:
    for sent in ({"Authorization": f"Basic {OPERATOR}"}, {"Authorization": OPERATOR}, {"Cookie": f"token={OPERATOR}"}):
        assert problem(client.get(SYSTEM, headers=sent), 401) == "TokenNeeded"
    assert problem(client.get(SYSTEM, headers={"Cookie": f"{COOKIE}={OPERATOR}"}), 401) == "TokenInvalid"
    assert problem(client.get(SYSTEM, params={"access_token": OPERATOR}), 401) == "TokenNeeded"


@pytest.mark.parametrize("host", ["x/page/?", "x/livez?", "x/#", "x/page/\\"])
def test_a_host_that_looks_like_an_open_path_opens_nothing(client: httpx.Client, host: str) -> None:
    assert problem(client.get(SYSTEM, headers={"Host": host}), 401) == "TokenNeeded"


@pytest.mark.parametrize("path", ["/page/../api/v1/system", "/page/%2e%2e/api/v1/system", "/livez/../api/v1/system"])
def test_a_path_that_begins_as_an_open_one_reads_nothing_else(guarded: Served, path: str) -> None:
    with httpx.Client(base_url=guarded.url) as client:
        request = client.build_request("GET", "/")
        request.extensions["target"] = path.encode()

        assert client.send(request).status_code in {401, 404}


def test_tokens_are_read_again_while_they_are_served_from(client: httpx.Client, tokens: Path) -> None:
    write_tokens(tokens.parent, "operator another-operators-token\n")

    assert problem(client.get(SYSTEM, headers=AS_OPERATOR), 401) == "TokenInvalid"
    assert client.get(SYSTEM, headers={"Authorization": "Bearer another-operators-token"}).status_code == 200


def test_a_bad_line_of_the_tokens_locks_out_nobody_else(
    client: httpx.Client, tokens: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert client.get(SYSTEM, headers=AS_OPERATOR).status_code == 200

    write_tokens(tokens.parent, f"operator {OPERATOR}\nreader half-writ")

    assert client.get(SYSTEM, headers=AS_OPERATOR).status_code == 200
    assert problem(client.get(SYSTEM, headers=AS_READER), 401) == "TokenInvalid"
    assert problem(client.get(SYSTEM, headers={"Authorization": "Bearer half-writ"}), 401) == "TokenInvalid"
    assert [record.getMessage()[:9] for record in caplog.records if record.name == "api.tokens"] == ["Line 2 of"]


def test_a_token_that_is_taken_out_is_revoked_though_nothing_but_a_comment_is_left(
    client: httpx.Client, tokens: Path
) -> None:
    sign_in(client, OPERATOR)

    write_tokens(tokens.parent, "# nobody at the moment\n")

    assert problem(client.get(SYSTEM, headers=AS_OPERATOR), 401) == "TokenInvalid"
    assert problem(client.get(SYSTEM), 401) == "TokenInvalid"


# the page's sign-in


def test_a_sign_in_is_a_cookie_that_scripts_and_other_sites_do_not_get(client: httpx.Client) -> None:
    answer = client.post(SIGN_IN, json={"token": f" {READER}\n"})

    assert answer.status_code == 204
    assert answer.headers["cache-control"] == "no-store"
    value, *attributes = answer.headers["set-cookie"].split("; ")
    assert value.startswith(f"{COOKIE}=")
    assert {name.lower() for name in attributes} == {"httponly", "samesite=strict", "path=/", "max-age=43200"}
    assert client.get(SYSTEM).json()["role"] == "reader"
    assert problem(client.post(CATEGORIES, json={"name": "work"}), 403) == "OperatorNeeded"


def test_a_sign_in_is_kept_to_https_where_it_was_made(client: httpx.Client) -> None:
    answer = client.post(SIGN_IN, json={"token": READER}, headers={"X-Forwarded-Proto": "https"})

    assert "; Secure" in answer.headers["set-cookie"]


def test_a_wrong_token_signs_nobody_in(client: httpx.Client) -> None:
    for token in ("", "nobodys-token-at-all", OPERATOR[:-1], "tökén"):
        answer = client.post(SIGN_IN, json={"token": token})
        assert problem(answer, 401) == "TokenInvalid"
        assert "set-cookie" not in answer.headers
    for body in ({}, {"token": 7}, {"token": OPERATOR, "more": 1}):
        assert problem(client.post(SIGN_IN, json=body), 422) == "InvalidRequest"


def test_a_sign_in_reads_events_and_thumbnails_until_its_token_is_gone(
    guarded: Served, client: httpx.Client, tokens: Path, folder: Path
) -> None:
    photos = write_photos(folder / "photos", 1)
    sign_in(client, OPERATOR)
    session = client.post("/api/v1/training/sessions", json={"rootPath": str(photos)}).json()
    guarded.run.ended(session["id"])
    (image,) = guarded.run.rows("SELECT id FROM image_assets")
    reads = [f"/api/v1/training/sessions/{session['id']}/events", f"/api/v1/images/{image.id}/thumbnail"]

    answers = [client.get(path) for path in reads]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].headers["content-type"].startswith("text/event-stream")
    assert answers[1].headers["content-type"] == "image/jpeg"

    write_tokens(tokens.parent, f"reader {READER}\n")
    for path in reads:
        assert problem(client.get(path), 401) == "TokenInvalid"


def test_a_sign_in_is_good_beside_another_scheme_of_a_proxy_in_front(client: httpx.Client) -> None:
    sign_in(client, READER)

    assert client.get(SYSTEM, headers={"Authorization": "Basic dXNlcjpwYXNz"}).json()["role"] == "reader"


def test_signing_out_forgets_the_sign_in(client: httpx.Client) -> None:
    sign_in(client, READER)

    assert client.post("/api/v1/sign-out").status_code == 204

    assert COOKIE not in client.cookies
    assert problem(client.get(SYSTEM), 401) == "TokenNeeded"


# pages of other sites


def refused(client: httpx.Client, **headers: str) -> bool:
    """Whether a write with these headers is refused as another site's."""
    answer = client.post(CATEGORIES, json={"name": "any"}, headers=headers)
    if answer.status_code in {200, 201}:
        return False
    assert problem(answer, 403) == "CrossOrigin"
    return True


@pytest.mark.parametrize("who", ["a sign-in", "nobody"])
def test_a_write_that_another_sites_page_could_make_is_refused(guarded: Served, unguarded: Served, who: str) -> None:
    server = guarded if who == "a sign-in" else unguarded
    with httpx.Client(base_url=server.url, timeout=30) as client:
        if server is guarded:
            sign_in(client, OPERATOR)
        port = httpx.URL(server.url).port

        assert not refused(client)
        assert not refused(client, Origin=server.url)
        assert not refused(client, Origin=server.url.upper())
        assert not refused(client, **{"Sec-Fetch-Site": "same-origin"})
        assert not refused(client, **{"Sec-Fetch-Site": "none"})
        for origin in (ELSEWHERE, "null", "", server.url.replace("http", "https"), f"http://localhost:{port}"):
            assert refused(client, Origin=origin)
        assert refused(client, Origin=f"http://127.0.0.1:{(port or 0) + 1}")
        assert refused(client, Origin="http://127.0.0.1")
        assert refused(client, Origin=f"{server.url}.evil.example")
        for site in ("cross-site", "same-site"):
            assert refused(client, **{"Sec-Fetch-Site": site})
        assert refused(client, Origin=ELSEWHERE, **{"Sec-Fetch-Site": "same-origin"})


def test_the_port_a_scheme_stands_for_need_not_be_named(unguarded: Served) -> None:
    with httpx.Client(base_url=unguarded.url) as client:
        assert not refused(client, Origin="http://localhost", Host="localhost:80")
        assert not refused(client, Origin="http://localhost:80", Host="localhost")
        assert not refused(client, Origin="https://localhost", Host="localhost:443", **{"X-Forwarded-Proto": "https"})
        assert refused(client, Origin="http://localhost", Host="localhost:8080")


def test_behind_a_proxy_that_ends_tls_the_refusal_says_what_to_set(unguarded: Served) -> None:
    with httpx.Client(base_url=unguarded.url) as client:
        answer = client.post(CATEGORIES, json={"name": "any"}, headers={"Origin": "https://photos.example"})
    assert problem(answer, 403) == "CrossOrigin"
    assert "FORWARDED_ALLOW_IPS" in answer.json()["detail"]
    assert "Host" in answer.json()["detail"]


def test_a_token_in_its_header_is_no_other_sites(client: httpx.Client) -> None:
    assert not refused(client, Origin=ELSEWHERE, **AS_OPERATOR)


def test_without_tokens_a_header_does_not_make_up_for_the_origin(unguarded: Served) -> None:
    with httpx.Client(base_url=unguarded.url) as client:
        assert refused(client, Origin=ELSEWHERE, **AS_OPERATOR)


def test_another_sites_page_signs_nobody_in_or_out(client: httpx.Client) -> None:
    for path in (SIGN_IN, "/api/v1/sign-out"):
        assert problem(client.post(path, json={"token": READER}, headers={"Origin": ELSEWHERE}), 403) == "CrossOrigin"


def test_no_other_site_is_told_that_it_may_read(client: httpx.Client) -> None:
    asked = {"Origin": ELSEWHERE, "Access-Control-Request-Method": "POST"}

    for answer in (client.options(CATEGORIES, headers=asked), client.get(SYSTEM, headers={**asked, **AS_READER})):
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"


# without tokens


def test_without_tokens_everybody_is_operator_and_nobody_need_sign_in(unguarded: Served, folder: Path) -> None:
    system = unguarded.client.get(SYSTEM).json()

    assert system == {
        "version": system["version"],
        "tokensNeeded": False,
        "role": "operator",
        "imageRoots": [str(folder.resolve())],
        "faceEngine": "auto",
        "untrained": True,
        "textSearch": False,
    }
    answer = unguarded.client.post(SIGN_IN, json={"token": "whatever"})
    assert answer.status_code == 204
    assert "set-cookie" not in answer.headers


def test_without_tokens_only_this_machines_own_names_are_answered_to(unguarded: Served) -> None:
    def ask(path: str, host: str) -> httpx.Response:
        return unguarded.client.get(path, headers={"Host": host})

    for host in ("localhost", "LOCALHOST:8080", "127.0.0.1", "127.1.2.3:9000", "[::1]", "[::1]:8080"):
        assert ask(SYSTEM, host).status_code == 200
    for host in (
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "10.0.0.7",
        "[::2]",
        "127.0.0.1/x",
    ):
        assert problem(ask(SYSTEM, host), 403) == "HostNotAllowed"
        assert problem(ask("/", host), 403) == "HostNotAllowed"
    assert not LOOPBACK_HOST.fullmatch("")


def test_with_tokens_every_host_is_answered_to(client: httpx.Client) -> None:
    assert client.get(SYSTEM, headers={"Host": "photos.example", **AS_READER}).status_code == 200


# what every answer carries, and what is logged


def test_every_answer_carries_what_keeps_it_from_being_misused(
    guarded: Served, client: httpx.Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(work: Any) -> Any:
        raise RuntimeError("nobody expected this")

    answers = [client.get(SYSTEM, headers=AS_READER), client.get("/livez"), client.get("/nowhere", headers=AS_READER)]
    monkeypatch.setattr(guarded.services.database, "transact", broken)
    answers.append(client.get(CATEGORIES, headers=AS_READER))

    assert [answer.status_code for answer in answers] == [200, 200, 404, 500]
    assert problem(answers[3], 500) == "InternalError"
    assert "nobody expected" not in answers[3].text
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["content-security-policy"] == CSP
    assert answers[0].headers["cache-control"] == "no-store"


@pytest.mark.parametrize("says_how_long", [True, False])
def test_a_body_that_is_too_large_is_refused(client: httpx.Client, says_how_long: bool) -> None:
    piece = b" " * (LARGEST_BODY_BYTES // 4)
    fits, too_large = [piece] * 3 + [b'{"name": "any"}'], [piece] * 5

    def send(pieces: list[bytes]) -> httpx.Response:
        content = b"".join(pieces) if says_how_long else iter(pieces)
        headers = {**AS_OPERATOR, "Content-Type": "application/json"}
        return client.post(CATEGORIES, content=content, headers=headers)

    assert send(fits).status_code in {200, 201}
    assert problem(send(too_large), 413) == "TooLarge"
    assert send(fits).status_code == 200


def test_what_access_answers_is_documented(client: httpx.Client) -> None:
    paths = client.get("/openapi.json", headers=AS_OPERATOR).json()["paths"]
    for path, operations in paths.items():
        for operation in operations.values():
            assert ("413" in operation["responses"]) == ("requestBody" in operation), path
    too_large = paths[SIGN_IN]["post"]["responses"]["413"]["content"]["application/problem+json"]["schema"]
    assert too_large == {"$ref": "#/components/schemas/ProblemDetails"}
    assert {"401", "403"} < set(paths["/metrics"]["get"]["responses"])


def test_requests_are_logged_without_their_secrets(
    guarded: Served, client: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    for name in OURS:
        caplog.set_level(logging.INFO, name)
    cookie = sign_in(client, OPERATOR)
    client.get(SYSTEM, params={"token": OPERATOR})
    client.get(SYSTEM, headers={"Authorization": "Bearer nobodys-token-at-all"})
    client.get("/api/v1/categories/a%0Ab%1b")
    for path in ("/livez", "/readyz", "/metrics", "/api/v1/training/sessions/999/events"):
        client.get(path)

    lines = [record.getMessage().rsplit(maxsplit=2)[0] for record in caplog.records if record.name == "api.access"]
    assert lines == [
        f"POST {SIGN_IN} 204",
        f"GET {SYSTEM} 200",
        f"GET {SYSTEM} 401",
        "GET /api/v1/categories/a%0Ab%1B 404",
    ]
    for record in caplog.records:
        for secret in (OPERATOR, READER, cookie, "nobodys-token-at-all"):
            assert secret not in record.getMessage()
            assert secret not in json.dumps(record.exc_text)


def test_a_websocket_is_closed_before_anything_is_asked(folder: Path) -> None:
    """Given straight to the middleware: the server itself speaks no websockets unless a package for them is there."""
    sent: list[Any] = []

    async def unreachable(*_: Any) -> None:
        raise AssertionError("nothing may be asked")

    async def send(message: Any) -> None:
        sent.append(message)

    access = Access(unreachable, Tokens(None))
    asyncio.run(access({"type": "websocket", "path": "/", "headers": []}, unreachable, send))

    assert sent == [{"type": "websocket.close", "code": 1008}]
