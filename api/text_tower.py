"""CLIP's text tower by onnxruntime: a text's embedding, to be compared with the photos'.

What `trainyard models download` left is loaded with the first text, and anew when something else was left since.
"""

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from api.problems import Problem
from trainyard import clip_text
from trainyard.clip_text import TextRecord
from trainyard.cores import cpu_count

if TYPE_CHECKING:
    import onnxruntime

DOWNLOAD = "run `trainyard models download clip` where the models are kept"
TEXTS_KEPT = 256  # embeddings of the last texts: each page of an answer needs that of its text again


class TextTower:
    """Threads may share it. Nothing is loaded, nor any package imported, before it is needed."""

    def __init__(self, models_dir: Path) -> None:
        self._models_dir = models_dir
        self._lock = threading.Lock()
        self._loaded: _Loaded | None = None
        self._kept: dict[str, NDArray[np.float32]] = {}

    @property
    def is_there(self) -> bool:
        return clip_text.read_record(self._models_dir) is not None

    @property
    def clip_weights_sha256(self) -> str:
        """Whose text tower it is. Raises Problem."""
        return self._record().clip_weights_sha256

    def embed(self, text: str) -> NDArray[np.float32]:
        """(dimension,) float32 L2-normalised; a text longer than the tower takes is cut off. Raises Problem."""
        record = self._record()
        with self._lock:
            loaded = self._load(record)
            if text not in self._kept:
                if len(self._kept) == TEXTS_KEPT:
                    self._kept.clear()
                self._kept[text] = loaded.embed(text)
            return self._kept[text]

    def close(self) -> None:
        with self._lock:
            self._forget()

    def _load(self, record: TextRecord) -> "_Loaded":
        if self._loaded is None or self._loaded.record != record:
            self._forget()  # before the other one takes its memory
            self._loaded = _Loaded(self._models_dir, record)
        return self._loaded

    def _forget(self) -> None:
        self._loaded = None
        self._kept.clear()

    def _record(self) -> TextRecord:
        record = clip_text.read_record(self._models_dir)
        if record is None:
            raise Problem(
                409,
                "TextSearchUnavailable",
                f"Photos cannot be searched by words here: CLIP's text tower is missing. To have it, {DOWNLOAD}.",
            )
        return record


class _Loaded:
    """The network and its tokenizer; one text at a time."""

    def __init__(self, models_dir: Path, record: TextRecord) -> None:
        if not clip_text.is_whole(models_dir, record):
            raise _damaged("its files are not those of its record")
        from api.text_tokens import ClipTokens

        self.record = record
        try:
            self._tokens = ClipTokens(clip_text.folder_of(models_dir) / clip_text.TOKENIZER, record.context_length)
            self._session = _session(clip_text.folder_of(models_dir) / clip_text.NETWORK)
        except Exception as error:  # onnxruntime and tokenizers have kinds of their own
            raise _damaged(str(error)) from error

    def embed(self, text: str) -> NDArray[np.float32]:
        (embeddings,) = self._session.run(None, {"tokens": self._tokens(text)})
        embedding: NDArray[np.float32] = embeddings[0] / np.linalg.norm(embeddings[0])
        return embedding


def _session(network: Path) -> "onnxruntime.InferenceSession":
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cpu_count()  # onnxruntime would count the host's
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # between texts, which are rare
    options.log_severity_level = 3  # errors only
    return onnxruntime.InferenceSession(str(network), options, providers=["CPUExecutionProvider"])


def _damaged(why: str) -> Problem:
    return Problem(
        409,
        "TextSearchUnavailable",
        f"Photos cannot be searched by words here: CLIP's text tower cannot be loaded ({why}). "
        f"To have it anew, {DOWNLOAD}.",
    )
