"""Which networks a session uses, and loading them once in a process."""

import logging
import threading
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from jobs.engines import ClipEngine, FaceEngine, FaceThresholds, ModelCard
from jobs.engines.devices import DeviceMissing, choose_device
from jobs.engines.download import INSIGHTFACE, is_downloaded
from jobs.engines.weights import require_card
from trainyard.settings import Settings

log = logging.getLogger(__name__)

E = TypeVar("E", ClipEngine, FaceEngine)


class Engines:
    """The networks of this process; each is loaded at most once. Several threads may ask at the same time.

    Raises ModelMissing where weights are not there or not the ones asked for.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.device = choose_device(settings.device)
        self._clip: dict[bool, ClipEngine] = {}
        self._face: dict[str, FaceEngine] = {}
        self._lock = threading.Lock()

    def clip(self, *, untrained: bool, expect: ModelCard | None = None) -> ClipEngine:
        from jobs.engines.openclip import load_clip

        with self._lock:
            if untrained not in self._clip:
                self._clip[untrained] = load_clip(
                    self.settings.models_path, self.device, untrained, self.settings.network_batch, expect
                )
            return _as_expected(self._clip[untrained], expect)

    def face(self, engine: str, expect: ModelCard | None = None) -> FaceEngine:
        with self._lock:
            if engine not in self._face:
                self._face[engine] = self._load_face(engine, expect)
            return _as_expected(self._face[engine], expect)

    def _load_face(self, engine: str, expect: ModelCard | None) -> FaceEngine:
        if engine == "insightface":
            from jobs.engines.insightface import load_insightface

            loaded = load_insightface(self.settings.models_path, self.device, expect)
            if self.device == "cuda" and loaded.device != "cuda":
                self._say_slow(loaded.device)
            return loaded
        from jobs.engines.dlib import load_dlib

        return load_dlib(expect)

    def _say_slow(self, device: str) -> None:
        """Raises DeviceMissing where CUDA was asked for by name."""
        message = (
            f"onnxruntime cannot use CUDA here, so InsightFace would run on the {device}: it needs the package "
            "onnxruntime-gpu in place of onnxruntime, and CUDA's libraries (in the image, FLAVOUR=cuda)"
        )
        if self.settings.device == "cuda":
            raise DeviceMissing(message)
        log.warning("%s.", message)


def choose_face_engine(wanted: str, models_dir: Path) -> str:
    """`auto` is insightface when it was downloaded, else dlib, which needs no download."""
    if wanted != "auto":
        return wanted
    return "insightface" if is_downloaded(INSIGHTFACE, models_dir) else "dlib"


def _as_expected(engine: E, expect: ModelCard | None) -> E:
    require_card(engine.card, expect)
    return engine


def card_to_json(card: ModelCard) -> dict[str, Any]:
    return asdict(card)


def card_from_json(stored: Mapping[str, Any]) -> ModelCard:
    """The card as discover stored it on the session; `id` of the models row beside it is left out."""
    fields = {name: value for name, value in stored.items() if name != "id"}
    if fields.get("thresholds"):
        fields["thresholds"] = FaceThresholds(**fields["thresholds"])
    return ModelCard(**fields)
