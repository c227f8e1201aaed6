"""Weights on disk: where they lie, what they hash to, and weights that were never trained.

A folder of weights may hold `sha256.json`, written when they were downloaded. Every later load hashes the
files again and compares; modification times are not trusted (600 MB hash in about half a second).
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jobs.engines import ModelCard

RECORD_NAME = "sha256.json"
_CHUNK_BYTES = 1 << 20
_UNTRAINED_SEED = 20_221_005


@dataclass(frozen=True)
class WeightFile:
    """A published file: its name and size, and the SHA-256 (hex) it must have."""

    name: str
    size_bytes: int
    sha256: str


# The file of revision 1a25a446 of laion/CLIP-ViT-B-32-laion2B-s34B-b79K on Hugging Face.
CLIP_FOLDER = "clip"
CLIP_FILE = WeightFile(
    "open_clip_model.safetensors",
    605_143_316,
    "ac4f8c4b88af6d963118cbf40ad93176d092abbedfcb752601ae1866352656e6",
)

# From buffalo_l.zip of InsightFace's release v0.7.
BUFFALO_FOLDER = "buffalo_l"
BUFFALO_FILES = (
    WeightFile(
        "det_10g.onnx",
        16_923_827,
        "5838f7fe053675b1c7a08b633df49e7af5495cee0493c7dcf6697200b85b5b91",
    ),
    WeightFile(
        "w600k_r50.onnx",
        174_383_860,
        "4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43",
    ),
)


class ModelMissing(Exception):
    """Exactly these weights cannot be had here. `code` is for machines, `message` names file and ways out.

    Codes: ModelMissing (no such file), ModelChanged (other bytes than recorded, or than the session's model),
    ModelUnreadable (not weights of this network).
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, hex. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def verified_sha256(path: Path) -> str:
    """SHA-256 of a file of weights, hex, after comparing it with the one recorded at its download, if any.

    Raises ModelMissing: ModelMissing without such a file, ModelChanged if its bytes differ from the record.
    """
    try:
        actual = file_sha256(path)
    except OSError as error:
        raise ModelMissing("ModelMissing", f"{path} cannot be read: {error.strerror or error}") from error
    recorded = recorded_sha256(path)
    if recorded is not None and recorded != actual:
        raise ModelMissing(
            "ModelChanged",
            f"{path} is not the file that was downloaded: its SHA-256 is {actual}, {RECORD_NAME} beside it "
            f"says {recorded}; delete the file and download it again",
        )
    return actual


def recorded_sha256(path: Path) -> str | None:
    """The SHA-256 kept for `path` at its download, None if it was not downloaded by us."""
    return read_record(path.parent).get(path.name)


def read_record(folder: Path) -> dict[str, str]:
    """File name to SHA-256 (hex), of a folder's `sha256.json`; empty without one. Raises ModelMissing."""
    record = folder / RECORD_NAME
    try:
        entries = json.loads(record.read_text())
        return {str(name): str(sha256) for name, sha256 in entries.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError, OSError) as error:
        message = f"{record} cannot be read ({error}); delete it and download the model again"
        raise ModelMissing("ModelChanged", message) from error


def combined_sha256(named: Iterable[tuple[str, str]]) -> str:
    """One SHA-256 (hex) over several files' names and hashes, whatever their order."""
    lines = "".join(f"{name}\0{sha256}\n" for name, sha256 in sorted(named))
    return hashlib.sha256(lines.encode()).hexdigest()


def arrays_sha256(arrays: Mapping[str, NDArray[np.float32]]) -> str:
    """SHA-256 (hex) over the names, shapes and little-endian bytes of a state dict, in its order."""
    digest = hashlib.sha256()
    for name, array in arrays.items():
        digest.update(f"{name}{array.shape}\0".encode())
        digest.update(np.ascontiguousarray(array, dtype="<f4").data)
    return digest.hexdigest()


def untrained_weights(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, NDArray[np.float32]]:
    """Weights that were never trained, float32 by name, the same bytes in every process and on every CPU.

    Matrices are uniform with variance 1/fan-in (so that signals neither die nor explode over twelve layers),
    norms are 1, biases 0. Values are drawn as bytes and scaled: no step whose rounding depends on the CPU, as
    a normal distribution's logarithm would.
    """
    rng = np.random.default_rng(_UNTRAINED_SEED)
    return {name: _untrained(name, shape, rng) for name, shape in shapes.items()}


def _untrained(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float32]:
    if len(shape) < 2 and not name.endswith("embedding"):
        return np.full(shape, 0.0 if name.endswith("bias") else 1.0, np.float32)
    drawn = np.frombuffer(rng.bytes(int(np.prod(shape))), np.int8).reshape(shape).astype(np.float32)
    fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else shape[0]
    # int8 + 0.5 is uniform over ±127.5, whose standard deviation is 73.9.
    drawn += np.float32(0.5)
    drawn *= np.float32(1 / (73.9 * fan_in**0.5))
    return drawn


def require_card(found: ModelCard, expect: ModelCard | None) -> None:
    """Raise ModelMissing (ModelChanged) unless `found` is the network `expect`; thresholds may differ."""
    if expect is None:
        return
    names = ("engine", "name", "weights_sha256", "preprocess_version", "dimension", "collection", "trained")
    differing = [name for name in names if getattr(found, name) != getattr(expect, name)]
    if not differing:
        return
    pairs = [(name, getattr(found, name), getattr(expect, name)) for name in differing]
    details = ", ".join(f"{name} {here} instead of {stored}" for name, here, stored in pairs)
    raise ModelMissing(
        "ModelChanged",
        f"the {found.kind} model here is not the one this session began with: {details}; put the same files "
        "in place (TRAINYARD_MODEL_DIR), or start a new session",
    )
