"""CLIP's text tower as `trainyard models download` leaves it beside the weights, for the API to read without torch.

A folder with the network in ONNX (its numbers in a file of their own, which is mapped, not read), the tokenizer and a
record, written last, that says whose text tower it is and what the other files hash to.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

FOLDER = "clip/text"  # in the models' folder
NETWORK = "tower.onnx"
NUMBERS = "tower.onnx.data"
TOKENIZER = "tokenizer.json"
RECORD = "text.json"
FILES = (NETWORK, NUMBERS, TOKENIZER)
VERSION = 1  # of all this: raise it when what is written for the same weights changes


@dataclass(frozen=True)
class TextRecord:
    """What the folder holds. `clip_weights_sha256`: of the photos' embeddings that its own may be compared with."""

    version: int
    clip_weights_sha256: str
    context_length: int  # tokens of a text, the first and the last of them marks
    dimension: int
    files: dict[str, str]  # name to SHA-256 (hex)


def folder_of(models_dir: Path) -> Path:
    return models_dir / FOLDER


def read_record(models_dir: Path) -> TextRecord | None:
    """None where there is none, or none that this version understands."""
    try:
        record = TextRecord(**json.loads((folder_of(models_dir) / RECORD).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
    return record if record.version == VERSION else None


def record_json(record: TextRecord) -> str:
    return json.dumps(asdict(record), indent=2) + "\n"


def is_whole(models_dir: Path, record: TextRecord) -> bool:
    """Whether the files are those of the record."""
    folder = folder_of(models_dir)
    try:
        return record.files == {name: file_sha256(folder / name) for name in FILES}
    except OSError:
        return False


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, hex. Raises OSError."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
