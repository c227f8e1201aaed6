"""`trainyard serve` and `trainyard api` as processes: starting, stopping, being killed, and going on."""

import re
import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.server import Server, ServerDied, listen
from api.tokens import TokensUnusable
from cli.main import exit_code_of
from cli.serve_display import ApiDisplay
from local.serve import serve
from tests.libraries import write_photos
from tests.local_runs import data_directory, running, wait_until
from tests.natural_keys import everything
from tests.processes import Trainyard, trainyard
from trainyard.lifecycle import ENDED
from trainyard.settings import Settings

SESSIONS = "/api/v1/training/sessions"


def url_of(process: Trainyard) -> str:
    """Where it says that it is."""

    def said() -> "re.Match[str] | None":
        assert process.exit_code is None, process.errors
        return re.search(r"Trainyard is at (http://\S+) ", process.errors)

    found = wait_until(said, "serve to say where it is")
    assert found is not None
    return found[1]


def session(url: str, session_id: int) -> dict[str, Any]:
    return dict(httpx.get(f"{url}{SESSIONS}/{session_id}", timeout=30).json())


def test_a_killed_server_goes_on_by_itself_when_it_is_started_again(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 24)
    gate = tmp_path / "gate"
    gate.touch()
    with data_directory() as data_dir:
        command = ("serve", "--image-root", photos, "--data-dir", data_dir, "--port", "0")
        with trainyard(*command, gate=gate) as first:
            url = url_of(first)
            session_id = httpx.post(f"{url}{SESSIONS}", json={"rootPath": str(photos)}, timeout=30).json()["id"]
            wait_until(lambda: session(url, session_id)["trainingStatus"] == "running", "the training to begin")
            first.kill()
        gate.unlink()
        with trainyard(*command) as second:
            url = url_of(second)
            assert f"Session {session_id} goes on." in second.errors
            wait_until(lambda: session(url, session_id)["overallStatus"] in ENDED, "the session to end")
            assert session(url, session_id)["images"]["processed"] == 24
            second.interrupt()
            assert second.wait() == 0
            assert "Traceback" not in second.errors
        with running(data_dir) as installation:
            killed = everything(installation)
    with data_directory() as data_dir, running(data_dir) as installation:
        installation.run(photos)
        assert killed == everything(installation)


def test_ctrl_c_ends_it_at_once_though_somebody_listens(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 8)
    gate = tmp_path / "gate"
    gate.touch()
    with data_directory() as data_dir:
        with trainyard("serve", "--image-root", photos, "--data-dir", data_dir, "--port", "0", gate=gate) as process:
            url = url_of(process)
            session_id = httpx.post(f"{url}{SESSIONS}", json={"rootPath": str(photos)}, timeout=30).json()["id"]
            with httpx.stream("GET", f"{url}{SESSIONS}/{session_id}/events", timeout=30) as events:
                assert next(events.iter_lines())
                gate.unlink()
                process.interrupt()
                assert process.wait() == 0
            assert "Stopping at the batch; once more ends at once." in process.errors
            assert "UNTRAINED WEIGHTS" in process.errors
        with running(data_dir) as installation:  # and what it left goes on
            assert installation.ended(session_id)["overallStatus"] == "completed"


@pytest.mark.parametrize("command", ["serve", "api"])
def test_without_image_roots_it_says_the_line_to_type(tmp_path: Path, command: str) -> None:
    with trainyard(command) as process:
        assert process.wait() == 2
        assert f"Type:  trainyard {command} --image-root ~/Pictures" in process.errors


@pytest.mark.parametrize("command", ["serve", "api"])
def test_an_empty_image_root_is_not_the_folder_one_is_in(command: str) -> None:
    with trainyard(command, "--image-root", "") as process:
        assert process.wait() == 2
        assert f"Type:  trainyard {command} --image-root ~/Pictures" in process.errors


def test_tokens_that_cannot_be_used_are_known_before_anything_is_started(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("operator short\n")
    with pytest.raises(TokensUnusable):
        listen("127.0.0.1", 0, Settings(data_dir=tmp_path, tokens_file=tmp_path / "tokens"))


def test_a_server_that_ends_by_itself_ends_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ready = threading.Event()

    class Sitting:
        def ready(self, url: str, going_on: Sequence[int]) -> None:
            ready.set()

        def stopping(self) -> None:
            raise AssertionError("nobody stopped it")

    def die(*_: Any) -> None:
        assert ready.wait(60)
        sys.exit(3)

    monkeypatch.setattr(Server, "run", die)
    with data_directory() as data_dir, pytest.raises(ServerDied, match=r"http://127\.0\.0\.1:\d+ ended") as died:
        serve(Settings(data_dir=data_dir), "127.0.0.1", 0, stop=threading.Event(), display=Sitting())
    assert exit_code_of(died.value) == 1


def test_every_address_is_said_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    ApiDisplay().ready("http://0.0.0.0:8080", [6, 7, 9])
    told = capsys.readouterr()
    assert told.out == ""
    assert "Trainyard is on every address of this machine, port 8080 (" in told.err
    assert "Sessions 6, 7 and 9 go on." in told.err


def test_what_it_cannot_begin_with_is_said_in_a_sentence(tmp_path: Path) -> None:
    data = ("--data-dir", tmp_path / "data")
    with trainyard("serve", "--image-root", tmp_path / "gone", *data) as process:
        assert process.wait() == 2
        assert f"There is no folder {tmp_path}/gone" in process.errors
    with trainyard("serve", "--image-root", tmp_path, "--host", "0.0.0.0", *data) as process:
        assert process.wait() == 2
        assert "TRAINYARD_TOKENS_FILE" in process.errors
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with trainyard("serve", "--image-root", tmp_path, "--port", str(port), *data) as process:
            assert process.wait() == 2
            assert f"port {port}: Address already in use" in process.errors
    assert not (tmp_path / "data").exists()


def test_the_api_alone_without_a_database_says_so_and_makes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with trainyard("api", "--image-root", tmp_path, "--port", "0") as process:
        assert process.wait() == 2
        assert "TRAINYARD_DATABASE_URL is not set" in process.errors
    assert list(tmp_path.iterdir()) == []


def test_a_data_directory_that_is_served_is_not_served_twice(tmp_path: Path) -> None:
    with data_directory() as data_dir:
        command = ("serve", "--image-root", tmp_path, "--data-dir", data_dir, "--port", "0")
        with trainyard(*command) as first, trainyard(*command) as second:
            ended = wait_until(lambda: [p for p in (first, second) if p.exit_code is not None], "one to give up")[0]
            assert ended.exit_code == 2
            assert str(data_dir) in ended.errors
