"""A worker: claim a shard of a step, and run it to its end."""

import os
import socket
import threading
from collections.abc import Callable, Mapping

from jobs import assign, cluster, detect, discover, embed
from jobs.context import Context
from jobs.engines.devices import DeviceMissing
from jobs.engines.weights import ModelMissing
from jobs.outcomes import ComeBackLater, WrongConfiguration
from jobs.telling import tell_what_is_left
from trainyard import shards
from trainyard.database import DatabaseUnavailable
from trainyard.shards import Shard, ShardKey
from trainyard.vectors import WrongCollection

RUN: Mapping[str, Callable[[Context, Shard], None]] = {
    "discover": discover.run,
    "embed": embed.run,
    "detect": detect.run,
    "assign": assign.run,
    "cluster": cluster.run,
}


def run_shard(context: Context, key: ShardKey) -> None:
    """Claim the shard and finish it; a shard that is finished already is left as it is.

    Raises ComeBackLater when stopped or when an outage lasts, WrongConfiguration when no attempt can succeed,
    Overtaken when another worker has the shard; anything else fails the attempt.
    """
    if key.step not in RUN:
        raise WrongConfiguration("NoSuchStep", f"This version has no worker for the step {key.step!r}.")
    context.check_stop()
    try:
        shard = context.database.transact(lambda connection: shards.claim(connection, key, context.worker))
        if shard.finished:
            tell_what_is_left(context, shard)  # by a worker that died then
        else:
            RUN[key.step](context, shard)
    except DatabaseUnavailable as error:
        raise ComeBackLater(str(error)) from error
    except (ModelMissing, DeviceMissing) as error:
        raise WrongConfiguration(getattr(error, "code", "DeviceMissing"), str(error)) from error
    except WrongCollection as error:
        raise WrongConfiguration("WrongCollection", str(error)) from error


def worker_name() -> str:
    return f"{socket.gethostname()}/{os.getpid()}/{threading.get_native_id()}"
