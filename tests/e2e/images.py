"""The images of this checkout, from its real Dockerfiles, and those of a later version that brings one migration more.

`python -m tests.e2e.images` builds them all, and says how long each took and how large it is.
"""

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from alembic.script import ScriptDirectory

from tests.e2e.base_image import base_image
from tests.e2e.buildah import ImageNotBuilt, build_image, docker_archive, drop_unused_layers, layers, one_at_a_time
from tests.e2e.steps import step

CHECKOUT = Path(__file__).parents[2]
OURS = ("api", "controller", "jobs")
NEXT = "-next"  # after the name of a later version's image
PAUSE = """ARG BASE
FROM ${BASE}
CMD ["sleep", "infinity"]
"""
CPU = {"FLAVOUR": "cpu", "TORCH_INDEX": os.environ.get("TORCH_INDEX", "")}  # of the two flavours
LATER = "9999"  # the schema's version that the later images bring
MIGRATIONS = Path("trainyard/migrations/versions")
MIGRATION = f'''"""What a later version could add."""

import sqlalchemy as sa
from alembic import op

revision = "{LATER}"
down_revision = "{{head}}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("installation", sa.Column("later", sa.Text()))
'''
MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Image:
    """In buildah's store, where `id` is its own and its content's."""

    name: str
    id: str

    @property
    def reference(self) -> str:
        """By which pods name it. Another content has another one."""
        return f"localhost/trainyard-{self.name}:{self.id[:16]}"

    def archived(self) -> AbstractContextManager[IO[bytes]]:
        """All of it, as it is written; tests/e2e/image_archive.py writes what a node lacks."""
        return docker_archive(self.id, self.reference)


def build() -> list[Image]:
    """base, whose command sleeps; api, controller, jobs; and those three of a later version. Raises ImageNotBuilt."""
    with one_at_a_time(), _later_checkout() as later:
        base = base_image()
        images = [_build_pause(base), *(_build(name, base, CHECKOUT) for name in OURS)]
        images += [_build(name, base, later, version=NEXT) for name in OURS]
        drop_unused_layers(_made_from(base))
    return images


def _build(name: str, base: str, context: Path, version: str = "") -> Image:
    named = name + version
    arguments = {"BASE": base} | (CPU if name == "jobs" else {})
    with step(f"building trainyard-{named}"):
        image = build_image(f"trainyard-{named}", context, context / f"images/{name}/Dockerfile", **arguments)
    return Image(named, image)


def _build_pause(base: str) -> Image:
    """Of the base itself: a pod's sandbox, and whatever a test lets run that is not ours."""
    with tempfile.TemporaryDirectory() as folder:
        dockerfile = Path(folder) / "Dockerfile"
        dockerfile.write_text(PAUSE)
        return Image("base", build_image("trainyard-base", Path(folder), dockerfile, BASE=base))


def _made_from(base: str) -> str:
    """Of the layers below the code's."""
    files = ["constraints.txt", "pyproject.toml", *(f"images/{name}/Dockerfile" for name in OURS)]
    content = "".join((CHECKOUT / file).read_text() for file in files)
    return hashlib.sha256(f"{base} {CPU} {content}".encode()).hexdigest()


@contextmanager
def _later_checkout() -> Iterator[Path]:
    """A copy of what images are made of, with one migration more, that only adds."""
    with tempfile.TemporaryDirectory() as folder:
        later = Path(folder)
        for part in _parts():
            _copy(CHECKOUT / part, later / part)
        head = ScriptDirectory(str(CHECKOUT / "trainyard/migrations")).get_current_head()
        (later / MIGRATIONS / f"{LATER}_later.py").write_text(MIGRATION.format(head=head))
        yield later


def _parts() -> list[str]:
    """Files and folders, as .dockerignore lets them through, and what it does not: itself and the Dockerfiles."""
    lines = (CHECKOUT / ".dockerignore").read_text().splitlines()
    return [".dockerignore", "images", *(line[1:] for line in lines if line.startswith("!"))]


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    else:
        shutil.copy2(source, target)


def _described(image: Image) -> str:
    """Its size by layers, the code's last."""
    sizes = [layer["size"] / MEGABYTE for layer in layers(image.id)]
    return f"{image.reference}: {sum(sizes):.0f} MB, by layers {', '.join(f'{size:.1f}' for size in sizes)}"


def main() -> None:
    try:
        images = build()
    except ImageNotBuilt as failure:
        sys.exit(f"ImageNotBuilt: {failure}")
    for image in images:
        print(_described(image))


if __name__ == "__main__":
    main()
