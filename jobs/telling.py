"""Qdrant and the prototypes hear of rows that changed: what workers and people left word of in the outbox."""

from contextlib import suppress
from functools import partial

from jobs.context import Context
from jobs.outages import ride_out
from jobs.outcomes import ComeBackLater
from trainyard import outbox, shards
from trainyard.shards import Overtaken, Shard
from trainyard.vectors import VectorsUnavailable


def tell_stores(context: Context, shard: Shard) -> None:
    """Until there is nothing to tell, or somebody else tells it. Raises ComeBackLater in a long outage."""
    drain = partial(outbox.drain, context.database, context.vectors)
    while ride_out(context, shard, "VectorsUnavailable", drain, (VectorsUnavailable,)):
        context.check_stop()
        context.database.transact(partial(shards.beat, shard=shard))


def tell_what_is_left(context: Context, shard: Shard) -> None:
    """The same once the shard is finished: what cannot be told now, others tell."""
    with suppress(ComeBackLater, Overtaken):
        tell_stores(context, shard)
