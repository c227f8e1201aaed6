"""1,000 synthetic people, as a face network would place them, with long-tailed numbers of photos.

A face is  offset + its person's centre + its own scatter, brought to length one.  Centres and scatters are normal,
and fill only the first `between_dims` and `within_dims` dimensions: so lookalikes are as near as among real people,
who are nearer than vectors drawn from all 128 or 512. How far a photo lies from its person's centre varies from
photo to photo (light, pose, age) and from person to person, both log-normal.

The figures and seeds here were committed before any way of grouping was tuned or run on them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PEOPLE = 1_000
TUNING_SEED, TEST_SEED = 1107, 2207  # settings are chosen on the first, reported are figures of the second
MOST_PHOTOS = 800
TAIL = 1.7  # a person has n photos with a chance ∝ n^-1.7: half have one, the mean is near ten
FACES_A_PHOTO = (0.60, 0.25, 0.10, 0.05)  # the share of photos with one, two, three, four faces


@dataclass(frozen=True)
class Population:
    """Where a network places faces: variances are of whole vectors, before they are brought to length one."""

    name: str
    dimension: int
    offset: float  # the length of what all faces have in common
    between: float  # variance of centres
    between_dims: int
    within: float  # variance of a typical photo around its person's centre
    within_dims: int
    photo_spread: float  # standard deviation of the logarithm of a photo's distance from the centre
    person_spread: float  # the same of a person's typical distance
    source: str


DLIB = Population(
    name="dlib",
    dimension=128,
    offset=1.0,
    between=0.128,
    between_dims=32,
    within=0.0307,
    within_dims=48,
    photo_spread=0.20,
    person_spread=0.19,
    source=(
        "fitted to dlib's descriptors of the 509 faces its detector finds in the AT&T (ORL) Database of Faces and "
        "the CSU Scrap Shots, see real_faces: quantiles of both sets' cosines within and between persons, pooled"
    ),
)
ARCFACE = Population(
    name="arcface",
    dimension=512,
    offset=0.0,
    between=1.0,
    between_dims=56,
    within=0.31,
    within_dims=256,
    photo_spread=0.45,
    person_spread=0.35,
    source=(
        "no ArcFace weights are here, so fitted to published figures. Labeled Faces in the Wild with ResNet-50, "
        "ArcFace paper (arXiv:1801.07698v3, table 3): on average 28.05 degrees from a face to its person's centre "
        "(simulated: 28.0), 66.55 from a centre to the nearest other (66.6). For the tails buffalo_l on LFW, CALFW, "
        "CPLFW and CFPW together (model card of deepghs/insightface): best F1 of pairs 0.983 at a cosine of 0.22 "
        "(simulated: 0.981 at 0.235)"
    ),
)
POPULATIONS = (DLIB, ARCFACE)


@dataclass(frozen=True)
class Library:
    vectors: NDArray[np.float32]  # (n, d), L2-normalised, in the order in which photos came
    person: NDArray[np.int64]  # (n,)
    photo: NDArray[np.int64]  # (n,), equal for faces of one photo
    quality: NDArray[np.float64]  # (n,), 0..1, the higher the nearer a face is to its person's centre, roughly

    def __len__(self) -> int:
        return len(self.person)


def photo_counts(seed: int, people: int = PEOPLE) -> NDArray[np.int64]:
    """How many photos each person is in."""
    number = np.arange(1, MOST_PHOTOS + 1)
    chance = number**-TAIL
    return np.random.default_rng((seed, 1)).choice(number, people, p=chance / chance.sum())


def library(population: Population, faces: int, seed: int) -> Library:
    """The first people of the seed's 1,000 who have `faces` faces together; of the last only as many as fit."""
    rng = np.random.default_rng((seed, 2))
    counts = photo_counts(seed)
    if counts.sum() < faces:
        raise ValueError(f"the people of seed {seed} have {counts.sum()} faces, fewer than {faces}")
    centres = _normal(rng, len(counts), population.between_dims, population.between, population.dimension)
    spread = np.exp(population.person_spread * rng.standard_normal(len(counts)))
    person = rng.permutation(np.repeat(np.arange(len(counts)), counts)[:faces])
    distance = spread[person] * np.exp(population.photo_spread * rng.standard_normal(faces))
    scatter = _normal(rng, faces, population.within_dims, population.within, population.dimension)
    vectors = centres[person] + distance[:, None] * scatter
    vectors[:, -1] += population.offset
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    quality = np.clip(0.75 - 0.25 * np.log(distance) + 0.1 * rng.standard_normal(faces), 0.3, 1.0)
    return Library(vectors.astype(np.float32), person, photos_of(person, rng), quality)


def photos_of(person: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """(n,) faces that follow each other share a photo, one to four of them, but never two of one person."""
    photo = np.empty(len(person), np.int64)
    number, room, present = -1, 0, set[int]()
    for face, who in enumerate(person.tolist()):
        if room == 0 or who in present:
            number, room, present = number + 1, int(rng.choice(4, p=FACES_A_PHOTO)) + 1, set()
        photo[face] = number
        present.add(who)
        room -= 1
    return photo


def _normal(rng: np.random.Generator, rows: int, filled: int, variance: float, dimension: int) -> NDArray[np.float64]:
    """(rows, dimension) normal in the first `filled` dimensions, of that variance in all, zero in the rest."""
    drawn = np.zeros((rows, dimension))
    drawn[:, :filled] = rng.standard_normal((rows, filled)) * np.sqrt(variance / filled)
    return drawn
