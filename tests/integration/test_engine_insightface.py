"""InsightFace's own SCRFD and ArcFace classes, on fakes built here and on real models where there are any."""

import dataclasses
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from insightface.data import get_image
from numpy.typing import NDArray
from PIL import Image

from jobs.engines.devices import DeviceMissing
from jobs.engines.insightface import InsightFaceEngine, load_insightface
from jobs.engines.loading import Engines
from jobs.engines.weights import BUFFALO_FILES, ModelMissing
from tests.fake_onnx import marked_picture, write_fake_pair
from trainyard.settings import Settings

MODEL_DIR = Path(os.environ.get("TRAINYARD_MODEL_DIR", "/nonexistent"))


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_fake_pair(folder / "fake")
    return folder


@pytest.fixture(scope="module")
def engine(models_dir: Path) -> InsightFaceEngine:
    return load_insightface(models_dir, "cpu")


@pytest.fixture(scope="module")
def crops() -> NDArray[np.uint8]:
    """(8, 112, 112, 3): pieces of a real photo."""
    photo = get_image("t1")[..., ::-1]
    return np.stack([photo[200:312, left : left + 112] for left in range(0, 8 * 112, 112)])


@pytest.fixture
def cuda_for_torch_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where onnxruntime is the build without CUDA, or CUDA's libraries are not there for it."""
    monkeypatch.setattr("jobs.engines.loading.choose_device", lambda wanted: "cuda")


@pytest.mark.usefixtures("cuda_for_torch_alone")
def test_faces_on_the_cpu_are_refused_where_cuda_was_asked_for_by_name(models_dir: Path) -> None:
    engines = Engines(Settings(model_dir=models_dir, device="cuda"))
    with pytest.raises(DeviceMissing, match="onnxruntime cannot use CUDA here"):
        engines.face("insightface")


@pytest.mark.usefixtures("cuda_for_torch_alone")
def test_faces_on_the_cpu_of_a_machine_with_cuda_are_told(models_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    engine = Engines(Settings(model_dir=models_dir)).face("insightface")
    assert engine.device == "cpu"
    assert "onnxruntime cannot use CUDA here" in caplog.text


def test_planted_faces_come_back_where_they_were_planted(engine: InsightFaceEngine) -> None:
    faces = engine.detect(marked_picture(640, 480, [(80, 160), (400, 240)]), 0.5)
    assert sorted(face.box for face in faces) == [(56, 128, 104, 192), (376, 208, 424, 272)]
    left = min(faces, key=lambda face: face.box)
    expected = [(68, 152), (92, 152), (80, 164), (72, 176), (88, 176)]
    np.testing.assert_allclose(left.landmarks, expected, atol=0.01)
    assert left.landmarks.dtype == np.float32
    assert 0.99 < left.confidence <= 1
    assert left.frontality == pytest.approx(1)


def test_boxes_of_a_picture_smaller_than_the_detectors_are_in_its_own_pixels(
    engine: InsightFaceEngine,
) -> None:
    (face,) = engine.detect(marked_picture(320, 240, [(40, 80)], scale=2), 0.5)
    assert face.box == (28, 64, 52, 96)


def test_channels_reach_the_detector_as_it_was_trained(engine: InsightFaceEngine) -> None:
    blue = np.ascontiguousarray(marked_picture(640, 640, [(80, 160)])[..., ::-1])
    assert engine.detect(blue, 0.5) == []


def test_faces_below_the_confidence_asked_for_are_left_out(engine: InsightFaceEngine) -> None:
    pale = marked_picture(640, 640, [(80, 160)])
    pale[160:168, 80:88] = (255, 102, 102)  # the fake's score is 0.6
    assert len(engine.detect(pale, 0.5)) == 1
    assert engine.detect(pale, 0.7) == []


def test_a_crops_bytes_are_the_same_in_every_slot_and_beside_any_neighbours(
    engine: InsightFaceEngine, crops: NDArray[np.uint8]
) -> None:
    alone = engine.embed(crops[:1])[0].tobytes()
    for slot in range(8):
        batch = crops[::-1].copy()
        batch[slot] = crops[0]
        assert engine.embed(batch)[slot].tobytes() == alone
    assert engine.embed(crops[[1, 2, 0]])[2].tobytes() == alone
    assert engine.embed(np.concatenate([crops, crops[:3]]))[8].tobytes() == alone


def test_two_threads_at_once_give_the_same(engine: InsightFaceEngine, crops: NDArray[np.uint8]) -> None:
    pictures = [marked_picture(640, 480, [(80 + 8 * k, 160)]) for k in range(12)]

    def work(picture: NDArray[np.uint8]) -> tuple[str, bytes]:
        return repr(engine.detect(picture, 0.5)), engine.embed(crops).tobytes()

    expected = [work(picture) for picture in pictures]
    with ThreadPoolExecutor(2) as streams:
        assert list(streams.map(work, pictures)) == expected


def test_embeddings_are_normalised_float32(engine: InsightFaceEngine, crops: NDArray[np.uint8]) -> None:
    embeddings = engine.embed(crops[:3])
    assert (embeddings.shape, embeddings.dtype) == ((3, 512), np.float32)
    assert np.linalg.norm(embeddings, axis=1) == pytest.approx(1, abs=1e-6)
    assert engine.embed(crops[:0]).shape == (0, 512)


def test_only_buffalo_l_itself_may_fill_the_collection_faces(models_dir: Path, tmp_path: Path) -> None:
    assert load_insightface(models_dir, "cpu").card.collection == "faces-fake"
    for source, published in zip(("fake_scrfd.onnx", "fake_arcface.onnx"), BUFFALO_FILES, strict=True):
        (tmp_path / "buffalo_l").mkdir(exist_ok=True)
        shutil.copy(models_dir / "fake" / source, tmp_path / "buffalo_l" / published.name)
    card = load_insightface(tmp_path, "cpu").card
    assert (card.name, card.collection) == ("buffalo_l", "faces-buffalo_l")
    assert card.thresholds is not None
    assert "not measured for buffalo_l" in card.thresholds.source


def test_a_worker_loads_the_stored_model_and_refuses_changed_files(models_dir: Path, tmp_path: Path) -> None:
    write_fake_pair(tmp_path / "fake")
    write_fake_pair(tmp_path / "other", seed=1)
    stored = load_insightface(models_dir, "cpu").card
    assert load_insightface(tmp_path, "cpu", expect=stored).card == stored
    write_fake_pair(tmp_path / "fake", seed=2)
    with pytest.raises(ModelMissing, match="weights_sha256") as changed:
        load_insightface(tmp_path, "cpu", expect=stored)
    assert changed.value.code == "ModelChanged"


def test_several_models_without_buffalo_l_are_refused_by_name(tmp_path: Path) -> None:
    write_fake_pair(tmp_path / "one")
    write_fake_pair(tmp_path / "two")
    with pytest.raises(ModelMissing, match=r"several face models \(one, two\)"):
        load_insightface(tmp_path, "cpu")


def test_missing_models_name_the_files_and_the_ways_out(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing) as missing:
        load_insightface(tmp_path / "absent", "cpu")
    for part in ("buffalo_l", "det_10g.onnx", "--accept-non-commercial", "TRAINYARD_MODEL_DIR", "dlib"):
        assert part in missing.value.message


def test_a_file_that_is_no_onnx_is_named(tmp_path: Path, models_dir: Path) -> None:
    stored = load_insightface(models_dir, "cpu").card
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake" / "broken.onnx").write_bytes(b"\xff" * 100)
    with pytest.raises(ModelMissing, match=r"broken\.onnx is not an ONNX file"):
        load_insightface(tmp_path, "cpu", expect=stored)


def test_a_real_model_finds_the_six_people_of_a_group_photo() -> None:
    engine = _real_engine()
    photo = Image.fromarray(np.ascontiguousarray(get_image("t1")[..., ::-1]))
    photo.thumbnail((engine.detect_side_px, engine.detect_side_px))
    assert len(engine.detect(np.asarray(photo), 0.5)) == 6


def test_a_real_models_bytes_do_not_depend_on_neighbours(crops: NDArray[np.uint8]) -> None:
    engine = _real_engine()
    alone = engine.embed(crops[:1])[0].tobytes()
    for slot in (3, 7):
        batch = crops[::-1].copy()
        batch[slot] = crops[0]
        assert engine.embed(batch)[slot].tobytes() == alone


def _real_engine() -> InsightFaceEngine:
    try:
        return load_insightface(MODEL_DIR, "cpu")
    except ModelMissing as missing:
        pytest.skip(f"no real detector and recogniser in TRAINYARD_MODEL_DIR: {missing.message}")


def test_a_stored_card_of_other_thresholds_is_still_the_same_model(models_dir: Path) -> None:
    stored = load_insightface(models_dir, "cpu").card
    assert stored.thresholds is not None
    stricter = dataclasses.replace(stored.thresholds, assign=0.9)
    expect = dataclasses.replace(stored, thresholds=stricter)
    assert load_insightface(models_dir, "cpu", expect=expect).card.weights_sha256 == stored.weights_sha256
