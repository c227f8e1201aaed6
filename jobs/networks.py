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
from trainyard.face_models import active_face_model
from trainyard.shards import Shard
from trainyard.tables import models
from trainyard.vectors import VectorsUnavailable, WrongCollection

IDENTITY = ("kind", "engine", "name", "weights_sha256", "preprocess_version")


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
            face = context.engines.face(_face_engine(context, session)).card
        return Resolved(
            clip=_remember(context, shard, clip) if clip else None,
            face=_remember(context, shard, face) if face else None,
            device=context.engines.device,
        )
    except ModelMissing as error:
        raise WrongConfiguration(error.code, error.message) from error
    except WrongCollection as error:
        raise WrongConfiguration("WrongCollection", str(error)) from error


def _face_engine(context: Context, session: Session) -> str:
    """`auto` stays with the engine whose faces people have named; before there is one, it is the best that is here."""
    wanted = str(session.options.get("face_engine", context.settings.face_engine))
    active = context.database.transact(active_face_model) if wanted == "auto" else None
    return active.engine if active else choose_face_engine(wanted, context.settings.models_path)


def _remember(context: Context, shard: Shard, card: ModelCard) -> dict[str, Any]:
    """The card as JSON with the id of its row in `models`, made when new; its collection is made too."""
    ensure = partial(context.vectors.ensure_collection, card.collection, card.dimension, card.weights_sha256)
    ride_out(context, shard, "VectorsUnavailable", ensure, (VectorsUnavailable,))
    stored = card_to_json(card)
    return {**stored, "id": context.database.transact(partial(_row_of, stored=stored))}


def _row_of(connection: sa.Connection, stored: dict[str, Any]) -> int:
    """The id of the network's row. The first for faces is active; another becomes it once it has found them all."""
    m = models.c
    same = sa.select(m.id).where(*(m[name] == stored[name] for name in IDENTITY))
    found = connection.execute(same).scalar_one_or_none()
    if found is None:
        connection.execute(sa.text("LOCK TABLE models IN SHARE ROW EXCLUSIVE MODE"))  # of two at once one is the first
        is_first = connection.execute(sa.select(m.id).where(m.kind == "face", m.active)).first() is None
        row = {**stored, "active": stored["kind"] != "face" or is_first}
        connection.execute(insert(models).values(**row).on_conflict_do_nothing(index_elements=IDENTITY))
        found = connection.execute(same).scalar_one()
    if stored["thresholds"]:  # a later version may have measured them anew
        others = m.thresholds.is_distinct_from(stored["thresholds"])
        connection.execute(sa.update(models).where(m.id == found, others).values(thresholds=stored["thresholds"]))
    return int(found)
