"""The controller's pages over HTTP, and the clients that they outlive."""

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from http import HTTPStatus

import httpx
import pytest

from controller import serving as module
from controller.serving import MOST_CONNECTIONS, Answer, CannotListen, Routes, listen, serving, url_of
from tests.local_runs import LONGEST_WAIT_SECONDS, wait_until


def broken() -> Answer:
    raise KeyError("secret")


ROUTES: Routes = {
    "/page": lambda: Answer(HTTPStatus.OK, "ok"),
    "/busy": lambda: Answer(HTTPStatus.SERVICE_UNAVAILABLE, "Not now."),
    "/broken": broken,
}


@pytest.fixture
def address() -> Iterator[tuple[str, int]]:
    with listen("127.0.0.1", 0) as bound:
        host, port = bound.getsockname()
        with serving(bound, ROUTES):
            yield host, port


@pytest.fixture
def client(address: tuple[str, int]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{address[1]}", timeout=LONGEST_WAIT_SECONDS) as made:
        yield made


def answering() -> int:
    """Threads that attend to a connection."""
    return sum("process_request" in thread.name for thread in threading.enumerate())


def say(address: tuple[str, int], request: bytes) -> bytes:
    """All that is answered, until the server ends the connection."""
    with socket.create_connection(address, LONGEST_WAIT_SECONDS) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65_536), b""))


def test_a_page_is_answered_as_its_route_says(client: httpx.Client) -> None:
    page, busy = client.get("/page?verbose"), client.get("/busy")
    assert (page.status_code, page.text, page.headers["content-type"]) == (200, "ok\n", "text/plain; charset=utf-8")
    assert (busy.status_code, busy.text) == (503, "Not now.\n")
    assert (page.headers["connection"], page.headers["cache-control"]) == ("close", "no-store")


def test_the_server_names_no_versions(client: httpx.Client) -> None:
    assert client.get("/page").headers["server"] == "trainyard"


def test_head_is_get_without_a_body(address: tuple[str, int]) -> None:
    answer = say(address, b"HEAD /page HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Length: 3\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


def test_an_unknown_page_is_404_by_any_method(client: httpx.Client) -> None:
    for method in ("GET", "HEAD", "DELETE"):
        assert client.request(method, "/pages").status_code == 404
    assert client.get("/").text == "There is no such page; there are /page, /busy, /broken.\n"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"])
def test_other_methods_are_405(client: httpx.Client, method: str) -> None:
    answer = client.request(method, "/page")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


def test_a_route_that_fails_is_500_without_its_words(client: httpx.Client) -> None:
    answer = client.get("/broken")
    assert (answer.status_code, answer.text) == (500, "That is a defect; the log says more.\n")
    assert client.get("/page").status_code == 200


@pytest.mark.parametrize(
    ("rubbish", "status"),
    [
        (b"\x16\x03\x01\x02\x00\r\n\r\n", 400),
        (b"one two three four\r\n\r\n", 400),
        (b"GET /page HTTP/9.9\r\n\r\n", 505),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET /page HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n", 431),
    ],
)
def test_rubbish_is_refused_in_a_sentence(
    address: tuple[str, int], client: httpx.Client, rubbish: bytes, status: int, capfd: pytest.CaptureFixture[str]
) -> None:
    assert say(address, rubbish).startswith(f"HTTP/1.1 {status} ".encode())
    assert client.get("/page").status_code == 200
    assert capfd.readouterr() == ("", "")


def test_clients_that_say_nothing_do_not_keep_others_waiting(address: tuple[str, int], client: httpx.Client) -> None:
    with ExitStack() as silent:
        for _ in range(3 * MOST_CONNECTIONS):
            silent.enter_context(socket.create_connection(address)).sendall(b"GET /pa")
        assert client.get("/page").status_code == 200
        wait_until(lambda: answering() <= MOST_CONNECTIONS, "those that came first to be let go")


def test_a_client_that_says_nothing_is_cut_off(
    address: tuple[str, int], client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_connection(address, LONGEST_WAIT_SECONDS) as silent:
        silent.sendall(b"GET /page HTTP/1.1\r\nHost: ")
        assert client.get("/page").status_code == 200
        monkeypatch.setattr(module, "CONNECTION_SECONDS", 0.0)
        assert silent.recv(1) == b""


def test_a_client_that_hangs_up_is_nothing_to_write_about(
    address: tuple[str, int], client: httpx.Client, capfd: pytest.CaptureFixture[str]
) -> None:
    for _ in range(5):
        with socket.create_connection(address) as gone:
            gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")  # ends with a reset
            gone.sendall(b"GET /page HTTP/1.1\r\n\r\n")
    assert client.get("/page").status_code == 200
    assert capfd.readouterr() == ("", "")


def test_a_port_that_is_taken_says_what_to_do() -> None:
    with listen("127.0.0.1", 0) as bound:
        port = bound.getsockname()[1]
        with pytest.raises(CannotListen, match=f"Cannot listen on 127.0.0.1, port {port}, .* Choose another"):
            listen("127.0.0.1", port)


def test_a_host_that_is_not_ours_says_so() -> None:
    with pytest.raises(CannotListen, match=r"Cannot listen on 192\.0\.2\.1, port 0"):
        listen("192.0.2.1", 0)


def test_the_address_is_free_again_when_it_ends() -> None:
    with listen("127.0.0.1", 0) as bound, serving(bound, ROUTES):
        port = bound.getsockname()[1]
        assert httpx.get(f"{url_of(bound)}/page").status_code == 200
    listen("127.0.0.1", port).close()
