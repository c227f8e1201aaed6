"""Values that are tried: the examples, what is least, and that with one thing switched."""

from typing import Any

import yaml

from tests.charts.rendering import CHART, Values, merged

EXAMPLES: dict[str, Values] = {
    path.stem: yaml.safe_load(path.read_text()) for path in sorted((CHART / "examples").glob("*.yaml"))
}

LEAST: Values = {
    "database": {"existingSecret": "postgres"},
    "qdrant": {"existingSecret": "qdrant"},
    "tokens": {"existingSecret": "tokens"},
    "photos": {"existingClaim": "library"},
    "models": {"existingClaim": "weights"},
}
EVALUATION: Values = {"evaluation": {"enabled": True}}

DIGEST = f"sha256:{'0123456789abcdef' * 4}"
AFFINITY: dict[str, Any] = {
    "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": [{"key": "pool", "operator": "In", "values": ["cpu"]}]}]
        }
    }
}
PLACED: dict[str, Any] = {
    "nodeSelector": {"pool": "cpu"},
    "tolerations": [{"key": "pool", "operator": "Equal", "value": "cpu", "effect": "NoSchedule"}],
    "affinity": AFFINITY,
    "priorityClassName": "system-cluster-critical",
}
PEERS = [{"podSelector": {"matchLabels": {"app": "proxy"}}}, {"ipBlock": {"cidr": "10.0.0.0/8"}}]

SWITCHES: dict[str, Values] = {
    "images-by-digest": {"images": {name: {"digest": DIGEST} for name in ("api", "controller", "jobs")}},
    "images-by-tag": {
        "images": {"jobs": {"tag": "2.0"}, "pullPolicy": "Always", "pullSecrets": ["registry", "mirror"]}
    },
    "database-ca": {"database": {"ca": {"existingSecret": "postgres-ca", "key": "root.pem"}}},
    "qdrant-key": {"qdrant": {"apiKey": {"existingSecret": "qdrant"}}},
    "names-that-look-like-numbers": {
        "database": {"existingSecret": "123", "key": "1e3"},
        "photos": {"existingClaim": "12", "mountPath": "/photos # 1"},
        "tokens": {"existingSecret": "0x1", "key": "true"},
    },
    "download": {"models": {"download": {"enabled": True, "acceptNonCommercial": True, "env": {"HTTPS_PROXY": "p"}}}},
    "untrained": {"models": {"untrained": True, "faceEngine": "dlib"}},
    "groups": {
        "security": {
            "runAsUser": 1000680000,
            "runAsGroup": 0,
            "fsGroup": 1000680000,
            "supplementalGroups": [0, 5000000],
        }
    },
    "one-of-each": {"api": {"replicas": 1}, "controller": {"replicas": 1}},
    "placed": {"api": PLACED, "controller": PLACED, "jobs": {"defaults": PLACED}},
    "more-settings": {
        "api": {"env": {"TRAINYARD_EXCLUDE": '["*.tmp"]', "HOME": "/tmp/home"}},
        "controller": {"env": {"TRAINYARD_PROGRESS_WEIGHTS": "10/80/10"}},
        "jobs": {"defaults": {"env": {"TRAINYARD_DEVICE": "cpu"}}},
    },
    "behind-a-proxy": {
        "api": {
            "forwardedAllowIps": "10.0.0.0/8",
            "service": {"type": "LoadBalancer", "port": 8080, "annotations": {"example.org/internal": "true"}},
            "ingress": {"enabled": True, "host": "photos.example", "className": "nginx", "tlsSecret": "photos"},
        }
    },
    "ingress-without-tls": {"api": {"ingress": {"enabled": True, "host": "photos.example"}}},
    "no-policies": {"networkPolicy": {"enabled": False}},
    "narrow-policies": {
        "networkPolicy": {
            "egress": {name: {"to": PEERS} for name in ("postgresql", "qdrant", "dns", "kubernetesApi", "downloads")},
            "ingress": {"api": {"from": PEERS}, "metrics": {"from": PEERS}},
        }
    },
    "monitored": {"serviceMonitor": {"enabled": True, "token": {"existingSecret": "reader"}}},
    "test-folder": {"test": {"folder": "/photos/a: b"}},
    "labelled-jobs": {"jobs": {"labels": {"team": "archive"}, "annotations": {"example.org/cost-centre": "12"}}},
}
EVALUATIONS: dict[str, Values] = {
    "evaluation-alone": EVALUATION,
    "evaluation-untrained": merged(EVALUATION, SWITCHES["untrained"]),
    "evaluation-monitored": merged(EVALUATION, {"serviceMonitor": {"enabled": True}}),
    "evaluation-without-policies": merged(EVALUATION, SWITCHES["no-policies"]),
    "evaluation-shared": merged(
        EVALUATION,
        {"evaluation": {"storageClassName": "nfs", "accessMode": "ReadWriteMany"}},
        SWITCHES["images-by-tag"],
    ),
    "evaluation-of-yours": merged(EVALUATION, LEAST),
}

CASES: dict[str, Values] = {
    **EXAMPLES,
    "least": LEAST,
    **{name: merged(LEAST, values) for name, values in SWITCHES.items()},
    **EVALUATIONS,
}
