"""OpenCLIP ViT-B-32: photos to 512-d embeddings for semantic search.

Only the visual tower is built and kept. On the CPU every stream (Python thread) runs torch with one thread,
so the streams are what fills the cores.
"""

import threading
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.engines import ModelCard
from jobs.engines.weights import (
    CLIP_FILE,
    CLIP_FOLDER,
    ModelMissing,
    arrays_sha256,
    require_card,
    untrained_weights,
    verified_sha256,
)

ARCHITECTURE = "ViT-B-32"
SIDE_PX = 224
DIMENSION = 512
PREPROCESS_VERSION = 1  # raise it when the pixels given to the network for the same photo change
_VISUAL = "visual."


class OpenClipEngine:
    """A ClipEngine. `encode` may be called from several threads at once."""

    def __init__(self, tower: Any, card: ModelCard, device: str, batch: int) -> None:
        import open_clip
        import torch

        self.card = card
        self.device = device
        self.batch = batch
        self._tower = tower.to(device)
        self._mean = torch.tensor(open_clip.OPENAI_DATASET_MEAN, device=device).view(1, 3, 1, 1)
        self._std = torch.tensor(open_clip.OPENAI_DATASET_STD, device=device).view(1, 3, 1, 1)
        # An accelerator runs one batch after another anyway, and MPS is not safe from two threads.
        self._turn = nullcontext() if device == "cpu" else threading.Lock()

    def encode(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeddings, (n, 512) float32 L2-normalised, of n pictures, (n, 224, 224, 3) uint8 RGB, any n.

        Raises ValueError for any other shape or dtype.
        """
        if pictures.dtype != np.uint8 or pictures.shape[1:] != (SIDE_PX, SIDE_PX, 3):
            raise ValueError(
                f"pictures must be (n, {SIDE_PX}, {SIDE_PX}, 3) uint8, not {pictures.shape} {pictures.dtype}"
            )
        embeddings = np.empty((len(pictures), DIMENSION), np.float32)
        for start in range(0, len(pictures), self.batch):
            part = pictures[start : start + self.batch]
            embeddings[start : start + len(part)] = self._forward(part)[: len(part)]
        return embeddings

    def _forward(self, part: NDArray[np.uint8]) -> NDArray[np.float32]:
        """One pass of the fixed shape (batch, 3, 224, 224); a short part is filled with black pictures."""
        import torch

        full = np.zeros((self.batch, SIDE_PX, SIDE_PX, 3), np.uint8)
        full[: len(part)] = part
        with self._turn, torch.inference_mode():
            features = self._tower(self._pixels(torch.from_numpy(full)))
            raw: NDArray[np.float32] = features.float().cpu().numpy()
        return raw / np.linalg.norm(raw, axis=1, keepdims=True)

    def _pixels(self, pictures: Any) -> Any:
        """Bytes to the network's input: open_clip's ToTensor and Normalize, in the same arithmetic."""
        if self.device == "cuda":
            pictures = pictures.pin_memory()
        on_device = pictures.to(self.device, non_blocking=self.device == "cuda")
        scaled = on_device.permute(0, 3, 1, 2).contiguous().float().div(255)
        return scaled.sub(self._mean).div(self._std)


def load_clip(
    models_dir: Path, device: str, untrained: bool, batch: int = 8, expect: ModelCard | None = None
) -> OpenClipEngine:
    """ViT-B-32 with the weights in `models_dir/clip`, or with untrained weights from a fixed seed.

    `batch` is the fixed batch of every forward pass. With `expect`, exactly that model is loaded or
    ModelMissing raised; it is raised too when the weights are absent, changed or not of this network.
    """
    path = models_dir / CLIP_FOLDER / CLIP_FILE.name
    if not untrained and not path.is_file():  # before the seconds that importing torch costs
        raise ModelMissing("ModelMissing", missing_message(path))
    _one_thread_per_stream(device)
    tower = _empty_tower()
    card = _load_untrained(tower) if untrained else _load_trained(tower, path, expect)
    require_card(card, expect)
    return OpenClipEngine(tower.eval(), card, device, batch)


def missing_message(path: Path) -> str:
    """What a person without trained weights may do."""
    return (
        f"the CLIP weights {path} are missing: run `trainyard models download clip`; or download on a "
        "machine with internet and copy the file there; or set TRAINYARD_MODEL_DIR to the folder that has "
        "them; or use --untrained (TRAINYARD_UNTRAINED=true) to try Trainyard without meaningful embeddings"
    )


def _one_thread_per_stream(device: str) -> None:
    """Bounds torch's own threads. The number holds in every thread of the process, later ones included."""
    import torch

    if device == "cpu" and torch.get_num_threads() != 1:
        torch.set_num_threads(1)


def _empty_tower() -> Any:
    """The visual tower without storage: initialising 151 million numbers to replace them takes seconds."""
    import open_clip
    import torch

    with torch.device("meta"):
        return open_clip.CLIP(**open_clip.get_model_config(ARCHITECTURE)).visual


def _load_untrained(tower: Any) -> ModelCard:
    import torch

    arrays = untrained_weights({name: tuple(value.shape) for name, value in tower.state_dict().items()})
    tower.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()}, assign=True)
    name, collection = f"{ARCHITECTURE}/untrained", "images-vit-b-32-untrained"
    return _card(name, arrays_sha256(arrays), collection, trained=False)


def _load_trained(tower: Any, path: Path, expect: ModelCard | None) -> ModelCard:
    card = _trained_card(verified_sha256(path))
    require_card(card, expect)
    try:
        tower.load_state_dict(_visual_weights(path), assign=True)
    except Exception as error:  # safetensors and torch raise several kinds, all meaning the same
        message = f"{path} does not hold the weights of {ARCHITECTURE}: {error}"
        raise ModelMissing("ModelUnreadable", message) from error
    return card


def _trained_card(sha256: str) -> ModelCard:
    """Only the published weights may fill the collection `images`; others get one named by their hash."""
    if sha256 == CLIP_FILE.sha256:
        return _card(f"{ARCHITECTURE}/laion2b_s34b_b79k", sha256, "images", trained=True)
    short = sha256[:12]
    return _card(f"{ARCHITECTURE}/{short}", sha256, f"images-vit-b-32-{short}", trained=True)


def _visual_weights(path: Path) -> dict[str, Any]:
    """Only the visual tower's tensors are read from the file."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as weights:
        names = [name for name in weights.keys() if name.startswith(_VISUAL)]  # noqa: SIM118 (not a dict)
        return {name.removeprefix(_VISUAL): weights.get_tensor(name).float() for name in names}


def _card(name: str, sha256: str, collection: str, trained: bool) -> ModelCard:
    return ModelCard(
        kind="clip",
        engine="openclip",
        name=name,
        weights_sha256=sha256,
        preprocess_version=PREPROCESS_VERSION,
        dimension=DIMENSION,
        collection=collection,
        trained=trained,
    )
