"""The kubelet: what differs from one in production, and why."""

import json
from typing import Any

from tests.cluster.binaries import binary
from tests.e2e.node.containerd import STATE
from tests.e2e.node.mounts import INSIDE
from tests.e2e.node.network import ADDRESS, DNS_SERVICE

NODE = "node"


def command(cgroup: str, authority: str, kubeconfig: str) -> list[str]:
    config, resolver = INSIDE / "kubelet.json", INSIDE / "resolv.conf"
    config.write_text(json.dumps(_config(cgroup, authority, str(resolver))))
    resolver.write_text(f"nameserver {ADDRESS}\n")
    return [
        str(binary("kubelet")),
        f"--config={config}",
        f"--kubeconfig={kubeconfig}",
        f"--root-dir={INSIDE / 'kubelet'}",
        f"--hostname-override={NODE}",
        f"--node-ip={ADDRESS}",
    ]


def _config(cgroup: str, authority: str, resolver: str) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": f"unix://{STATE}/containerd.sock",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": authority},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cgroup}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "oomScoreAdj": 0,  # a lower one than ours takes CAP_SYS_RESOURCE
        "clusterDNS": [DNS_SERVICE],
        "clusterDomain": "cluster.local",
        "resolvConf": resolver,
        "podLogsDir": str(INSIDE / "pod-logs"),
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,  # no image can be pulled again
    }
