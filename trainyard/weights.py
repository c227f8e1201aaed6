"""How much of a session's time each phase is expected to take: fixed once, when discovery has ended."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from trainyard.settings import DEFAULT_WEIGHTS

# The step that a phase's time is measured on. Rates of the last sessions count, so that a new disk or a newer
# version is learnt within a few runs, and one odd session does not decide.
TIMED_STEP = {"training": "embed", "faceDetection": "detect", "clustering": "cluster"}
SESSIONS_REMEMBERED = 5
LEAST_UNITS = 16  # a rate from fewer photos is mostly start-up


@dataclass(frozen=True)
class Rate:
    """What this installation measured of one step with these models on this device."""

    seconds_per_unit: float
    faces_per_unit: float = 0.0
    worker_seconds_per_unit: float = 0.0  # of one worker alone; 0 where an older version measured


def phase_weights(
    units: Mapping[str, float], rates: Mapping[str, Rate | None], pinned: Mapping[str, float] | None = None
) -> dict[str, float]:
    """Weights by phase that add up to 100 over the phases in `units` (those that have something to do).

    Measured where every one of these phases was, else the default 30/65/5; `pinned` overrides both.
    """
    weights: Mapping[str, float] = pinned or DEFAULT_WEIGHTS
    if pinned is None and units and all(rates.get(phase) for phase in units):
        weights = {phase: units[phase] * rates[phase].seconds_per_unit for phase in units}  # type: ignore[union-attr]
    chosen = {phase: weights[phase] for phase in units}
    if len(chosen) > 1 and units.get("training") == 0:
        chosen["training"] = 0.0  # nothing to embed takes no time
    return scale(chosen)


def scale(weights: Mapping[str, float]) -> dict[str, float]:
    """The same proportions, adding up to 100."""
    whole = sum(weights.values())
    if whole <= 0:
        return {phase: 100.0 / len(weights) for phase in weights}
    return {phase: 100.0 * weight / whole for phase, weight in weights.items()}


def measured_rates(connection: sa.Connection, models: Mapping[str, Any]) -> dict[str, Rate | None]:
    """Seconds per unit by phase, from this installation's last sessions with the same models and device."""
    return {phase: measured_rate(connection, step, models) for phase, step in TIMED_STEP.items()}


def measured_rate(connection: sa.Connection, step: str, models: Mapping[str, Any]) -> Rate | None:
    """The same of one step."""
    model = models.get("clip" if step == "embed" else "face")
    if model is None:
        return None
    row = connection.execute(
        sa.text(f"""
            SELECT sum(seconds)::float8 AS seconds, sum(worker_seconds)::float8 AS worker_seconds,
                   sum(units)::float8 AS units, sum(faces)::float8 AS faces
            FROM (
                SELECT st.seconds, st.worker_seconds,
                       st.total - coalesce((st.counts ->> 'unchanged')::bigint, 0) AS units,
                       coalesce((st.counts ->> 'faces')::bigint, 0) AS faces
                FROM steps st JOIN training_sessions s ON s.id = st.session_id
                WHERE st.step = :step AND st.status = 'completed' AND st.seconds > 0 AND st.total >= :least
                    AND s.models -> '{"clip" if step == "embed" else "face"}' ->> 'id' = :model
                    AND s.models ->> 'device' = :device
                ORDER BY s.id DESC LIMIT :remembered
            ) latest
        """),
        {
            "step": step,
            "model": str(model["id"]),
            "device": models["device"],
            "least": LEAST_UNITS,
            "remembered": SESSIONS_REMEMBERED,
        },
    ).one()
    if not row.units:
        return None
    return Rate(row.seconds / row.units, row.faces / row.units, row.worker_seconds / row.units)
