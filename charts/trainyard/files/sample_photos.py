"""Fill a folder with sample pictures, real photos that Python packages of the jobs image ship. For trying only.

`samples` gets a group photo, two landscapes, and each face of the group photographed again, so that people recur;
`smoke-test` gets the one picture that `helm test` runs a session over. What is there already is left alone.
"""

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from local.demo_photos import FACES, INSIGHTFACE, RETAKES, Maker, retake, shipped

GROUP = f"{INSIGHTFACE}/t1.jpg"
SHIPPED = (GROUP, "sklearn/datasets/images/china.jpg", "sklearn/datasets/images/flower.jpg")


def pictures() -> Iterator[tuple[str, Maker]]:
    """Each one's path, and what makes its bytes."""
    yield "smoke-test/group.jpg", shipped(GROUP).read_bytes
    for name in SHIPPED:
        yield f"samples/{Path(name).name}", shipped(name).read_bytes
    for face in (face for face in FACES if face.picture.startswith(INSIGHTFACE)):
        for take in RETAKES:
            yield f"samples/people/{face.person} {take.name}", partial(retake, face, take)


def fill(folder: Path) -> int:
    """Write what is missing, each whole or not at all; returns how many that were."""
    missing = [(folder / name, make) for name, make in pictures() if not (folder / name).exists()]
    for path, make in missing:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.part")
        draft.write_bytes(make())
        draft.replace(path)
    return len(missing)


if __name__ == "__main__":
    print(f"{fill(Path(sys.argv[1]))} pictures written to {sys.argv[1]}.")
