"""The command `trainyard`: one typer app, a file for each group of commands.

Nothing heavy is imported here or at the top of those files: `trainyard --help` must answer at once.
"""

import logging
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from cli import pieces
from cli.controller import controller
from cli.doctor import doctor
from cli.forget import forget
from cli.models import app as models
from cli.people import app as people
from cli.repair import repair
from cli.run import run
from cli.serve import api, serve
from cli.sessions import app as sessions
from cli.smoke_test import smoke_test
from trainyard.logs import logs_json

log = logging.getLogger(__name__)

EXIT_FAILED = 1  # it began, and what it needed went away
EXIT_UNUSABLE = 2  # as it stands it cannot begin; the sentence says what to do

# Errors written for people, with the exit code each ends in. By name, since importing their modules would import
# SQLAlchemy, Qdrant's client and more.
EXIT_CODES = {
    "api.server.CannotListen": EXIT_UNUSABLE,
    "api.server.NeedsTokens": EXIT_UNUSABLE,
    "api.server.ServerDied": EXIT_FAILED,
    "api.tokens.TokensUnusable": EXIT_UNUSABLE,
    "cli.smoke_test.SmokeTestFailed": EXIT_FAILED,
    "controller.kubernetes.binding.WrongNamespace": EXIT_UNUSABLE,
    "controller.kubernetes.credentials.BadKubeconfig": EXIT_UNUSABLE,
    "controller.kubernetes.errors.Forbidden": EXIT_UNUSABLE,
    "controller.lease.LeaseHeld": EXIT_UNUSABLE,
    "controller.lease.LeaseLost": EXIT_FAILED,
    "controller.serving.CannotListen": EXIT_UNUSABLE,
    "jobs.engines.clip_text_export.ExportFailed": EXIT_UNUSABLE,
    "jobs.engines.devices.DeviceMissing": EXIT_UNUSABLE,
    "jobs.engines.download.DownloadFailed": EXIT_UNUSABLE,
    "jobs.engines.weights.ModelMissing": EXIT_UNUSABLE,
    "jobs.outcomes.WrongConfiguration": EXIT_UNUSABLE,
    "local.data_dir.DataDirBusy": EXIT_UNUSABLE,
    "local.data_dir.DataDirUnusable": EXIT_UNUSABLE,
    "local.installation.ControllerDied": EXIT_FAILED,
    "local.postgres.PostgresFailed": EXIT_UNUSABLE,
    "psycopg.OperationalError": EXIT_FAILED,
    "sqlalchemy.exc.ArgumentError": EXIT_UNUSABLE,
    "sqlalchemy.exc.OperationalError": EXIT_FAILED,
    "trainyard.active_sessions.SessionActive": EXIT_UNUSABLE,
    "trainyard.collection_erasure.NetworkShown": EXIT_UNUSABLE,
    "trainyard.database.DatabaseUnavailable": EXIT_FAILED,
    "trainyard.database.SchemaMismatch": EXIT_UNUSABLE,
    "trainyard.decoder_process.ChildNotStarted": EXIT_FAILED,
    "trainyard.folders.RootUnusable": EXIT_UNUSABLE,
    "trainyard.lifecycle.NoSuchSession": EXIT_UNUSABLE,
    "trainyard.people.errors.PeopleError": EXIT_UNUSABLE,
    "trainyard.people.exchange_records.BadExchange": EXIT_UNUSABLE,
    "trainyard.settings.BadSetting": EXIT_UNUSABLE,
    "trainyard.shards.NoSuchShard": EXIT_UNUSABLE,
    "trainyard.vectors.VectorsBusy": EXIT_UNUSABLE,
    "trainyard.vectors.VectorsUnavailable": EXIT_FAILED,
    "trainyard.vectors.VectorsUnusable": EXIT_UNUSABLE,
    "trainyard.vectors.WrongCollection": EXIT_UNUSABLE,
}

app = typer.Typer(
    help="Photos in; embeddings, faces, groups of the same person and one progress number out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("run")(run)
app.command("serve")(serve)
app.add_typer(sessions, name="sessions")
app.add_typer(models, name="models")
app.add_typer(people, name="people")
app.command("forget")(forget)
app.command("repair")(repair)
app.command("doctor")(doctor)
app.command("api")(api)
app.command("migrate")(pieces.migrate)
app.command("job")(pieces.job)
app.command("controller")(controller)
app.command("smoke-test")(smoke_test)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"trainyard {version('trainyard')}")
        raise typer.Exit


@app.callback()
def options(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Photos in; embeddings, faces, groups of the same person and one progress number out."""


def main() -> None:
    """Run the command line. An error written for people ends as a red line, or a line of the log, never a traceback."""
    try:
        app()
    except Exception as error:
        code = exit_code_of(error)
        if code is None:
            raise
        _say_last(sentence_of(error))
        sys.exit(code)


def _say_last(sentence: str) -> None:
    if logs_json():
        log.error("%s", sentence)
    else:
        typer.secho(sentence, fg=typer.colors.RED, err=True)


def exit_code_of(error: BaseException) -> int | None:
    """The exit code an error written for people ends in; None for any other, which is a defect."""
    names = (f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__)
    return next((EXIT_CODES[name] for name in names if name in EXIT_CODES), None)


def sentence_of(error: BaseException) -> str:
    """What the error says to people; a driver's without SQLAlchemy's statement and link around it."""
    said = str(getattr(error, "message", None) or getattr(error, "orig", None) or error).strip()
    if type(error).__module__.startswith(("sqlalchemy", "psycopg")):
        return f"PostgreSQL cannot be used: {said.splitlines()[0]}"
    return said


if __name__ == "__main__":
    main()
