"""What photos are ranked by: words, a photo, or both together. Vectors of one question are from one network."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from api.image_rows import read_row
from api.problems import Problem
from api.search_ranked import Ranking
from api.services import Services
from api.text_tower import DOWNLOAD
from trainyard.vectors import image_point

# The networks that embedded the photo as it is, the active ones and the newest first.
MODELS_OF_PHOTO = sa.text("""
    SELECT m.id, m.collection, m.weights_sha256, e.content_sha256
    FROM training_evidence e JOIN models m ON m.id = e.model_id JOIN image_assets a ON a.id = e.asset_id
    WHERE e.asset_id = :id AND e.content_sha256 = a.content_sha256 AND m.kind = 'clip'
    ORDER BY m.active DESC, m.id DESC
""")

# The networks that any photos were embedded by, that of the text tower first.
MODELS = sa.text("""
    SELECT id, name, collection, weights_sha256, trained FROM models WHERE kind = 'clip'
    ORDER BY weights_sha256 = :weights_sha256 DESC, active DESC, id DESC
""")


def of_photo(services: Services, image_id: int, weights_sha256: str | None = None) -> Ranking:
    """What looks like the photo, to the network of these weights if they are given. Raises Problem."""

    def read(connection: sa.Connection) -> Sequence[sa.Row[Any]]:
        read_row(connection, image_id, services.settings.allowed_roots)
        return connection.execute(MODELS_OF_PHOTO, {"id": image_id}).all()

    for model in services.database.transact(read):
        if weights_sha256 in (None, model.weights_sha256) and services.vectors.has_collection(model.collection):
            point = image_point(image_id, model.content_sha256, model.weights_sha256)
            found = services.vectors.retrieve(model.collection, [point])
            if not found.missing:
                return Ranking(model, found.vectors[0], without=image_id)
    raise Problem(409, "NotEmbedded", f"Image {image_id} has no embedding yet; begin a session of its folder.")


def of_text(services: Services, text: str, similar_to: int | None = None) -> Ranking | None:
    """What the words say, and, with `similar_to`, what looks like that photo as well: both cosines count alike.

    None where no photo was embedded yet. Raises Problem where the words cannot be compared with the photos.
    """
    model = _model_of_words(services)
    photo = of_photo(services, similar_to, model.weights_sha256) if model and similar_to is not None else None
    if model is None or not services.vectors.has_collection(model.collection):
        return None
    words = services.text.embed(text)
    return Ranking(model, _between(words, photo.vector), without=similar_to) if photo else Ranking(model, words)


def _model_of_words(services: Services) -> sa.Row[Any] | None:
    """The network that the text tower belongs to. Raises Problem unless it has embedded photos, or none has."""
    asked = {"weights_sha256": services.text.clip_weights_sha256}
    model = services.database.transact(lambda connection: connection.execute(MODELS, asked).first())
    if model and not model.trained:
        raise _unavailable("the photos were embedded with untrained weights", "without --untrained")
    if model and model.weights_sha256 != asked["weights_sha256"]:
        raise _unavailable(f"the photos were embedded by {model.name}, CLIP's text tower is another's", "of the photos")
    return model


def _unavailable(why: str, how: str) -> Problem:
    detail = f"Photos cannot be searched by words here: {why}. To have it, {DOWNLOAD}, and begin a session {how}."
    return Problem(409, "TextSearchUnavailable", detail)


def _between(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    both = one + other
    between: NDArray[np.float32] = both / np.linalg.norm(both)
    return between
