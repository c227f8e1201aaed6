"""The networks of a session, resolved once by discover and stored on it; later workers load exactly those."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from jobs.context import Context, Session
from jobs.engines import ModelCard
from jobs.engines.loading import card_to_json, choose_face_engine
from jobs.engines.weights import ModelMissing
from jobs.outages import ride_out
from jobs.outcomes import WrongConfiguration
from trainyard.shards import Shard
from trainyard.tables import models
from trainyard.vectors import VectorsUnavailable, WrongCollection


@dataclass(frozen=True)
class Resolved:
    """The networks of a session as stored on it: cards with the ids of their rows; None for one it does not use."""

    clip: dict[str, Any] | None
    face: dict[str, Any] | None
    device: str

    def to_json(self) -> dict[str, Any]:
        return {"clip": self.clip, "face": self.face, "device": self.device}


def resolve(context: Context, session: Session, shard: Shard) -> Resolved:
    """Raises WrongConfiguration for a model that is not there, or whose collection holds other vectors."""
    try:
        clip = face = None
        if session.training:
            clip = context.engines.clip(untrained=bool(session.options.get("untrained", False))).card
        if session.faces:
            wanted = str(session.options.get("face_engine", context.settings.face_engine))
            face = context.engines.face(choose_face_engine(wanted, context.settings.models_path)).card
        return Resolved(
            clip=_remember(context, shard, clip) if clip else None,
            face=_remember(context, shard, face) if face else None,
            device=context.engines.device,
        )
    except ModelMissing as error:
        raise WrongConfiguration(error.code, error.message) from error
    except WrongCollection as error:
        raise WrongConfiguration("WrongCollection", str(error)) from error


def _remember(context: Context, shard: Shard, card: ModelCard) -> dict[str, Any]:
    """The card as JSON with the id of its row in `models`, made when new; its collection is made too."""
    ensure = partial(context.vectors.ensure_collection, card.collection, card.dimension, card.weights_sha256)
    ride_out(context, shard, "VectorsUnavailable", ensure, (VectorsUnavailable,))
    stored = card_to_json(card)
    identity = ("kind", "engine", "name", "weights_sha256", "preprocess_version")

    def work(connection: sa.Connection) -> int:
        connection.execute(insert(models).values(**stored).on_conflict_do_nothing(index_elements=identity))
        same = sa.and_(*(models.c[name] == stored[name] for name in identity))
        return int(connection.execute(sa.select(models.c.id).where(same)).scalar_one())

    return {**stored, "id": context.database.transact(work)}
