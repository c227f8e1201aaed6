"""The operators' documents beside the code and the chart: each code, value, metric, link and figure that they name."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import yaml

from api.app import CONNECTIONS
from controller.apply import MOST_SHARDS, SECONDS_PER_SHARD, _shard_count
from tests.charts.cases import LEAST
from tests.charts.rendering import CHART, Values, merged, render
from tests.cluster.binaries import is_built
from tests.rows import add_session, add_step
from trainyard.people.errors import PeopleError
from trainyard.photo_errors import PHOTO_ERROR_CODES

ROOT = Path(__file__).parents[2]
PAGES = {name: (ROOT / f"docs/{name}.md").read_text() for name in ("cluster", "operations")}
PRODUCT = ("api", "controller", "jobs", "trainyard", "cli")

# Calls that take a code, by what the code is told as. Those of a Job that is refused are what its session waits for.
WAITS = frozenset({"ride_out", "JobRefused"})
FAILS = frozenset({"WrongConfiguration", "RootUnusable", "ModelMissing", "FailStep", "_fail", "Failure"})
REFUSES = frozenset({"Problem", "problem_response", "RootUnusable"})
NO_ERROR = {"Accepted", "NothingToDo", "AlreadyCancelled", "Deleted"}  # of answers that are 2xx
WORD = re.compile(r"[A-Z][a-z]+[A-Za-z]*")
NO_CODE = {"Bearer", "Foreground", "Background"}


@pytest.fixture(autouse=True)
def _helm() -> None:
    """Most tests here ask no helm."""


# What the code says


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def calls(*packages: str) -> Iterator[tuple[str, ast.Call]]:
    """Every call of the product's code by the name that is called."""
    for file in (file for package in packages for file in sorted((ROOT / package).rglob("*.py"))):
        for node in ast.walk(tree(file)):
            if isinstance(node, ast.Call):
                yield getattr(node.func, "attr", getattr(node.func, "id", "")), node


def words(*nodes: ast.AST) -> set[str]:
    """Strings in them that may be codes, but for those that are another call's."""
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and WORD.fullmatch(node.value):
            found.add(node.value)
        elif isinstance(node, ast.IfExp | ast.BoolOp):
            found |= words(*ast.iter_child_nodes(node))
    return found - NO_CODE


def codes_of(names: frozenset[str], *packages: str) -> set[str]:
    return {word for name, call in calls(*packages) if name in names for word in words(*call.args)}


def codes_with_sentences(*files: str) -> set[str]:
    """First of a pair: how the controller tells a code and its sentence."""
    pairs = (node for file in files for node in ast.walk(tree(ROOT / file)) if isinstance(node, ast.Tuple))
    return {word for pair in pairs if len(pair.elts) == 2 for word in words(pair.elts[0])}


def worker_ends(code: str) -> set[str]:
    """Errors after which a worker exits with this code: their names are what it leaves as its word."""
    (job,) = (node for node in tree(ROOT / "cli/pieces.py").body if getattr(node, "name", "") == "_run_shard")
    handlers = [node for node in ast.walk(job) if isinstance(node, ast.ExceptHandler)]
    return {name.id for handler in handlers if code in ast.dump(handler) for name in _names(handler.type)}


def _names(caught: ast.AST | None) -> list[ast.Name]:
    return [node for node in ast.walk(caught) if isinstance(node, ast.Name)] if caught else []


def waiting_codes() -> set[str]:
    told = codes_with_sentences("controller/plan.py", "controller/turns.py", "controller/kubernetes/waiting.py")
    last_words = codes_with_sentences("controller/kubernetes/failures.py")
    return told | last_words | codes_of(WAITS, "controller", "jobs") | worker_ends("EXIT_COME_BACK")


def failure_codes() -> set[str]:
    at_once = worker_ends("EXIT_WRONG_CONFIGURATION") | {"BadSetting"}
    return codes_of(FAILS, "controller", "jobs", "trainyard") | at_once | {"OOMKilled"}


def problem_codes() -> set[str]:
    answers = codes_of(frozenset({"Answer"}), "trainyard") - NO_ERROR
    (away,) = (node for node in tree(ROOT / "api/problems.py").body if getattr(node, "name", "") == "_away")
    of_stores = {word for node in ast.walk(away) if isinstance(node, ast.IfExp) for word in words(node)}
    of_people = {error.__name__ for error in PeopleError.__subclasses__()}
    by_status = {"NotFound", "MethodNotAllowed", "TooLarge", "UnsupportedMediaType"}
    return codes_of(REFUSES, "api", "trainyard") | answers | of_stores | of_people | by_status


# What the documents say


def section(page: str, heading: str) -> str:
    return re.split(r"^## ", PAGES[page].partition(f"## {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def table_codes(heading: str) -> list[str]:
    """In the first column of a section's tables."""
    rows = re.findall(r"^\| (`.*?) \|", section("operations", heading), re.MULTILINE)
    return [code for row in rows for code in re.findall(r"`([^`]+)`", row)]


def fenced(kind: str) -> list[str]:
    return [block for page in PAGES.values() for block in re.findall(rf"^```{kind}\n(.*?)^```", page, re.M | re.S)]


def inline() -> set[str]:
    prose = [re.sub(r"^```.*?^```", "", page, flags=re.M | re.S) for page in PAGES.values()]
    return {code for text in prose for code in re.findall(r"`([^`\n]+)`", text)}


def test_every_wait_is_explained() -> None:
    assert sorted(table_codes("When a session waits")) == sorted(waiting_codes())


def test_every_failure_of_a_session_is_explained() -> None:
    assert sorted(table_codes("When a session failed")) == sorted(failure_codes())


def test_every_failure_of_a_photo_is_explained() -> None:
    assert sorted(table_codes("When a photo failed")) == sorted(PHOTO_ERROR_CODES)


def test_every_refusal_of_the_api_is_explained() -> None:
    assert sorted(table_codes("When the API says no")) == sorted(problem_codes())


def test_reasons_of_conditions_are_the_controllers() -> None:
    code = "".join(path.read_text() for path in (ROOT / "controller/kubernetes").glob("resource*.py"))
    assert [reason for reason in table_codes("What resources say") if f'"{reason}"' not in code] == []


@pytest.mark.parametrize("page", PAGES)
def test_metrics_are_the_products(page: str) -> None:
    code = "".join(path.read_text() for name in ("api", "controller") for path in (ROOT / name).rglob("*.py"))
    made = {name for name in re.findall(r'"(trainyard_\w+)"', code)}
    named = {name.removesuffix("_total") for name in re.findall(r"\btrainyard_[a-z_]+\b(?!\))", PAGES[page])}
    assert named - made <= {"trainyard_controller_"}  # of a pattern for grep


@pytest.mark.parametrize("page", PAGES)
def test_settings_are_the_products(page: str) -> None:
    from trainyard.settings import Settings

    named = set(re.findall(r"\bTRAINYARD_([A-Z_]+)\b", PAGES[page]))
    assert {name.lower() for name in named} <= Settings.model_fields.keys()


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", PAGES[page]):
        file, _, anchor = target.partition("#")
        if target.startswith("https://"):
            continue
        path = ROOT / "docs" / (file or f"{page}.md")
        if not path.exists() or (anchor and anchor not in anchors(path)):
            broken.append(target)
    assert broken == []


def anchors(path: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_files_of_the_checkout_are_there(page: str) -> None:
    named = set(re.findall(r"(?<![\w/.-])(?:charts|images|jobs|controller)/[\w./-]*\w", PAGES[page]))
    places = {re.sub(r"images/\$?name.*|images/$", "images", name) for name in named}
    assert [place for place in sorted(places) if not (ROOT / place).exists()] == []


# The chart's values


def known(path: str) -> bool:
    """Whether the schema of the values takes this key."""
    schema = yaml.safe_load((CHART / "values.schema.json").read_text())
    here: Any = schema
    for key in path.split("."):
        here = schema["definitions"][here["$ref"].rpartition("/")[2]] if "$ref" in here else here
        more = here.get("additionalProperties")
        here = here.get("properties", {}).get(key, more if isinstance(more, dict) else None)
        if here is None:
            return False
    return True


def named_values() -> set[str]:
    sections = "|".join(yaml.safe_load((CHART / "values.yaml").read_text()))
    dotted = {code.partition("=")[0] for code in inline() if re.fullmatch(rf"({sections})(\.\w+)+(=.*)?", code)}
    return dotted | set(re.findall(r"--set ([\w.]+)=", "".join(PAGES.values())))


def test_values_that_are_named_are_the_charts() -> None:
    named = named_values()
    assert len(named) > 30  # else they are no longer found
    assert [value for value in sorted(named) if not known(value)] == []


def test_a_value_that_the_chart_has_not_would_be_seen() -> None:
    assert known("jobs.steps.embed.parallelism")
    assert not known("jobs.steps.embed.parallel")
    assert not known("photos.existingclaim")


def snippets() -> list[Values]:
    """YAML that is no Kubernetes object."""
    return [found for block in fenced("yaml") for found in yaml.safe_load_all(block) if "kind" not in found]


def switched() -> list[Values]:
    """What `--set` says, each by itself."""
    found = re.findall(r"--set ([\w.]+)=([^\s`]+)", "".join(PAGES.values()))
    return [_nested(path.split("."), yaml.safe_load(value)) for path, value in found]


def _nested(keys: list[str], value: Any) -> Values:
    return {keys[0]: _nested(keys[1:], value) if len(keys) > 1 else value}


@pytest.mark.skipif(not is_built("helm"), reason="helm is not built here; `make test-cluster` builds it")
@pytest.mark.parametrize("values", [*snippets(), *switched()], ids=str)
def test_values_render(values: Values) -> None:
    assert render(merged(LEAST, values)).of_kind("Deployment")


# Figures


@pytest.fixture
def connection(database_url: str) -> Iterator[sa.Connection]:
    engine = sa.create_engine(database_url)
    with engine.connect() as opened:
        yield opened
    engine.dispose()


class Parallel:
    """A backend of so many workers at once."""

    def __init__(self, workers: int) -> None:
        self._workers = workers

    def parallelism(self, step: str) -> int:
        return self._workers

    def smallest_shard(self, step: str) -> int:
        return 1


def sizes() -> list[tuple[int, int, int, int, str]]:
    """Images, rate, GPUs, shards and hours of each cell of the table."""
    rows = re.findall(r"^\| ([\d,]+) \| (\d+) \| (.*) \|$", section("cluster", "13. Sizing"), re.MULTILINE)
    cells = []
    for images, rate, told in rows:
        for gpus, cell in zip((1, 8, 64), told.split(" | "), strict=True):
            shards, hours = re.fullmatch(r"([\d,]+), (.+) h", cell).groups()  # type: ignore[union-attr]
            cells.append((_number(images), int(rate), gpus, _number(shards), hours))
    return cells


def _number(text: str) -> int:
    return int(text.replace(",", ""))


def test_the_table_of_sizes_is_the_controllers_cut(connection: sa.Connection) -> None:
    cells = sizes()
    assert len(cells) == 36
    for images, rate, gpus, shards, hours in cells:
        assert cut(connection, images, rate, gpus) == shards, (images, rate, gpus)
        needed = images / (rate * gpus) / 3600
        assert hours == ("under 0.1" if needed < 0.1 else f"{needed:,.1f}"), (images, rate, gpus)


def cut(connection: sa.Connection, images: int, rate: int, gpus: int) -> int:
    """Shards of a step, after a session in which as many workers were as fast."""
    models = {"clip": {"id": 1}, "device": "cpu"}
    measured, session = add_session(connection, models=models), add_session(connection, models=models)
    worked = {"seconds": images / (rate * gpus), "worker_seconds": images / rate}
    add_step(connection, measured, "embed", "completed", total=images, **worked)
    add_step(connection, session, "embed", total=images)
    row = connection.execute(sa.text("SELECT * FROM steps WHERE session_id = :id"), {"id": session}).one()
    found = _shard_count(connection, row, Parallel(gpus))  # type: ignore[arg-type]
    connection.rollback()
    return found


def test_constants_are_as_told() -> None:
    page = PAGES["cluster"]
    assert f"× {SECONDS_PER_SHARD} s)" in page
    assert f"at most {MOST_SHARDS:,}" in page
    assert f"| each API replica | {CONNECTIONS} |" in page
