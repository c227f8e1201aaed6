"""Photos for tests of search, written as workers write them: rows, the evidence of an embedding, faces and points."""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import uuid4

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from api.services import Services
from tests.rows import add_model, add_session
from trainyard.tables import categories, face_instances, image_assets, models, persons, training_evidence
from trainyard.vectors import image_point

DIMENSION = 4


@dataclass
class Library:
    """Of one network; `add` gives ids."""

    services: Services
    weights_sha256: str = "1" * 64
    trained: bool = True
    dimension: int = DIMENSION
    collection: str = ""
    model_id: int = field(init=False)
    face_model_id: int = field(init=False)
    session_id: int = field(init=False)

    def __post_init__(self) -> None:
        self.collection = self.collection or f"images-{self.weights_sha256[:12]}"
        self.services.vectors.ensure_collection(self.collection, self.dimension, self.weights_sha256)
        with self.services.database.engine.begin() as connection:
            self.session_id = add_session(connection)
            self.model_id = int(
                connection.execute(sa.insert(models).values(self._card()).returning(models.c.id)).scalar_one()
            )
            there = connection.scalar(sa.select(models.c.id).where(models.c.kind == "face"))
            self.face_model_id = there if there is not None else add_model(connection, "face")

    def _card(self) -> dict[str, Any]:
        return {
            "kind": "clip",
            "engine": "none",
            "name": f"made up {self.weights_sha256[:4]}",
            "weights_sha256": self.weights_sha256,
            "preprocess_version": 1,
            "dimension": self.dimension,
            "collection": self.collection,
            "trained": self.trained,
        }

    def category(self, name: str) -> int:
        return self._insert(categories, name=name)

    def person(self, name: str) -> int:
        return self._insert(persons, name=name)

    def add(
        self,
        path: str,
        vector: NDArray[np.float32] | None = None,
        *,
        people: tuple[int, ...] = (),
        payload: dict[str, Any] | None = None,
        **columns: Any,
    ) -> int:
        """A photo with faces of these people. `payload`: where the point says other things than the rows."""
        content = hashlib.sha256(path.encode()).digest()
        values = {
            "path": path.encode(),
            "path_text": path,
            "path_sha256": content,
            "content_sha256": content,
            **columns,
        }
        asset = self._insert(image_assets, **values)
        for ordinal, person in enumerate(people):
            self.face(asset, content, ordinal, person)
        if vector is not None:
            self.embed(asset, content, vector, _payload(asset, people, values) | (payload or {}))
        return asset

    def face(self, asset: int, content: bytes, ordinal: int, person: int | None, model_id: int | None = None) -> None:
        self._insert(
            face_instances,
            id=uuid4(),
            asset_id=asset,
            content_sha256=content,
            model_id=model_id or self.face_model_id,
            ordinal=ordinal,
            box_left=0.0,
            box_top=0.0,
            box_right=50.0,
            box_bottom=50.0,
            confidence=0.9,
            quality=0.5,
            embedding_sha256=b"",
            session_id=self.session_id,
            person_id=person,
            assigned_by="person",
        )

    def embed(self, asset: int, content: bytes, vector: NDArray[np.float32], payload: dict[str, Any]) -> None:
        self._insert(
            training_evidence,
            asset_id=asset,
            content_sha256=content,
            model_id=self.model_id,
            embedding_sha256=b"",
            trained=self.trained,
            session_id=self.session_id,
            seconds=0.0,
        )
        point = image_point(asset, content, self.weights_sha256)
        self.services.vectors.upsert(self.collection, [point], vector[np.newaxis], [payload])

    def _insert(self, table: sa.Table, **values: Any) -> Any:
        inserted = sa.insert(table).values(values).returning(*table.primary_key.columns)
        with self.services.database.engine.begin() as connection:
            return connection.execute(inserted).one()[0]


def _payload(asset: int, people: tuple[int, ...], values: dict[str, Any]) -> dict[str, Any]:
    taken_at: datetime | None = values.get("taken_at")
    return {
        "asset_id": asset,
        "path": values["path_text"],
        "category_id": values.get("category_id"),
        "taken_at": taken_at.isoformat() if taken_at else None,
        "person_ids": sorted(set(people)),
    }


def towards(angle: float, plane: int = 0, dimension: int = DIMENSION) -> NDArray[np.float32]:
    """A unit vector: the smaller the angle to another's of the plane, the more alike."""
    vector = np.zeros(dimension, np.float32)
    vector[plane], vector[plane + 1] = np.cos(angle), np.sin(angle)
    return vector
