"""The command line's pieces: what they answer, how they fail, and the exit codes a cluster goes by."""

import http.server
import importlib
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from cli import main as command_line
from cli import pieces
from cli.models import fetch_with_bar
from controller import lease, standby
from controller.health import AWAY
from jobs import worker
from jobs.context import Context
from jobs.engines.download import Download
from jobs.engines.weights import WeightFile
from local.data_dir import DataDir
from local.postgres import EmbeddedPostgres
from local.sessions import begin
from tests.e2e.stores.qdrant import stand_in
from tests.local_runs import REPOSITORY, wait_until
from tests.served_rows import unreachable
from trainyard import database as database_module
from trainyard import shards
from trainyard.database import Database
from trainyard.sessions import NewSession
from trainyard.shards import Overtaken, Shard, ShardKey
from trainyard.tables import steps
from trainyard.vectors import Vectors

CLOSED = "127.0.0.1:1"  # nothing listens there
UNTRAINED = {"faces": False, "untrained": True}


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str

    @property
    def last_words(self) -> str:
        """What the last line on stderr says; a command that logs says it in its log."""
        line = self.err.splitlines()[-1]
        return str(json.loads(line)["message"]) if line.startswith("{") else line


Ask = Callable[..., Answer]


@pytest.fixture
def trainyard(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Ask:
    """The command line in this process, with no settings but a data directory that is not there."""
    monkeypatch.setattr(logging.root, "handlers", list(logging.root.handlers))  # commands add theirs
    for name in [*os.environ]:
        if name.startswith("TRAINYARD_") or name.lower().endswith("_proxy") or name == "JOB_COMPLETION_INDEX":
            monkeypatch.delenv(name)
    monkeypatch.setenv("TRAINYARD_DATA_DIR", str(tmp_path / "data"))

    def ask(*arguments: str, **environment: str) -> Answer:
        monkeypatch.setattr(sys, "argv", ["trainyard", *arguments])
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            command_line.main()
        said = capsys.readouterr()
        return Answer(int(end.value.code or 0), said.out, said.err)

    return ask


@pytest.fixture(scope="module")
def data_dir() -> Iterator[Path]:
    """A data directory whose PostgreSQL runs, as while a `run` is under way, but for Qdrant and the lock."""
    folder = Path(tempfile.mkdtemp(prefix="trainyard-test-"))
    folder.chmod(0o711)  # under root PostgreSQL's own uid must pass
    path = folder / "a data dir"
    path.mkdir()
    path.chmod(0o711)
    server = EmbeddedPostgres(path)
    server.start()
    yield path
    server.stop()
    shutil.rmtree(folder)


@pytest.fixture
def database(data_dir: Path, trainyard: Ask) -> Iterator[Database]:
    """Its database, migrated by the command; the command line's data directory from here on."""
    assert trainyard("migrate", TRAINYARD_DATA_DIR=str(data_dir)).code == 0
    database = Database(EmbeddedPostgres(data_dir).start())
    yield database
    database.close()


def begin_session(database: Database, root: Path) -> int:
    root.mkdir(exist_ok=True)
    wish = NewSession(str(root), [], None, UNTRAINED)
    session_id, _ = database.transact(lambda connection: begin(connection, wish))
    return session_id


def cut_discover(database: Database, root: Path) -> list[str]:
    """A session with one shard to discover; the arguments of `trainyard` that run it."""
    session_id = begin_session(database, root)

    def cut(connection: sa.Connection) -> None:
        row = {"session_id": session_id, "step": "discover", "status": "running", "attempt": 1}
        connection.execute(sa.insert(steps).values(row))
        shards.cut_whole(connection, session_id, "discover", 1)

    database.transact(cut)
    return ["job", "discover", "--session", str(session_id), "--attempt", "1"]


# The command itself


def test_importing_the_command_line_imports_nothing_heavy() -> None:
    heavy = "('torch', 'onnxruntime', 'sqlalchemy', 'numpy', 'qdrant_client', 'httpx')"
    program = f"import sys, cli.main; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_the_version_is_shown(trainyard: Ask) -> None:
    assert trainyard("--version") == Answer(0, "trainyard 0.1.0\n", "")


def test_every_error_written_for_people_is_where_the_table_says() -> None:
    for name, code in command_line.EXIT_CODES.items():
        module, _, kind = name.rpartition(".")
        error = getattr(importlib.import_module(module), kind)
        assert f"{error.__module__}.{error.__qualname__}" == name
        assert code in (1, 2)


def test_a_defect_is_no_error_for_people() -> None:
    assert command_line.exit_code_of(KeyError("x")) is None


@pytest.mark.parametrize("command", ["doctor", "migrate", "controller", "models list"])
def test_a_bad_setting_ends_as_one_line_that_names_the_variable(trainyard: Ask, command: str) -> None:
    answer = trainyard(*command.split(), TRAINYARD_LOADERS="none")

    assert (answer.code, answer.out) == (2, "")
    assert answer.last_words.startswith("TRAINYARD_LOADERS='none' does not fit: ")
    assert answer.err.count("\n") == 1


def test_a_database_that_is_away_ends_as_one_line(trainyard: Ask) -> None:
    answer = trainyard("migrate", TRAINYARD_DATABASE_URL=f"postgresql://nobody@{CLOSED}/none")

    assert answer.code == 1
    assert answer.err.startswith("PostgreSQL cannot be used: ")
    assert answer.err.count("\n") == 1


def test_a_database_url_that_is_none_ends_as_one_line(trainyard: Ask) -> None:
    answer = trainyard("migrate", TRAINYARD_DATABASE_URL="rubbish")

    assert answer.code == 2
    assert answer.err.count("\n") == 1


# models


def test_models_are_listed_with_sizes_licences_and_what_is_here(trainyard: Ask, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "clip"
    folder.mkdir(parents=True)
    (folder / "open_clip_model.safetensors").touch()
    lines = trainyard("models", "list", TRAINYARD_MODEL_DIR=str(tmp_path / "models")).out.splitlines()

    clip, insightface, dlib = ([part.strip() for part in line.split("  ") if part.strip()] for line in lines[1:4])
    assert clip[0::2] == ["clip", "605 MB", "yes"]
    assert insightface[0::2] == ["insightface", "289 MB", "no"]
    assert insightface[3] == "non-commercial research use only"
    assert dlib == ["dlib", "HOG detector and ResNet descriptor", "CC0", "yes"]


def test_insightface_is_not_downloaded_before_its_licence_is_accepted(trainyard: Ask) -> None:
    answer = trainyard("models", "download", "insightface")

    assert answer.code == 2
    assert "--accept-non-commercial" in answer.err


def test_without_internet_a_download_ends_with_the_ways_out(trainyard: Ask) -> None:
    answer = trainyard("models", "download", "clip", https_proxy=f"http://{CLOSED}")

    assert answer.code == 2
    assert all(way in answer.err for way in ("TRAINYARD_MODEL_DIR", "--untrained", "copy"))


def test_a_download_on_a_pipe_says_two_lines_and_nothing_when_quiet_or_here(
    served_model: Download, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch_with_bar(served_model, tmp_path / "quiet", quiet=True)
    assert capsys.readouterr() == ("", "")

    fetch_with_bar(served_model, tmp_path / "piped")
    assert capsys.readouterr() == ("", "Downloading A model, 3 MB.\nDownloaded A model.\n")

    fetch_with_bar(served_model, tmp_path / "piped")
    assert capsys.readouterr() == ("", "")


def test_a_download_on_a_terminal_shows_a_bar(
    served_model: Download, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    fetch_with_bar(served_model, tmp_path)

    assert "3.0/3.0 MB" in capsys.readouterr().err


@pytest.fixture
def served_model(tmp_path: Path) -> Iterator[Download]:
    """A model of 3 MB on a real HTTP server of this machine."""
    content = bytes(3_000_000)
    served = tmp_path / "served"
    served.mkdir()
    (served / "weights.bin").write_bytes(content)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(served))  # type: ignore[arg-type]

        def log_message(self, format: str, *arguments: object) -> None:
            """Silence."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}/weights.bin"
        file = WeightFile("weights.bin", len(content), sha256(content).hexdigest())
        yield Download("model", "A model", url, "model", (file,), "MIT")
        server.shutdown()
        thread.join()


# doctor


def test_doctor_says_what_is_missing_and_what_to_type(trainyard: Ask, tmp_path: Path) -> None:
    answer = trainyard("doctor")

    assert answer.code == 0
    for subject in ("Cores", "Device", "onnxruntime", "Threads", "Batches", "CLIP", "PostgreSQL", "Qdrant"):
        assert subject in answer.out
    assert "NON-COMMERCIAL USE ONLY" in answer.out
    assert answer.out.endswith(
        "To type:\n  trainyard models download clip\n  trainyard models download insightface --accept-non-commercial\n"
    )
    assert not (tmp_path / "data").exists()


def test_doctor_names_another_data_directory_in_what_to_type(trainyard: Ask, tmp_path: Path) -> None:
    folder = tmp_path / "other one"

    assert (
        f"trainyard models download clip --data-dir '{folder}'\n" in trainyard("doctor", "--data-dir", str(folder)).out
    )


def test_doctor_fails_where_run_as_set_cannot_work(trainyard: Ask) -> None:
    answer = trainyard("doctor", TRAINYARD_FACE_ENGINE="insightface", TRAINYARD_QDRANT_URL=f"http://{CLOSED}")

    assert answer.code == 1
    assert [line.split()[1] for line in answer.out.splitlines() if line.startswith("missing")] == [
        "InsightFace",
        "Qdrant",
    ]


@pytest.mark.parametrize(("key", "code", "found"), [("k", 0, "images"), ("another", 1, "refuses the key (401")])
def test_doctor_asks_a_qdrant_server_as_workers_do(
    trainyard: Ask, tmp_path: Path, key: str, code: int, found: str
) -> None:
    with (
        stand_in("127.0.0.1", tmp_path, "k", port=0) as server,
        closing(Vectors.server(server.qdrant.url, "k")) as vectors,
    ):
        vectors.ensure_collection("images", 4, "m")
        answer = trainyard("doctor", TRAINYARD_QDRANT_URL=server.qdrant.url, TRAINYARD_QDRANT_API_KEY=key)

    assert answer.code == code
    assert found in " ".join(answer.out.split())


def test_doctor_says_who_holds_the_data_directory_and_that_postgresql_runs(
    trainyard: Ask, database: Database, data_dir: Path
) -> None:
    with DataDir(data_dir):
        held = trainyard("doctor").out

    assert f"is held by process {os.getpid()} (trainyard migrate)" in held
    assert "running for this data directory, schema up to date" in held
    assert f"{data_dir}, held by nobody" in trainyard("doctor").out


# migrate


def test_migrate_makes_the_schema_and_may_be_called_again(trainyard: Ask, data_dir: Path) -> None:
    server = EmbeddedPostgres.url_of_running(data_dir)
    assert server is not None
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.execute(sa.text("CREATE DATABASE empty"))
    url = sa.make_url(server).set(database="empty").render_as_string(hide_password=False)
    answers = [trainyard("migrate", TRAINYARD_DATABASE_URL=url) for _ in range(2)]

    assert answers == [Answer(0, "The database's schema is up to date.\n", "")] * 2
    assert "training_sessions" in sa.inspect(sa.create_engine(url, poolclass=sa.NullPool)).get_table_names()


def test_migrate_without_a_database_names_the_ways_to_give_one(trainyard: Ask) -> None:
    answer = trainyard("migrate")

    assert answer.code == 2
    assert "TRAINYARD_DATABASE_URL is not set" in answer.err
    assert "TRAINYARD_DATA_DIR" in answer.err


def test_migrate_waits_for_a_database_that_is_not_there_yet(
    trainyard: Ask, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = EmbeddedPostgres.url_of_running(data_dir)
    assert server is not None
    url = sa.make_url(server).set(database="later").render_as_string(hide_password=False)
    tried, plain = threading.Event(), database_module.migrate

    def migrate(url: str) -> str | None:
        try:
            return plain(url)
        finally:
            tried.set()

    def create_once_it_waits() -> None:
        wait_until(tried.is_set, "migrate to try")
        engine = sa.create_engine(server, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with engine.connect() as connection:
            connection.execute(sa.text("CREATE DATABASE later"))

    monkeypatch.setattr(pieces, "TRY_AGAIN_SECONDS", 0.05)
    monkeypatch.setattr(database_module, "migrate", migrate)
    with ThreadPoolExecutor() as pool:
        creating = pool.submit(create_once_it_waits)
        answer = trainyard("migrate", "--wait", TRAINYARD_DATABASE_URL=url)
        creating.result()

    assert (answer.code, answer.out) == (0, "The database's schema is up to date.\n")
    assert answer.err.startswith("PostgreSQL cannot be migrated yet, trying again: ")
    assert answer.err.count("\n") == 1, "what it waits for is said once"


def test_migrate_gives_a_database_up_that_stays_away(trainyard: Ask) -> None:
    url = f"postgresql://nobody@{CLOSED}/none"
    answer = trainyard("migrate", "--wait", TRAINYARD_DATABASE_URL=url, TRAINYARD_OUTAGE_SECONDS="0.1")

    assert answer.code == 1
    assert answer.err.splitlines()[-1].startswith("PostgreSQL cannot be used: ")


def test_migrate_leaves_a_later_versions_schema_alone(trainyard: Ask, database: Database) -> None:
    def named(version: str) -> None:
        named = sa.text("UPDATE alembic_version SET version_num = :version")
        database.transact(lambda connection: connection.execute(named, {"version": version}) and None)

    (before,) = database.transact(
        lambda c: list(c.execute(sa.text("SELECT version_num FROM alembic_version")).scalars())
    )
    named("9999")
    try:
        answer = trainyard("migrate")
    finally:
        named(before)

    assert answer.code == 0
    assert answer.out.startswith("The database's schema is at version 9999, which a later version of Trainyard made")


# job


def test_a_job_discovers_a_folder_and_ends_with_0(trainyard: Ask, database: Database, tmp_path: Path) -> None:
    arguments = cut_discover(database, tmp_path / "photos")

    assert trainyard(*arguments).code == 0
    row = _shard(database, arguments)
    assert row.finished_at is not None
    assert trainyard(*arguments).code == 0  # a finished shard is left as it is


def test_a_job_whose_folder_is_missing_ends_with_78(trainyard: Ask, database: Database, tmp_path: Path) -> None:
    arguments = cut_discover(database, tmp_path / "photos")
    (tmp_path / "photos").rmdir()
    answer = trainyard(*arguments)

    assert answer.code == 78
    assert f"There is no folder {tmp_path / 'photos'}" in answer.err


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"JOB_COMPLETION_INDEX": "first"}, "JOB_COMPLETION_INDEX='first' does not fit"),
        ({"TRAINYARD_QDRANT_URL": "http://qdrant:6333"}, "TRAINYARD_DATABASE_URL is not set"),
        ({"TRAINYARD_EMBED_BATCH": "0"}, "TRAINYARD_EMBED_BATCH='0' does not fit"),
        ({"JOB_COMPLETION_INDEX": "7"}, "discover, attempt 1, shard 7"),
    ],
)
def test_a_job_that_cannot_succeed_ends_with_78_and_says_why(
    trainyard: Ask, database: Database, tmp_path: Path, environment: dict[str, str], said: str
) -> None:
    answer = trainyard(*cut_discover(database, tmp_path), **environment)

    assert answer.code == 78
    assert said in answer.err


def test_a_job_of_no_known_step_ends_with_78(trainyard: Ask, database: Database) -> None:
    assert trainyard("job", "dream", "--session", "1", "--attempt", "1").code == 78


def test_a_job_beside_a_run_that_holds_the_vectors_ends_with_75(
    trainyard: Ask, database: Database, data_dir: Path, tmp_path: Path
) -> None:
    arguments = cut_discover(database, tmp_path)
    vectors = Vectors.local(data_dir / "qdrant")
    try:
        assert trainyard(*arguments).code == 75
    finally:
        vectors.close()


def test_sigterm_stops_a_job_with_75(
    trainyard: Ask, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(context: Context, shard: Shard) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        assert context.stop.wait(30)
        context.check_stop()

    monkeypatch.setitem(worker.RUN, "discover", run)  # type: ignore[arg-type]
    before = signal.getsignal(signal.SIGTERM)

    assert trainyard(*cut_discover(database, tmp_path)).code == 75
    assert signal.getsignal(signal.SIGTERM) == before


# Imports take seconds; as one of them begins, this process is told to stop.
TOLD_WHILE_IMPORTING = """
import os, signal, sys

class Tell:
    def find_spec(self, name, path=None, target=None):
        if name == "jobs.worker":
            os.kill(os.getpid(), signal.SIGTERM)

sys.meta_path.insert(0, Tell())
from cli.main import main
main()
"""


def test_sigterm_while_a_job_still_imports_ends_it_with_75_and_claims_nothing(
    database: Database, tmp_path: Path
) -> None:
    arguments = cut_discover(database, tmp_path / "photos")
    command = [sys.executable, "-c", TOLD_WHILE_IMPORTING, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY)

    assert (done.returncode, "told to stop" in done.stderr) == (75, True), done.stderr
    assert _shard(database, arguments).claim == 0


def test_an_overtaken_job_ends_with_75(
    trainyard: Ask, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(context: Context, shard: Shard) -> None:
        raise Overtaken("Another worker has the shard.")

    monkeypatch.setitem(worker.RUN, "discover", run)  # type: ignore[arg-type]

    assert trainyard(*cut_discover(database, tmp_path)).code == 75


def _shard(database: Database, arguments: list[str]) -> sa.Row[tuple[object, ...]]:
    key = ShardKey(int(arguments[3]), "discover", 1, 0)
    statement = sa.select(shards.shards_table).where(key.clause)
    return database.transact(lambda connection: connection.execute(statement).one())


@pytest.fixture
def word(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where a pod is asked what its worker died of."""
    file = tmp_path / "termination-log"
    file.touch()
    monkeypatch.setattr("cli.pieces.TERMINATION_LOG", file)
    return file


def test_a_worker_that_fails_leaves_word_where_its_pod_is_asked_for_it(trainyard: Ask, word: Path) -> None:
    answer = trainyard("job", "explode", "--session", "1", "--attempt", "1")

    assert answer.code == 78
    assert word.read_text().startswith("BadSetting: TRAINYARD_DATABASE_URL is not set")


def test_the_word_of_a_database_error_names_no_photo(
    trainyard: Ask, database: Database, tmp_path: Path, word: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(context: Context, shard: Shard) -> None:
        asked = sa.text("SELECT * FROM nowhere WHERE path = :path")
        context.database.transact(lambda c: c.execute(asked, {"path": "/photos/private.jpg"}))

    monkeypatch.setitem(worker.RUN, "discover", run)  # type: ignore[arg-type]
    with pytest.raises(sa.exc.ProgrammingError):
        trainyard(*cut_discover(database, tmp_path / "photos"))

    assert word.read_text() == 'ProgrammingError: relation "nowhere" does not exist'


def test_a_word_is_one_line_that_kubernetes_keeps_whole(
    trainyard: Ask, database: Database, tmp_path: Path, word: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(context: Context, shard: Shard) -> None:
        raise RuntimeError("a\0b\nc \udcff" + 4_000 * "ü")

    monkeypatch.setitem(worker.RUN, "discover", run)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError):
        trainyard(*cut_discover(database, tmp_path / "photos"))

    said = word.read_bytes()
    assert said.decode().startswith("RuntimeError: ab c \\udcffü")
    assert 3_990 < len(said) <= 4_000


# controller


def test_the_controller_drives_a_session_to_its_end_and_stops_on_sigterm(
    trainyard: Ask, database: Database, tmp_path: Path
) -> None:
    session_id = begin_session(database, tmp_path / "photos")

    def stop_when_completed() -> None:
        pause = threading.Event()
        while _status(database, session_id) in ("pending", "running"):
            pause.wait(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    watcher = threading.Thread(target=stop_when_completed)
    watcher.start()
    answer = trainyard("controller", "--port", "0")
    watcher.join()

    assert answer.code == 0
    assert _status(database, session_id) == "completed"


def test_a_second_controller_waits_until_the_first_ones_lease_has_ended(trainyard: Ask, database: Database) -> None:
    lease.take(database, "somebody else", alone=True)
    seen = []

    def end_lease_then_stop() -> None:
        seen.append(_holder(database))
        database.transact(lambda c: c.execute(sa.text("UPDATE controller_lease SET expires_at = now()")))
        wait_until(lambda: _holder(database) != "somebody else", "the second controller to take over")
        os.kill(os.getpid(), signal.SIGTERM)

    watcher = threading.Thread(target=end_lease_then_stop)
    watcher.start()
    answer = trainyard("controller", "--port", "0")
    watcher.join()

    assert seen == ["somebody else"]
    assert answer.code == 0


def _holder(database: Database) -> str:
    statement = sa.text("SELECT holder FROM controller_lease")
    return database.transact(lambda connection: connection.execute(statement).scalar_one())


def test_the_controller_says_which_store_it_needs(trainyard: Ask) -> None:
    answer = trainyard("controller", "--port", "0", TRAINYARD_DATABASE_URL="postgresql://nobody@nowhere/none")

    assert answer.code == 2
    assert answer.last_words.startswith("TRAINYARD_QDRANT_URL is not set: name both PostgreSQL and Qdrant")


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the controller says, from where it answers on."""
    lines: list[str] = []
    heard = logging.Handler()
    heard.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    for name in ("cli.controller", "controller.standby"):
        monkeypatch.setattr(logging.getLogger(name), "handlers", [heard])
    return lines


def _wait_until_it_says(said: list[str], beginning: str) -> str:
    """The first line that begins so, once it is said."""
    wait_until(lambda: any(line.startswith(beginning) for line in said), f"the controller to say {beginning!r}")
    return next(line for line in said if line.startswith(beginning))


def _url(said: list[str]) -> str:
    return _wait_until_it_says(said, "probes and metrics at ").removeprefix("probes and metrics at ")


@contextmanager
def _meanwhile(work: Callable[[], None]) -> Iterator[None]:
    """Have `work` done in a thread, and the controller told to stop after it, whatever became of it."""

    def run() -> None:
        try:
            work()
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    with ThreadPoolExecutor(1) as threads:
        done = threads.submit(run)
        yield
        done.result()


def test_the_controller_says_where_it_answers_and_does_while_it_leads(
    trainyard: Ask, database: Database, said: list[str]
) -> None:
    lease.take(database, "somebody else", alone=True)
    database.transact(lambda c: c.execute(sa.text("UPDATE controller_lease SET expires_at = now()")))
    answers: list[httpx.Response] = []

    def ask() -> None:
        _wait_until_it_says(said, "leading in term")
        wait_until(lambda: httpx.get(f"{_url(said)}/readyz").status_code == 200, "it to be ready")
        answers.extend(httpx.get(f"{_url(said)}/{page}") for page in ("livez", "readyz", "metrics"))

    with _meanwhile(ask):
        answer = trainyard("controller", "--port", "0")

    assert answer.code == 0
    assert [found.status_code for found in answers] == [200, 200, 200]
    assert "trainyard_controller_leader 1.0" in answers[2].text


# A database that is away as the controller starts


def _ask(said: list[str], page: str) -> tuple[int, str]:
    found = httpx.get(f"{_url(said)}/{page}")
    return found.status_code, found.text.rstrip()


def _wait_until_it_misses_the_database(said: list[str]) -> None:
    wait_until(lambda: _ask(said, "readyz") == (503, AWAY["database_away"]), "it to miss the database")


@pytest.fixture
def away(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[ExitStack]:
    """The database takes no connection until this is closed; nobody holds its lease."""
    monkeypatch.setattr(standby, "TRY_AGAIN_SECONDS", 0.02)
    database.transact(lambda c: c.execute(sa.text("DELETE FROM controller_lease")))
    administration = sa.make_url(database.url).set(database="postgres").render_as_string(hide_password=False)
    with ExitStack() as stack:
        stack.enter_context(unreachable(administration, database))
        yield stack


def test_a_controller_that_starts_before_its_database_waits_for_it(
    trainyard: Ask, away: ExitStack, said: list[str]
) -> None:
    alive: list[tuple[int, str]] = []

    def let_it_in() -> None:
        _wait_until_it_misses_the_database(said)
        alive.append(_ask(said, "livez"))
        away.close()
        wait_until(lambda: _ask(said, "readyz") == (200, "ok"), "it to be ready")

    with _meanwhile(let_it_in):
        answer = trainyard("controller", "--port", "0")

    assert (answer.code, alive) == (0, [(200, "ok")])
    assert len([line for line in said if line.startswith("PostgreSQL is away, waiting for it")]) == 1
    assert any(line.startswith("leading in term") for line in said)


@pytest.mark.usefixtures("away")
def test_a_controller_that_waits_for_its_database_ends_when_told_to(trainyard: Ask, said: list[str]) -> None:
    with _meanwhile(lambda: _wait_until_it_misses_the_database(said)):
        answer = trainyard("controller", "--port", "0")

    assert answer.code == 0


def test_a_controller_ends_where_the_schema_is_not_its_own(trainyard: Ask, database: Database) -> None:
    url = sa.make_url(database.url).set(database="postgres").render_as_string(hide_password=False)
    answer = trainyard("controller", "--port", "0", TRAINYARD_DATABASE_URL=url, TRAINYARD_QDRANT_URL=f"http://{CLOSED}")

    assert answer.code == 2
    assert answer.last_words.endswith("Run `trainyard migrate`.")


def test_a_port_that_is_taken_ends_the_controller_with_what_to_do(trainyard: Ask) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        answer = trainyard("controller", "--port", str(port))

    assert (answer.code, answer.out) == (2, "")
    assert answer.err.count("\n") == 1
    assert answer.last_words == (
        f"Cannot listen on 127.0.0.1, port {port}, for probes and metrics: Address already in use. "
        "Choose another with --port (0 takes a free one) or --host."
    )


def _status(database: Database, session_id: int) -> str:
    statement = sa.text("SELECT status FROM training_sessions WHERE id = :id")
    return database.transact(lambda connection: connection.execute(statement, {"id": session_id}).scalar_one())


def test_sessions_answer_in_json(trainyard: Ask, database: Database, tmp_path: Path) -> None:
    session_id = begin_session(database, tmp_path / "photos")

    assert session_id in [row["sessionId"] for row in json.loads(trainyard("sessions", "list", "--json").out)]
