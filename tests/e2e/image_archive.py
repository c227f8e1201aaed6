"""An archive of an image without the layers that a node has already: `ctr images import` finds those in its own store.

So a new version of the workers' image, gigabytes of which stay as they are, is brought in a second.
"""

import json
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.e2e.buildah import buildah

NAME = "io.containerd.image.name"


def write(image: str, reference: str, archive: Path, without: Sequence[dict[str, Any]]) -> None:
    """An oci-archive; `without` are layers as manifests have them, by digest and size.

    What is in it is compressed, and so has another digest than in a docker-archive: best little.
    """
    with tempfile.TemporaryDirectory(dir=archive.parent) as folder:
        layout = Path(folder)
        left_out = {_hole(layout, layer) for layer in without}
        buildah("push", image, f"oci:{layout}")
        _name(layout, reference)
        with tarfile.open(archive, "w") as packed:
            for file in sorted(set(layout.rglob("*")) - left_out):
                packed.add(file, file.relative_to(layout), recursive=False)


def _hole(layout: Path, layer: dict[str, Any]) -> Path:
    """What buildah takes for the layer, already there, and leaves alone: a file of its size, all hole."""
    algorithm, _, digest = layer["digest"].partition(":")
    blob = layout / "blobs" / algorithm / digest
    blob.parent.mkdir(parents=True, exist_ok=True)
    with blob.open("wb") as file:
        file.truncate(layer["size"])
    return blob


def _name(layout: Path, reference: str) -> None:
    index = layout / "index.json"
    content = json.loads(index.read_text())
    content["manifests"][0].setdefault("annotations", {})[NAME] = reference
    index.write_text(json.dumps(content))
