"""`trainyard models switch` and `forget`: another network's faces in the place of those that people have named."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cli.sessions import open_database
from cli.stores import EXIT_USAGE, is_held, need_data_dir, on_servers, open_stores
from trainyard.settings import Settings, load_settings

if TYPE_CHECKING:
    from trainyard.database import Database
    from trainyard.face_networks import FaceNetwork
    from trainyard.sessions import NewSession

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130

Engine = Literal["dlib", "insightface"]
DataDirOption = Annotated[Path | None, typer.Option(help="Where database, vectors and models are kept.")]


def switch(
    engine: Annotated[Engine, typer.Argument(help="Whose faces are to be shown and named from now on.")],
    data_dir: DataDirOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout at the end.")] = False,
) -> None:
    """Find the faces of all photos anew with another network, beside those there are; then show them instead.

    Persons and refusals are carried over to the faces at the same places. Until the end everybody sees the old ones.
    """
    settings = load_settings(data_dir=data_dir)
    servers = on_servers(settings, data_dir)
    if not servers:
        need_data_dir(settings)
        _need_weights(engine, settings)
    with open_database(data_dir) as database:
        if reason := _nothing_to_do(database, engine, settings, look_at_weights=not servers):
            typer.echo(reason)
            return
    if servers or is_held(settings):  # what is asked for there, others do
        _only_ask(engine, data_dir)
    else:
        _run(engine, settings, data_dir, as_json=as_json)


def _need_weights(engine: str, settings: Settings) -> None:
    """Raises ModelMissing, with the ways to get them."""
    from jobs.engines.dlib import find_weights
    from jobs.engines.insightface import find_models

    if engine == "insightface":
        find_models(settings.models_path)
    else:
        find_weights()


def _nothing_to_do(database: "Database", engine: str, settings: Settings, *, look_at_weights: bool) -> str | None:
    from trainyard.face_networks import read_networks

    networks = database.transact(read_networks)
    if not networks:
        return f"No photo was searched for faces yet: `trainyard run PATH --face-engine {engine}` begins with it."
    active = networks[0]
    if active.engine != engine or (look_at_weights and not _same_weights(active, settings)):
        return None
    return f"The faces of {active.title} are those that are shown; there is nothing to do."


def _same_weights(active: "FaceNetwork", settings: Settings) -> bool:
    """InsightFace's networks go by the name of their folder; there is one of dlib's."""
    from jobs.engines.insightface import find_models

    return active.engine != "insightface" or find_models(settings.models_path).name == active.name


def wish_of(engine: str) -> "NewSession":
    """A session of its own, over all photos that are embedded."""
    from trainyard.sessions import ALL_PHOTOS, NewSession

    return NewSession(ALL_PHOTOS, options={"faces": True, "training": False, "face_engine": engine})


def _only_ask(engine: str, data_dir: Path | None) -> None:
    from trainyard.sessions import create

    with open_database(data_dir) as database:
        session_id, _ = database.transact(lambda connection: create(connection, wish_of(engine)))
    typer.echo(
        f"Session {session_id} finds the faces of all photos with {engine}; when it has ended, they are shown instead. "
        f"The page shows how far it is, and so does `trainyard sessions show {session_id}`. {_stays_shown(engine)}"
    )


def _run(engine: str, settings: Settings, data_dir: Path | None, *, as_json: bool) -> None:
    from cli.display import show
    from local.run import run_session

    with show(as_json=as_json) as display:
        summary = run_session(settings, wish_of(engine), display)
    with open_database(data_dir) as database:
        told = _outcome(database, engine, summary)
    if as_json:
        typer.echo(json.dumps({**summary, "switched": told["switched"]}, ensure_ascii=False))
    else:
        typer.echo(told["sentence"])
    raise typer.Exit(_exit_code(summary["overallStatus"], switched=told["switched"]))


def _exit_code(status: str, *, switched: bool) -> int:
    if status == "paused":
        return EXIT_INTERRUPTED
    return 0 if switched else EXIT_FAILED


def _outcome(database: "Database", engine: str, summary: dict[str, Any]) -> dict[str, Any]:
    from cli.forget import counted
    from trainyard.face_networks import count_unsearched, read_networks

    active, *others = database.transact(read_networks)
    if active.engine == engine:
        return {"switched": True, "sentence": _switched(active, others)}
    new = next((network for network in others if network.engine == engine), None)
    left = database.transact(lambda c: count_unsearched(c, active.id, new.id)) if new else 0
    why = (
        f"{engine} has yet to search {counted(left, 'photos')}"
        if left
        else f"the session is {summary['overallStatus']}"
    )
    return {
        "switched": False,
        "sentence": f"The faces of {active.title} are still those that are shown: {why}. The same command goes on. "
        "Photos whose embeddings are lost, or whose files are gone, need a session of their folder before.",
    }


def _switched(active: "FaceNetwork", others: "list[FaceNetwork]") -> str:
    kept = [f"`trainyard models forget {other.collection}` removes {other.faces:,}" for other in others if other.faces]
    old = f" The faces of before are kept: {'; '.join(kept)}." if kept else ""
    shown = f"The faces of {active.title} are shown now: {active.faces:,}, of {active.persons:,} persons."
    return f"{shown}{old} {_stays_shown(active.engine)}"


def _stays_shown(engine: str) -> str:
    return (
        "Where TRAINYARD_FACE_ENGINE, `--face-engine` or the chart's models.faceEngine names another network, make it "
        f"{engine} or auto: a session with one that has searched every photo shows that one's faces again."
    )


def forget(
    collection: Annotated[str, typer.Argument(help="Of a face network that is not shown, such as faces-dlib.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data_dir: DataDirOption = None,
) -> None:
    """Remove the faces of a network that is not shown any more, with their vectors, for good."""
    from cli.forget import ask, counted, counts
    from trainyard.collection_erasure import NetworkShown, erase_network
    from trainyard.face_networks import read_networks

    with open_stores(data_dir) as stores:
        networks = stores.database.transact(read_networks)
        found = next((network for network in networks if network.collection == collection), None)
        if found is None:
            names = ", ".join(network.collection for network in networks[1:]) or "there are none"
            typer.echo(f"{collection} is no collection of faces that are not shown ({names}).", err=True)
            raise typer.Exit(EXIT_USAGE)
        if found is networks[0]:
            raise NetworkShown(collection)
        ask(f"The {counted(found.faces, 'faces')} of {found.title} in {collection}", yes)
        erased = erase_network(stores, found.id)
    typer.echo(f"{counts(erased)} removed.")
