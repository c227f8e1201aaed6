"""What makes Services work on the node: kube-proxy for their addresses, CoreDNS for their names."""

import json
from typing import Any

from tests.cluster.binaries import binary
from tests.e2e.node.kubelet import NODE
from tests.e2e.node.mounts import INSIDE
from tests.e2e.node.network import ADDRESS, DNS_SERVICE

DNS = "kube-dns"
DNS_NAMESPACE = "kube-system"
DNS_PORTS = ("UDP", "TCP")
COREFILE = """
.:53 {{
    bind {address}
    errors
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {kubeconfig}
    }}
}}
"""


def kube_proxy(kubeconfig: str) -> list[str]:
    config = INSIDE / "kube-proxy.json"
    config.write_text(json.dumps(_proxy_config(kubeconfig)))
    return [str(binary("kube-proxy")), f"--config={config}"]


def _proxy_config(kubeconfig: str) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": kubeconfig},
        "hostnameOverride": NODE,
        "oomScoreAdj": 0,
        "conntrack": {"maxPerCore": 0, "min": 0},  # the whole machine's: left as they are
        "nftables": {"masqueradeAll": True},  # answers between pods of one bridge would pass by the translation
    }


def coredns(kubeconfig: str) -> list[str]:
    config = INSIDE / "Corefile"
    config.write_text(COREFILE.format(address=ADDRESS, kubeconfig=kubeconfig))
    return [str(binary("coredns")), f"-conf={config}"]


def dns_objects() -> list[dict[str, Any]]:
    """A Service without a selector, and where it leads: CoreDNS is no pod here."""
    named = {"name": DNS, "namespace": DNS_NAMESPACE}
    ports = [{"name": protocol.lower(), "protocol": protocol, "port": 53} for protocol in DNS_PORTS]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": named,
        "spec": {"clusterIP": DNS_SERVICE, "ports": ports},
    }
    slice_of_it = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": named | {"labels": {"kubernetes.io/service-name": DNS}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [ADDRESS], "conditions": {"ready": True}}],
        "ports": ports,
    }
    return [service, slice_of_it]
