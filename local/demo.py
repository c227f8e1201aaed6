"""`make demo`: the main job on real photos, from gathering them to a contact sheet for each group of faces."""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

import sqlalchemy as sa

from local.contact_sheet import write_contact_sheets
from local.data_dir import DataDir, remove_private_place
from local.demo_photos import gather
from local.postgres import EmbeddedPostgres
from trainyard.database import Database

PHOTOS, DATA, SHEETS = "photos", "data", "people"
SERVED = "served"  # where the README has `trainyard serve` keep its data

# The newest session's face model: the demo's data directory is used by the demo alone.
READ_FACE_MODEL = sa.text("""
    SELECT (models -> 'face' ->> 'id')::integer FROM training_sessions
    WHERE models -> 'face' ->> 'id' IS NOT NULL ORDER BY id DESC LIMIT 1
""")


def demo(folder: Path) -> int:
    """Gather, run, write contact sheets; returns the exit code of `trainyard run`."""
    written = gather(folder / PHOTOS)
    print(f"{len(written)} files gathered into {folder / PHOTOS}." if written else f"Photos: {folder / PHOTOS}.")
    sys.stdout.flush()  # what the next process prints comes after it
    code = subprocess.run(run_command(folder)).returncode
    if code == 0:
        for line in _sheet_lines(folder):
            print(line)
    return code


def run_command(folder: Path) -> list[str]:
    """The command line a newcomer would type, with the interpreter that runs this."""
    command = [sys.executable, "-m", "cli.main", "run", str(folder / PHOTOS), "--data-dir", str(folder / DATA)]
    return [*command, "--untrained", "--face-engine", "auto"]


def _sheet_lines(folder: Path) -> list[str]:
    sheets = _write_sheets(folder)
    if not sheets:
        return ["No groups of faces, so no contact sheets."]
    return [f"\n{len(sheets)} contact sheets, one for each group of faces:", *(f"  {path}" for path in sheets)]


def _write_sheets(folder: Path) -> list[Path]:
    with DataDir(folder / DATA) as data_dir:
        postgres = EmbeddedPostgres(data_dir.path)
        database = Database(postgres.start())
        try:
            model_id = database.transact(lambda connection: connection.execute(READ_FACE_MODEL).scalar_one_or_none())
            return write_contact_sheets(database, folder / SHEETS, model_id) if model_id is not None else []
        finally:
            database.close()
            postgres.stop()


def clean(folder: Path) -> None:
    """Remove the demo with its databases, which under root may be kept in a place of its own."""
    for data in (folder / DATA, folder / SERVED):
        if data.is_dir():
            with DataDir(data) as data_dir:
                EmbeddedPostgres(data_dir.path).stop()
                remove_private_place(data_dir.path)
    shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m local.demo", description=__doc__)
    parser.add_argument("folder", type=Path, help="where photos, data and contact sheets go")
    parser.add_argument("--clean", action="store_true", help="remove that folder and its database instead")
    arguments = parser.parse_args()
    if arguments.clean:
        clean(arguments.folder)
    else:
        sys.exit(demo(Path(os.path.relpath(arguments.folder))))


if __name__ == "__main__":
    main()
