"""OpenCLIP on real pictures: bytes that do not depend on neighbours, and exactly the model asked for."""

import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from jobs.engines import weights
from jobs.engines.openclip import OpenClipEngine, _trained_card, load_clip
from jobs.engines.weights import CLIP_FILE, ModelMissing, file_sha256

BATCH = 8


def side_224(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(picture).convert("RGB").resize((224, 224)))


@pytest.fixture(scope="module")
def pictures() -> NDArray[np.uint8]:
    """(8, 224, 224, 3): four real pictures and their mirror images."""
    real = [side_224(load()) for load in (data.astronaut, data.chelsea, data.coffee, data.rocket)]
    return np.stack(real + [np.ascontiguousarray(picture[:, ::-1]) for picture in real])


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> OpenClipEngine:
    return load_clip(tmp_path_factory.mktemp("no-models"), "cpu", untrained=True, batch=BATCH)


def test_a_pictures_bytes_are_the_same_in_every_slot_and_beside_any_neighbours(
    engine: OpenClipEngine, pictures: NDArray[np.uint8]
) -> None:
    alone = engine.encode(pictures[:1])[0].tobytes()
    for slot in (3, 7):
        batch = pictures[::-1].copy()
        batch[slot] = pictures[0]
        assert engine.encode(batch)[slot].tobytes() == alone
    assert engine.encode(pictures[[1, 2, 0]])[2].tobytes() == alone  # five blanks
    assert engine.encode(np.concatenate([pictures, pictures[:3]]))[8].tobytes() == alone  # a second pass


def test_two_threads_at_once_give_the_same_bytes_with_one_torch_thread_each(
    engine: OpenClipEngine, pictures: NDArray[np.uint8]
) -> None:
    import torch

    expected = [engine.encode(pictures).tobytes(), engine.encode(pictures[::-1]).tobytes()]
    with ThreadPoolExecutor(2) as streams:
        both = streams.map(lambda batch: engine.encode(batch).tobytes(), [pictures, pictures[::-1]])
        assert list(both) == expected
        assert set(streams.map(lambda _: torch.get_num_threads(), range(4))) == {1}


def test_embeddings_are_normalised_float32_and_tell_pictures_apart(
    engine: OpenClipEngine, pictures: NDArray[np.uint8]
) -> None:
    embeddings = engine.encode(pictures)
    assert embeddings.shape == (8, 512)
    assert embeddings.dtype == np.float32
    assert np.linalg.norm(embeddings, axis=1) == pytest.approx(1, abs=1e-6)
    assert np.triu(embeddings @ embeddings.T, 1).max() < 0.999


def test_no_pictures_give_no_embeddings_and_wrong_shapes_are_refused(engine: OpenClipEngine) -> None:
    assert engine.encode(np.empty((0, 224, 224, 3), np.uint8)).shape == (0, 512)
    with pytest.raises(ValueError, match=r"\(n, 224, 224, 3\) uint8, not \(1, 112"):
        engine.encode(np.zeros((1, 112, 112, 3), np.uint8))


def test_the_pixels_are_open_clips_own(engine: OpenClipEngine, pictures: NDArray[np.uint8]) -> None:
    import open_clip
    import torch

    transform = open_clip.image_transform(224, is_train=False)
    expected = torch.stack([transform(Image.fromarray(picture)) for picture in pictures])
    assert torch.equal(engine._pixels(torch.from_numpy(pictures)), expected)


def test_untrained_weights_have_their_own_collection_and_say_so(engine: OpenClipEngine) -> None:
    assert not engine.card.trained
    assert engine.card.collection == "images-vit-b-32-untrained"
    assert engine.card.name == "ViT-B-32/untrained"


def test_untrained_weights_hash_the_same_in_another_process(engine: OpenClipEngine) -> None:
    code = (
        "from jobs.engines.weights import arrays_sha256, untrained_weights; import json, sys; "
        "shapes = {name: tuple(shape) for name, shape in json.load(sys.stdin).items()}; "
        "print(arrays_sha256(untrained_weights(shapes)))"
    )
    shapes = {name: list(value.shape) for name, value in engine._tower.state_dict().items()}
    answer = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(shapes), capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == engine.card.weights_sha256


def test_missing_weights_name_the_file_and_the_ways_out(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing) as missing:
        load_clip(tmp_path, "cpu", untrained=False)
    assert missing.value.code == "ModelMissing"
    for part in (
        str(tmp_path / "clip"),
        "trainyard models download clip",
        "TRAINYARD_MODEL_DIR",
        "--untrained",
    ):
        assert part in missing.value.message


def test_a_worker_refuses_a_model_other_than_the_one_stored(tmp_path: Path, engine: OpenClipEngine) -> None:
    other = dataclasses.replace(engine.card, weights_sha256="0" * 64)
    expected = f"weights_sha256 {engine.card.weights_sha256} instead of 000"
    with pytest.raises(ModelMissing, match=expected) as refused:
        load_clip(tmp_path, "cpu", untrained=True, expect=other)
    assert refused.value.code == "ModelChanged"


@pytest.fixture(scope="module")
def weights_dir(tmp_path_factory: pytest.TempPathFactory, engine: OpenClipEngine) -> Iterator[Path]:
    """A models directory whose CLIP file holds the untrained tower, as open_clip names its tensors."""
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("models")
    (folder / "clip").mkdir()
    tensors = {f"visual.{name}": value for name, value in engine._tower.state_dict().items()}
    save_file(tensors, folder / "clip" / "open_clip_model.safetensors")
    yield folder
    shutil.rmtree(folder)  # 350 MB, which pytest would keep for three runs


def test_a_weights_file_is_loaded_and_named_by_its_hash(
    weights_dir: Path, engine: OpenClipEngine, pictures: NDArray[np.uint8]
) -> None:
    loaded = load_clip(weights_dir, "cpu", untrained=False)
    sha256 = file_sha256(weights_dir / "clip" / "open_clip_model.safetensors")
    assert (loaded.card.weights_sha256, loaded.card.trained) == (sha256, True)
    assert loaded.card.collection == f"images-vit-b-32-{sha256[:12]}"
    assert loaded.encode(pictures[:2]).tobytes() == engine.encode(pictures[:2]).tobytes()


def test_only_the_published_weights_may_fill_the_collection_images() -> None:
    card = _trained_card(CLIP_FILE.sha256)
    assert (card.name, card.collection, card.trained) == ("ViT-B-32/laion2b_s34b_b79k", "images", True)


def test_a_file_changed_since_its_download_is_refused(weights_dir: Path) -> None:
    record = weights_dir / "clip" / weights.RECORD_NAME
    record.write_text(json.dumps({"open_clip_model.safetensors": "f" * 64}))
    try:
        with pytest.raises(ModelMissing, match="is not the file that was downloaded") as changed:
            load_clip(weights_dir, "cpu", untrained=False)
        assert changed.value.code == "ModelChanged"
    finally:
        record.unlink()


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip" / "open_clip_model.safetensors").write_bytes(b"<html>not weights</html>")
    with pytest.raises(ModelMissing, match="does not hold the weights of ViT-B-32") as unreadable:
        load_clip(tmp_path, "cpu", untrained=False)
    assert unreadable.value.code == "ModelUnreadable"
