"""dlib's real networks on real faces: found, aligned as dlib aligns them, told apart."""

import dataclasses
import importlib.util
import io
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dlib
import numpy as np
import pytest
from insightface.data import get_image
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
from skimage import data

from jobs.engines import DetectedFace
from jobs.engines.dlib import (
    CHIP_LANDMARKS,
    DESCRIPTOR_FILE,
    LANDMARKS_FILE,
    DlibEngine,
    confidence,
    hog_score,
    load_dlib,
)
from jobs.engines.dlib_descriptor import DescriptorFailed, DescriptorPool
from jobs.engines.weights import ModelMissing

Picture = NDArray[np.uint8]


@pytest.fixture(scope="module")
def engine() -> DlibEngine:
    return load_dlib()


@pytest.fixture(scope="module")
def group_photo() -> Picture:
    return np.ascontiguousarray(get_image("t1")[..., ::-1])


@pytest.fixture(scope="module")
def group(engine: DlibEngine, group_photo: Picture) -> list[DetectedFace]:
    """Left to right."""
    return sorted(engine.detect(group_photo, 0.5), key=lambda face: face.box)


@pytest.fixture(scope="module")
def people(engine: DlibEngine, group: list[DetectedFace], group_photo: Picture) -> list[Image.Image]:
    """Seven different people, one picture each: the group photo's six and the astronaut."""
    photo = Image.fromarray(group_photo)
    astronaut = Image.fromarray(data.astronaut()[40:220, 140:320])
    return [*(photo.crop(_around(face)) for face in group), astronaut]


def _around(face: DetectedFace) -> tuple[int, int, int, int]:
    left, top, right, bottom = face.box
    margin = 0.5 * (right - left)
    return (int(left - margin), int(top - margin), int(right + margin), int(bottom + margin))


def warped(picture: Picture, face: DetectedFace) -> Picture:
    """The aligned face, by a similarity fitted in the crop's pixels and sampled bilinearly."""
    source, target = face.landmarks @ (1, 1j), CHIP_LANDMARKS @ (1, 1j)
    centred = source - source.mean()
    factor = np.vdot(centred, target - target.mean()) / np.vdot(centred, centred)
    back = 1 / factor
    offset = source.mean() - back * target.mean()
    # Pillow takes the middle of the first pixel for (0.5, 0.5).
    shift = offset - back * (0.5 + 0.5j) + (0.5 + 0.5j)
    affine = (back.real, -back.imag, shift.real, back.imag, back.real, shift.imag)
    kind, sampling = Image.Transform.AFFINE, Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(picture).transform((150, 150), kind, affine, sampling))


def best_crop(engine: DlibEngine, picture: Image.Image) -> Picture:
    pixels = np.asarray(picture)
    return warped(pixels, engine.detect(pixels, 0.3)[0])


def test_all_six_people_of_a_group_photo_are_found(group: list[DetectedFace]) -> None:
    assert len(group) == 6
    assert [round(face.box[0], -1) for face in group] == pytest.approx([70, 280, 450, 720, 870, 1120], abs=20)
    for face in group:
        assert 80 < face.box[2] - face.box[0] < 160
        assert 0.5 <= face.confidence <= 1
        assert 0 <= face.frontality <= 1


def test_a_face_looking_into_the_camera_is_more_frontal_than_a_turned_one(group: list[DetectedFace]) -> None:
    facing_camera, turned_away = group[0], group[4]
    assert facing_camera.frontality > 0.8 > 0.6 > turned_away.frontality


def test_pictures_without_people_have_no_faces(engine: DlibEngine) -> None:
    for load in (data.chelsea, data.coffee, data.rocket):
        assert engine.detect(np.ascontiguousarray(load()), 0.5) == []


def test_confidence_is_half_at_the_even_score_and_can_be_inverted() -> None:
    assert confidence(0.2) == 0.5
    assert confidence(2.7) > 0.99
    assert confidence(hog_score(0.7)) == pytest.approx(0.7)
    assert hog_score(0.0) == -1.0
    assert hog_score(1.0) > 5


def test_our_aligned_face_is_dlibs_own_chip(
    engine: DlibEngine, group: list[DetectedFace], group_photo: Picture
) -> None:
    ours = np.stack([warped(group_photo, face) for face in group])
    theirs = np.stack([_dlib_chip(group_photo, face) for face in group])
    assert np.abs(ours.astype(int) - theirs).mean(axis=(1, 2, 3)).max() < 4  # of 255: another interpolation
    similarity = np.sum(engine.embed(ours) * engine.embed(theirs), axis=1)
    assert similarity.min() > 0.995


def _dlib_chip(picture: Picture, face: DetectedFace) -> Picture:
    left, top, right, bottom = (round(edge) for edge in face.box)
    predictor = dlib.shape_predictor(str(_models() / LANDMARKS_FILE))
    shape = predictor(picture, dlib.rectangle(left, top, right - 1, bottom - 1))
    return np.asarray(dlib.get_face_chip(picture, shape, 150, 0.25))


def _models() -> Path:
    spec = importlib.util.find_spec("face_recognition_models")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "models"


def _jpeg(picture: Image.Image) -> Image.Image:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=40)
    return Image.open(stream).convert("RGB")


RE_EXPOSURES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "darker": lambda picture: ImageEnhance.Brightness(picture).enhance(0.7),
    "compressed": _jpeg,
    "softer": lambda picture: picture.filter(ImageFilter.GaussianBlur(1)),
    "mirrored": ImageOps.mirror,
    "tilted": lambda picture: picture.rotate(8, Image.Resampling.BICUBIC),
}


def test_one_person_is_assigned_and_different_people_are_not_even_suggested(
    engine: DlibEngine, people: list[Image.Image]
) -> None:
    thresholds = engine.card.thresholds
    assert thresholds is not None
    known = engine.embed(np.stack([best_crop(engine, picture) for picture in people]))
    again = [best_crop(engine, change(picture)) for picture in people for change in RE_EXPOSURES.values()]
    similarity = engine.embed(np.stack(again)) @ known.T
    same = np.repeat(np.eye(len(people), dtype=bool), len(RE_EXPOSURES), axis=0)
    assert similarity[same].min() >= thresholds.assign
    assert similarity[same].min() >= thresholds.verification
    assert similarity[~same].max() < thresholds.suggestion


def test_a_faces_bytes_are_the_same_in_every_slot_and_beside_any_neighbours(
    engine: DlibEngine, group: list[DetectedFace], group_photo: Picture
) -> None:
    crops = np.stack([warped(group_photo, face) for face in group])
    embeddings = engine.embed(crops)
    assert (embeddings.shape, embeddings.dtype) == ((6, 128), np.float32)
    assert np.linalg.norm(embeddings, axis=1) == pytest.approx(1, abs=1e-6)
    assert engine.embed(crops[::-1])[::-1].tobytes() == embeddings.tobytes()
    assert engine.embed(crops[2:3])[0].tobytes() == embeddings[2].tobytes()
    assert engine.embed(crops[:0]).shape == (0, 128)


def test_two_threads_at_once_find_and_embed_the_same(engine: DlibEngine, people: list[Image.Image]) -> None:
    def work(picture: Image.Image) -> tuple[str, bytes]:
        pixels = np.asarray(picture)
        faces = engine.detect(pixels, 0.4)
        return repr(faces), engine.embed(np.stack([warped(pixels, face) for face in faces])).tobytes()

    expected = [work(picture) for picture in people]
    with ThreadPoolExecutor(2) as streams:
        assert list(streams.map(work, people)) == expected


def test_a_dead_descriptor_process_is_an_engine_error_and_is_replaced() -> None:
    pool = DescriptorPool(_models() / DESCRIPTOR_FILE, 1)
    chips = np.zeros((1, 150, 150, 3), np.uint8)
    expected = pool.describe(chips)
    (child,) = pool._children
    os.kill(child.pid, signal.SIGKILL)
    with pytest.raises(DescriptorFailed, match="ended with status -9"):
        pool.describe(chips)
    assert pool.describe(chips).tobytes() == expected.tobytes()


def test_descriptors_leave_pythons_lock_to_other_threads(engine: DlibEngine) -> None:
    working = threading.Thread(target=engine.embed, args=(np.zeros((4, 150, 150, 3), np.uint8),))
    working.start()
    turns = 0
    while working.is_alive():
        turns += 1
    working.join()
    assert turns > 100


def test_a_worker_refuses_other_weights_than_the_stored_ones(engine: DlibEngine) -> None:
    with pytest.raises(ModelMissing, match="weights_sha256") as refused:
        load_dlib(expect=dataclasses.replace(engine.card, weights_sha256="0" * 64))
    assert refused.value.code == "ModelChanged"
    assert engine.card.collection == "faces-dlib"
