"""The step detect: find each photo's faces, embed them, and say whose they are."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from jobs.assignment import read_prototypes
from jobs.batches import BatchRun, Outcome, Photo, failed_outcome, look, store_facts, store_jobs
from jobs.context import Context, Session, read_session
from jobs.deciding import Deciding
from jobs.engines import DetectedFace, FaceEngine
from jobs.engines.loading import card_from_json
from jobs.face_rows import SCAN_OF_PHOTO, scan_parameters, store_scans
from jobs.faces import Face
from jobs.found_faces import FoundFaces
from jobs.orphans import remove_orphans
from jobs.quality import quality_score
from jobs.streams import Streams
from trainyard.decoders import Decoder
from trainyard.photos import PhotoError, PhotoFacts
from trainyard.shards import Shard
from trainyard.vectors import face_point

READ = sa.text(f"""
    SELECT j.position, j.attempts, j.asset_id, a.path, a.content_sha256, a.category_id,
           s.asset_id IS NOT NULL AS done_before, e.error_code, e.error_message
    FROM training_jobs j JOIN image_assets a ON a.id = j.asset_id
    LEFT JOIN training_jobs e ON e.session_id = j.session_id AND e.step = 'embed'
        AND e.asset_id = j.asset_id AND e.status = 'failed'
    LEFT JOIN face_scans s ON {SCAN_OF_PHOTO}
    WHERE j.session_id = :session_id AND j.step = :step AND j.position BETWEEN :next AND :last
        AND j.status = 'pending'
    ORDER BY j.position LIMIT :limit
""")


PHOTOS_PER_CHUNK = 8  # their faces fill the recogniser's passes better than one photo's would


@dataclass(frozen=True)
class Aligned:
    """A face found in a photo, waiting for its embedding."""

    box: tuple[float, float, float, float]
    face: DetectedFace
    crop: NDArray[np.uint8]


def run(context: Context, shard: Shard) -> None:
    """Run the shard to its end under the claim it was taken with."""
    session = context.database.transact(lambda connection: read_session(connection, shard.key.session_id))
    card = card_from_json(session.models["face"])
    engine = context.engines.face(card.engine, expect=card)
    with Streams(context.settings, engine.device) as streams:
        step = DetectStep(context, session, engine, streams)
        BatchRun(context, session, step, shard, streams).run()


class DetectStep:
    name = "detect"
    read = READ

    def __init__(self, context: Context, session: Session, engine: FaceEngine, streams: Streams) -> None:
        self.context = context
        self.session = session
        self.engine = engine
        self.network = streams.network
        self.batch_size = context.settings.detect_batch
        self.chunk_size = min(PHOTOS_PER_CHUNK, self.batch_size)
        self.model: dict[str, Any] = session.models["face"]
        self.parameters = scan_parameters(session, self.model["id"])
        self._stale: list[UUID] = []  # of the batch that is being committed
        self.deciding = self._make_deciding()

    def _make_deciding(self) -> Deciding:
        thresholds, model = self.engine.card.thresholds, self.model
        assert thresholds is not None
        prototypes = self.context.database.transact(
            lambda c: read_prototypes(c, self.session.id, model["id"], model["dimension"])
        )
        return Deciding(self.context, model, thresholds, prototypes)

    # Decode and infer

    def infer(self, photos: Sequence[Photo], decoder: Decoder) -> list[Outcome]:
        begun = time.perf_counter()
        found: list[tuple[Photo, PhotoFacts, list[Aligned]]] = []
        outcomes: list[Outcome] = []
        for photo in photos:
            before = look(photo.path)
            try:
                facts, aligned = self._find(photo, decoder)
            except PhotoError as error:
                outcomes.append(failed_outcome(photo, error, before))
                continue
            if aligned is None:
                outcomes.append(Outcome(photo, facts=facts))
            else:
                found.append((photo, facts, aligned))
        embeddings = iter(self._embed([a.crop for _, _, aligned in found for a in aligned]))
        results = [self._faces(photo, facts, aligned, embeddings) for photo, facts, aligned in found]
        seconds = (time.perf_counter() - begun) / len(photos)
        outcomes += [
            Outcome(photo, facts=facts, result=faces, seconds=seconds)
            for (photo, facts, _), faces in zip(found, results, strict=True)
        ]
        return outcomes

    def _find(self, photo: Photo, decoder: Decoder) -> tuple[PhotoFacts, list[Aligned] | None]:
        """The photo's faces, by position; None when they are known already."""
        facts, picture, scale = decoder.detection_view(photo.path, self.engine.detect_side_px)
        if photo.done_before and facts.sha256 == photo.content_sha256:
            return facts, None
        with self.network:
            detected = self.engine.detect(picture, self.session.min_confidence)
        faces = self._large_enough(detected, facts, scale)
        if not faces:
            return facts, []
        landmarks = np.stack([face.landmarks for _, face in faces]) * np.float32(scale)
        crops = decoder.aligned_faces(
            photo.path, landmarks.astype(np.float32), self.engine.crop_landmarks, self.engine.crop_side_px
        )
        return facts, [Aligned(box, face, crop) for (box, face), crop in zip(faces, crops, strict=True)]

    def _large_enough(
        self, detected: list[DetectedFace], facts: PhotoFacts, scale: float
    ) -> list[tuple[tuple[float, float, float, float], DetectedFace]]:
        """Boxes in full-size pixels, cut at the photo's edges, from top to bottom and left to right."""
        boxes = [(_full_size(face.box, scale, facts), face) for face in detected]
        large = [(box, face) for box, face in boxes if shorter_side_px(box) >= self.session.min_face_size_px]
        return sorted(large, key=lambda item: (item[0][1], item[0][0], item[0][3], item[0][2]))

    def _embed(self, crops: list[NDArray[np.uint8]]) -> Sequence[NDArray[np.float32]]:
        if not crops:
            return []
        with self.network:
            return list(self.engine.embed(np.stack(crops)))

    def _faces(self, photo: Photo, facts: PhotoFacts, aligned: list[Aligned], embeddings: Any) -> list[Face]:
        return [
            Face(
                id=face_point(photo.asset_id, facts.sha256, self.model["weights_sha256"], ordinal),
                asset_id=photo.asset_id,
                content_sha256=facts.sha256,
                ordinal=ordinal,
                box_px=a.box,
                photo_size_px=(facts.width, facts.height),
                confidence=a.face.confidence,
                quality=quality_score(shorter_side_px(a.box), a.crop, a.face.frontality, a.face.confidence),
                embedding=next(embeddings),
            )
            for ordinal, a in enumerate(aligned)
        ]

    # Commit

    def publish(self, outcomes: Sequence[Outcome]) -> None:
        """Decide whose each face is, and write the points; `store` leaves word where that turns out otherwise."""
        new = [o for o in outcomes if o.result is not None]
        decided = self.deciding.decide(_faces(new), _read_before(new))
        faces, self._stale = decided.faces, decided.stale
        rest = iter(faces)
        for outcome in new:
            outcome.result[:] = [next(rest) for _ in outcome.result]
        collection, dimension = self.model["collection"], self.model["dimension"]
        self.context.vectors.upsert(
            collection,
            [face.id for face in faces],
            np.stack([face.embedding for face in faces]) if faces else np.empty((0, dimension), np.float32),
            [{"face_id": str(face.id), "asset_id": face.asset_id, "person_id": face.told} for face in faces],
        )

    def committed(self) -> None:
        """Delete the points of faces that are no longer there; until now they said whether one found is the same."""
        self.context.vectors.delete(self.model["collection"], self._stale)

    def counts(self, outcomes: Sequence[Outcome]) -> dict[str, int]:
        decisions = [face.decision for o in outcomes if o.result for face in o.result]
        return {
            "unchanged": sum(1 for outcome in outcomes if outcome.unchanged),
            "faces": len(decisions),
            "assigned": sum(1 for d in decisions if d.person_id is not None),
            "suggestions": sum(1 for d in decisions if d.suggested_person_id is not None),
        }

    def store(self, connection: sa.Connection, outcomes: Sequence[Outcome]) -> None:
        new = [o for o in outcomes if o.result is not None]
        FoundFaces(self.session.id, self.model["id"], _faces(new), _read_before(new)).store(connection)
        store_scans(connection, self.session, self.model["id"], new)
        store_facts(connection, outcomes)
        store_jobs(connection, self.session.id, self.name, outcomes)

    def tidy(self, shard: Shard) -> None:
        remove_orphans(self.context, shard, self.model["collection"], self._points_with_rows)

    def _points_with_rows(self, connection: sa.Connection, asset_ids: list[int]) -> set[UUID]:
        rows = connection.scalars(
            sa.text("SELECT id FROM face_instances WHERE model_id = :model_id AND asset_id = ANY(:assets)"),
            {"model_id": self.model["id"], "assets": asset_ids},
        )
        return set(rows)


def _faces(new: Sequence[Outcome]) -> list[Face]:
    return [face for outcome in new for face in outcome.result]


def _read_before(new: Sequence[Outcome]) -> list[int]:
    """The photos that may have faces already."""
    return [outcome.photo.asset_id for outcome in new if outcome.photo.content_sha256 is not None]


def _full_size(
    box: tuple[float, float, float, float], scale: float, facts: PhotoFacts
) -> tuple[float, float, float, float]:
    edges = np.array(box, np.float64) * scale
    limits = np.array([facts.width, facts.height, facts.width, facts.height], np.float64)
    left, top, right, bottom = np.clip(edges, 0.0, limits).tolist()
    return left, top, right, bottom


def shorter_side_px(box: tuple[float, float, float, float]) -> float:
    return min(box[2] - box[0], box[3] - box[1])
