"""The Event object of something that became of a TrainingSession, whole. Pure."""

import hashlib
import json
from datetime import datetime
from typing import Any

from controller.kubernetes.names import GROUP, KIND, VERSION
from controller.kubernetes.resource import Resource
from controller.kubernetes.resource_conditions import time_text
from controller.kubernetes.resource_events import Event

COMPONENT = "trainyard-controller"
LONGEST_NAME = 253
LONGEST_REASON, LONGEST_MESSAGE, LONGEST_INSTANCE = 128, 1_024, 128  # characters that events.k8s.io/v1 takes
DIGITS = 16


def event_manifest(resource: Resource, event: Event, namespace: str, instance: str, now: datetime) -> dict[str, Any]:
    """`resource` as it is before the event; `instance` is the controller that tells of it."""
    about = {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "name": resource.name,
        "namespace": namespace,
        "uid": resource.uid,
        "resourceVersion": resource.version,
    }
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": event_name(resource, event), "namespace": namespace},
        "involvedObject": about,
        "type": event.type,
        "reason": event.reason[:LONGEST_REASON],
        "message": event.message[:LONGEST_MESSAGE],
        "count": 1,
        "firstTimestamp": time_text(now),
        "lastTimestamp": time_text(now),
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": instance[:LONGEST_INSTANCE],
    }


def event_name(resource: Resource, event: Event) -> str:
    """The same for whoever tells of the same step away from the same status, and for no other.

    By the status and not the resource's version, which changes when somebody labels it in between. The place comes
    first because times are whole seconds, and within one kubectl shows events by name.
    """
    told = json.dumps([resource.uid, resource.status, event.reason, event.which], sort_keys=True)
    end = f".{event.place}{hashlib.sha256(told.encode()).hexdigest()[:DIGITS]}"
    return resource.name[: LONGEST_NAME - len(end)].rstrip("-.") + end
