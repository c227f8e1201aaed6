"""Synthetic people whose truth is known: who must be found, who must never be mixed, and what must not matter."""

import hashlib
import subprocess
import sys
from collections import Counter
from pathlib import Path

import hdbscan
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from jobs import clustering, neighbours
from jobs.clustering import group_faces, match_groups
from jobs.density_groups import spanning_tree
from jobs.face_links import linked
from jobs.neighbour_cells import cell_neighbours
from jobs.neighbours import ABSENT, exact_neighbours
from tests.faces import DIMENSION, VERIFICATION, People, counts, people, unit

ROOT = Path(__file__).parents[2]


def labels_of(library: People) -> NDArray[np.int64]:
    return group_faces(library.vectors, library.photo, VERIFICATION)


def groups_in(labels: NDArray[np.int64]) -> list[NDArray[np.intp]]:
    return [np.flatnonzero(labels == group) for group in range(labels.max(initial=-1) + 1)]


def mixed(library: People, labels: NDArray[np.int64]) -> int:
    return sum(len(set(library.person[faces])) > 1 for faces in groups_in(labels))


def found(library: People, labels: NDArray[np.int64]) -> float:
    """Share of people with more than one photo of whom one group holds more than half of the photos."""
    photos = Counter(library.person.tolist())
    together = Counter(zip(library.person.tolist(), labels.tolist(), strict=True))
    whole = {who for (who, group), faces in together.items() if group >= 0 and 2 * faces > photos[who]}
    return len(whole) / sum(count > 1 for count in photos.values())


def distances(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    exact = vectors.astype(np.float64)
    return np.clip(1 - exact @ exact.T, 0, 2)


def reference(vectors: NDArray[np.float32]) -> NDArray[np.int64]:
    """What the package `hdbscan` makes of the whole matrix of cosine distances."""
    whole = hdbscan.HDBSCAN(min_cluster_size=3, min_samples=2, metric="precomputed")
    return whole.fit_predict(distances(vectors))


def planted(similarity: list[list[float]]) -> NDArray[np.float32]:
    """Vectors whose cosines are these: for situations of a few faces."""
    values, axes = np.linalg.eigh(np.array(similarity))
    assert values.min() >= -1e-9, "no vectors have such cosines"
    vectors = np.zeros((len(similarity), DIMENSION), np.float32)
    vectors[:, : len(similarity)] = axes * np.sqrt(values.clip(0))
    return unit(vectors)


@pytest.mark.parametrize(
    ("faces", "most", "spread"),
    [(3000, 60, 0.8), (3000, 20, 1.1), (3000, 200, 0.8), pytest.param(10_000, 60, 0.8, marks=pytest.mark.long)],
)
def test_people_with_ten_faces_or_more_are_grouped_as_hdbscan_groups_them(faces: int, most: int, spread: float) -> None:
    library = people(counts(faces, 10, most), spread)
    labels = labels_of(library)
    assert adjusted_rand_score(reference(library.vectors), labels) >= 0.95
    assert mixed(library, labels) == 0


def test_the_spanning_tree_of_the_whole_graph_is_that_of_hdbscan() -> None:
    """Its distances are. Which of many equal ones it uses hangs on the order of the faces, there too."""
    blurred = people([1] * 300, dimension=6).vectors
    near = exact_neighbours(blurred, np.arange(300, dtype=np.int32), 299)
    whole = hdbscan.HDBSCAN(min_cluster_size=3, min_samples=2, metric="precomputed").fit(distances(blurred))
    expected = whole.single_linkage_tree_.to_numpy()[:, 2]
    np.testing.assert_allclose(spanning_tree(near, linked(near))[:, 2], expected, atol=2e-6)


@pytest.mark.parametrize("spread", [0.8, 1.1])
def test_people_with_three_to_eight_faces_are_found_and_never_mixed(spread: float) -> None:
    library = people(counts(2000, 3, 8), spread)
    labels = labels_of(library)
    assert found(library, labels) >= 0.9
    assert mixed(library, labels) == 0


def test_a_library_of_every_size_keeps_people_apart_and_strangers_out() -> None:
    library = people([1] * 400 + [2] * 200 + [3] * 60 + [8] * 40 + [150] * 3)
    labels = labels_of(library)
    assert found(library, labels) >= 0.95
    assert mixed(library, labels) == 0
    assert (labels[library.person < 400] == -1).all()


def test_two_photos_of_one_person_make_a_group() -> None:
    library = people([2] * 100 + [1] * 100)
    labels = labels_of(library)
    assert found(library, labels) == 1.0
    assert mixed(library, labels) == 0


@pytest.mark.parametrize("photos", [2, 3, 5, 40, 500])
def test_a_library_of_one_person_is_one_group(photos: int) -> None:
    assert set(labels_of(people([photos]))) == {0}


def test_people_with_more_faces_than_neighbours_are_kept_for_stay_apart_and_whole() -> None:
    library = people([300, 200, 100])
    assert adjusted_rand_score(library.person, labels_of(library)) == 1.0


def test_strangers_are_no_group() -> None:
    assert set(labels_of(people([1] * 500))) == {-1}


def test_copies_of_one_shot_do_not_take_it_from_its_person() -> None:
    library = people([30, 30, 30])
    copied = library.vectors.copy()
    for person in range(3):
        own = np.flatnonzero(library.person == person)
        copied[own[:5]] = copied[own[0]]
    labels = group_faces(copied, library.photo, VERIFICATION)
    assert adjusted_rand_score(library.person, labels) == 1.0


def test_a_chain_of_lookalikes_is_not_one_person() -> None:
    """Each is like the next, the ends are strangers: the nearest two join, then the other two."""
    chain = [[1, 0.5, 0.2, 0.1], [0.5, 1, 0.45, 0.2], [0.2, 0.45, 1, 0.5], [0.1, 0.2, 0.5, 1]]
    assert group_faces(planted(chain), np.arange(4), VERIFICATION).tolist() == [0, 0, 1, 1]


def test_twins_on_one_photo_do_not_join_by_their_likeness() -> None:
    twins = planted([[1, 0.7], [0.7, 1]])
    assert group_faces(twins, np.array([5, 5]), VERIFICATION).tolist() == [-1, -1]
    assert group_faces(twins, np.array([5, 6]), VERIFICATION).tolist() == [0, 0]


def test_a_third_photo_of_one_twin_takes_that_twin_only() -> None:
    family = planted([[1, 0.7, 0.7], [0.7, 1, 0.5], [0.7, 0.5, 1]])
    assert group_faces(family, np.array([0, 0, 1]), VERIFICATION).tolist() == [0, -1, 0]


def test_many_faces_of_one_photo_are_no_group_by_themselves() -> None:
    library = people([40])
    assert set(group_faces(library.vectors, np.zeros(40, np.int64), VERIFICATION)) == {-1}


def test_a_mirror_image_joins_through_other_photos() -> None:
    library = people([12, 12])
    photo = library.photo.copy()
    own = np.flatnonzero(library.person == 0)
    photo[own[1]] = photo[own[0]]
    labels = group_faces(library.vectors, photo, VERIFICATION)
    assert adjusted_rand_score(library.person, labels) == 1.0


def test_groups_are_numbered_in_order_of_their_first_face() -> None:
    labels = labels_of(people(counts(500, 1, 9)))
    firsts = [faces[0] for faces in groups_in(labels)]
    assert firsts == sorted(firsts)
    assert min(len(faces) for faces in groups_in(labels)) >= 2


@pytest.mark.parametrize("exact_up_to", [50_000, 100])
def test_labels_do_not_depend_on_cores_or_threads(monkeypatch: pytest.MonkeyPatch, exact_up_to: int) -> None:
    library = people(counts(3000, 1, 30), spread=1.1)
    monkeypatch.setattr(clustering, "EXACT_UP_TO", exact_up_to)
    results = []
    for cores, threads in [(1, 1), (2, 2), (3, 1)]:
        monkeypatch.setattr(neighbours, "cpu_count", lambda cores=cores: cores)
        with threadpool_limits(threads):
            results.append(labels_of(library).tobytes())
    assert len(set(results)) == 1


def test_labels_do_not_depend_on_the_values_of_photo_ids() -> None:
    library = people(counts(1000, 1, 9), spread=1.1)
    photo = library.photo // 2
    renamed = np.random.default_rng(1).permutation(10_000)[photo]
    before = group_faces(library.vectors, photo, VERIFICATION)
    assert before.tobytes() == group_faces(library.vectors, renamed, VERIFICATION).tobytes()


def test_a_fresh_process_gives_the_same_labels_and_never_imports_numba() -> None:
    library = people(counts(1000, 1, 20))
    script = (
        "import hashlib, sys\n"
        "from jobs.clustering import group_faces\n"
        "from tests.faces import VERIFICATION, counts, people\n"
        "library = people(counts(1000, 1, 20))\n"
        "labels = group_faces(library.vectors, library.photo, VERIFICATION)\n"
        "print(hashlib.sha256(labels.tobytes()).hexdigest(), 'numba' in sys.modules, 'torch' in sys.modules)\n"
    )
    answer = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    digest = hashlib.sha256(labels_of(library).tobytes()).hexdigest()
    assert answer.stdout.split() == [digest, "False", "False"]


def test_exact_neighbours_are_those_of_the_whole_matrix() -> None:
    library = people(counts(1500, 1, 60))
    photo = (library.photo // 3).astype(np.int32)
    near = exact_neighbours(library.vectors, photo, 32)
    similarity = library.vectors.astype(np.float64) @ library.vectors.astype(np.float64).T
    similarity[photo[:, None] == photo[None, :]] = ABSENT
    best = np.sort(similarity, axis=1)[:, ::-1][:, :32]
    np.testing.assert_allclose(near.similarity, best, atol=2e-6)
    np.testing.assert_allclose(np.take_along_axis(similarity, near.index, 1), best, atol=2e-6)


def test_equal_neighbours_come_in_order_of_index() -> None:
    copies = np.repeat(people([1]).vectors, 20, axis=0)
    near = exact_neighbours(copies, np.arange(20, dtype=np.int32), 19)
    assert near.index[7].tolist() == [face for face in range(20) if face != 7]


def test_the_search_in_cells_finds_the_same_people() -> None:
    library = people(counts(6000, 3, 40))
    photo = library.photo.astype(np.int32)
    near = cell_neighbours(library.vectors, photo, 32, seed=0)
    alike = (library.person[near.index] == library.person[:, None]) & (near.similarity > ABSENT)
    photos = np.bincount(library.person)[library.person]
    assert alike.sum() >= 0.99 * (photos - 1).clip(max=32).sum()
    assert (near.index != photo[:, None])[near.similarity > ABSENT].all()


def test_above_the_limit_people_are_found_and_never_mixed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clustering, "EXACT_UP_TO", 1000)
    library = people(counts(4000, 3, 30), spread=1.0)
    numpy_state = str(np.random.get_state())
    labels = labels_of(library)
    assert found(library, labels) >= 0.95
    assert mixed(library, labels) == 0
    assert str(np.random.get_state()) == numpy_state


def test_progress_never_falls_and_ends_at_one() -> None:
    library, heard = people(counts(3000, 1, 9)), list[float]()
    group_faces(library.vectors, library.photo, VERIFICATION, progress=heard.append)
    assert heard == sorted(heard)
    assert heard[-1] == 1.0
    assert len(heard) > 5


@pytest.mark.parametrize("faces", [0, 1])
def test_no_faces_or_one_are_no_group(faces: int) -> None:
    vectors = people([1]).vectors[:faces]
    assert group_faces(vectors, np.arange(faces), VERIFICATION).tolist() == [-1] * faces


def test_wrong_input_is_refused_with_what_is_wrong() -> None:
    vectors, photo = people([3]).vectors, np.arange(3)
    with pytest.raises(ValueError, match=r"\(n, d\) float32, not \(3, 512\) float64"):
        group_faces(vectors.astype(np.float64), photo, VERIFICATION)
    with pytest.raises(ValueError, match="one integer for each of 3 faces"):
        group_faces(vectors, photo[:2], VERIFICATION)
    with pytest.raises(ValueError, match="face 0 has length 2, not 1"):
        group_faces(vectors * np.float32(2), photo, VERIFICATION)
    with pytest.raises(ValueError, match="face 0 has length nan"):
        group_faces(vectors * np.float32(np.nan), photo, VERIFICATION)
    with pytest.raises(ValueError, match="a cosine above 0"):
        group_faces(vectors, photo, 0.0)


def test_a_new_group_continues_the_old_one_it_shares_most_with() -> None:
    old = {7: {1, 2, 3, 4}, 8: {5, 6}}
    new = {0: {4, 5, 6}, 1: {1, 2, 3, 9}}
    assert match_groups(old, new) == {1: 7, 0: 8}


def test_equal_shares_go_to_the_lower_ids() -> None:
    assert match_groups({4: {1, 2}, 3: {3, 4}}, {0: {1, 2, 3, 4}}) == {0: 3}
    assert match_groups({1: {1, 2, 3, 4}}, {9: {1, 2}, 5: {3, 4}}) == {5: 1}


def test_half_of_the_smaller_group_is_enough_and_less_is_not() -> None:
    assert match_groups({1: {1, 2, 3, 4}}, {0: {1, 2, 8, 9}}) == {0: 1}
    assert match_groups({1: {1, 2, 3, 4, 5}}, {0: {1, 2, 7, 8, 9}}) == {}


def test_groups_that_share_nothing_are_not_matched() -> None:
    assert match_groups({1: {1, 2}}, {0: {3, 4}}) == {}
    assert match_groups({}, {0: {3, 4}}) == {}
