"""`trainyard smoke-test`: tried on an installation that works, and on ones that do not."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import pytest

from cli import main as command_line
from tests.libraries import write_broken, write_photos
from tests.local_runs import data_directory
from tests.served import Served, hold, served

Try = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("photos")
    write_photos(root / "many", 9)
    write_photos(root / "few" / "one", 1)
    (root / "broken").mkdir()
    write_broken(root / "broken")
    return root


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("tokens") / "tokens"
    file.write_text("reader only-for-looking-at-it\noperator the-one-that-may-begin\n")
    return file


@pytest.fixture(scope="module")
def server(photos: Path, tokens: Path) -> Iterator[Served]:
    with data_directory() as data_dir, served(data_dir, photos, tokens_file=tokens) as found:
        yield found


@pytest.fixture
def smoke_test(
    server: Served, tokens: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Try:
    """The command against the server: its exit code, and what it said on stdout and stderr."""
    monkeypatch.setenv("TRAINYARD_TOKENS_FILE", str(tokens))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    def run(*arguments: str, url: str = server.url) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["trainyard", "smoke-test", "--url", url, *arguments])
        with pytest.raises(SystemExit) as end:
            command_line.main()
        said = capsys.readouterr()
        return int(end.value.code or 0), said.out, said.err

    return run


def test_a_session_of_the_named_folder_is_run_to_its_end(smoke_test: Try, photos: Path) -> None:
    code, out, err = smoke_test("--folder", str(photos / "many"))
    assert (code, err) == (0, "")
    assert "100.0 % completed (training completed, faceDetection completed, clustering" in out
    assert "'processed': 9" in out.splitlines()[-1]


def test_without_a_folder_the_one_with_the_fewest_photos_is_taken(smoke_test: Try, photos: Path) -> None:
    code, out, _ = smoke_test()
    assert code == 0
    assert out.startswith(f"no folder was named; {photos}/few has the fewest photos, 1\n")


def test_photos_that_are_all_broken_are_a_failure_with_its_code(smoke_test: Try, photos: Path) -> None:
    code, _, err = smoke_test("--folder", str(photos / "broken"))
    assert code == 1
    assert "ended as failed. AllImagesFailed: " in err


def test_a_folder_that_may_not_be_read_is_told_in_the_apis_words(smoke_test: Try) -> None:
    code, _, err = smoke_test("--folder", "/etc")
    assert code == 1
    assert err.startswith("POST /api/v1/training/sessions was answered 4")
    assert "/etc" in err


def test_a_session_that_does_not_end_is_cancelled(smoke_test: Try, server: Served, photos: Path) -> None:
    go_on = Event()
    server.run.engines.fake_clip.on_encode = hold(go_on)
    write_photos(photos / "slow", 2)
    try:
        code, out, err = smoke_test("--folder", str(photos / "slow"), "--timeout-seconds", "1")
        (session,) = [int(line.split()[1]) for line in out.splitlines() if line.endswith(f"of {photos / 'slow'}")]
        requested = server.run.rows("SELECT requested FROM training_sessions ORDER BY id DESC LIMIT 1")[0].requested
    finally:
        go_on.set()
        server.run.engines.fake_clip.on_encode = lambda pictures: None
    assert (code, requested) == (1, "cancel")
    assert err.startswith(f"Session {session} did not end in time, and was cancelled.")


def test_an_api_that_is_not_there_is_waited_for_and_told(smoke_test: Try) -> None:
    code, out, err = smoke_test("--timeout-seconds", "1", url="http://127.0.0.1:1")
    assert code == 1
    assert out.startswith("no answer yet: ")
    assert err.startswith("GET /readyz was not answered in time: ")


def test_without_a_token_the_refusal_is_told(smoke_test: Try, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINYARD_TOKEN", "not-a-token-that-it-knows")
    code, _, err = smoke_test("--folder", str(photos / "many"))
    assert code == 1
    assert "was answered 401" in err
    assert json.loads(err[err.index("{") :])["status"] == 401


def test_a_file_of_tokens_without_an_operator_is_a_wrong_setting(
    smoke_test: Try, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "readers").write_text("reader only-for-looking-at-it\n")
    monkeypatch.setenv("TRAINYARD_TOKENS_FILE", str(tmp_path / "readers"))
    code, _, err = smoke_test()
    assert code == 2
    assert "names no operator" in err
