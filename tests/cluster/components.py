"""The control plane's programs and their flags: what differs from a cluster in production, and why."""

from dataclasses import dataclass
from pathlib import Path

from tests.cluster.binaries import binary

FAKE_NODE = "test.trainyard.dev/node=fake"  # the label of the nodes that kwok speaks for
TOLERATED_SECONDS = 1  # of a lost node, by pods that do not say how long themselves; the default is five minutes


@dataclass(frozen=True)
class Place:
    """Where one control plane runs: its ports on 127.0.0.1, and its folder of certificates and data."""

    folder: Path
    api_port: int
    etcd_port: int
    etcd_peer_port: int

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.api_port}"

    def issued(self, name: str) -> str:
        return str(self.folder / "pki" / name)

    def kubeconfig(self, name: str) -> str:
        return str(self.folder / f"{name}.kubeconfig")


def etcd(place: Place) -> list[str]:
    clients, peers = f"http://127.0.0.1:{place.etcd_port}", f"http://127.0.0.1:{place.etcd_peer_port}"
    return [
        str(binary("etcd")),
        f"--data-dir={place.folder / 'etcd'}",
        f"--listen-client-urls={clients}",
        f"--advertise-client-urls={clients}",
        f"--listen-peer-urls={peers}",
        f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster=default={peers}",
        "--unsafe-no-fsync",  # outlives a killed API server, not a power cut
    ]


def api_server(place: Place) -> list[str]:
    return [
        str(binary("kube-apiserver")),
        f"--etcd-servers=http://127.0.0.1:{place.etcd_port}",
        "--bind-address=127.0.0.1",
        f"--secure-port={place.api_port}",
        "--endpoint-reconciler-type=none",  # a loopback address may not stand in the Endpoints of `kubernetes`
        f"--client-ca-file={place.issued('ca.crt')}",
        f"--tls-cert-file={place.issued('api-server.crt')}",
        f"--tls-private-key-file={place.issued('api-server.key')}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={place.issued('service-accounts.pub')}",
        f"--service-account-signing-key-file={place.issued('service-accounts.key')}",
        f"--default-not-ready-toleration-seconds={TOLERATED_SECONDS}",
        f"--default-unreachable-toleration-seconds={TOLERATED_SECONDS}",
    ]


def controller_manager(place: Place) -> list[str]:
    return [
        str(binary("kube-controller-manager")),
        f"--kubeconfig={place.kubeconfig('controller-manager')}",
        "--use-service-account-credentials",
        f"--root-ca-file={place.issued('ca.crt')}",
        f"--service-account-private-key-file={place.issued('service-accounts.key')}",
        "--leader-elect=false",
        "--secure-port=0",
        "--kube-api-qps=200",  # the default 20 requests/s slows large Jobs
        "--kube-api-burst=400",
        "--node-monitor-period=1s",  # how often lost nodes are looked for
        "--node-monitor-grace-period=24h",  # nobody posts a fake node's status: it is lost when a test says so
        "--node-eviction-rate=10",
    ]


def scheduler(place: Place) -> list[str]:
    return [
        str(binary("kube-scheduler")),
        f"--kubeconfig={place.kubeconfig('scheduler')}",
        "--leader-elect=false",
        "--secure-port=0",
    ]


def kwok(place: Place) -> list[str]:
    """Plays the kubelets of the fake nodes, by the stages of stages.yaml alone.

    It chooses its nodes by a label, which the API server filters by: a node that loses it is lost at once.
    """
    return [
        str(binary("kwok")),
        f"--kubeconfig={place.kubeconfig('kwok')}",
        f"--config={Path(__file__).parent / 'stages.yaml'}",
        "--manage-all-nodes=false",
        f"--manage-nodes-with-label-selector={FAKE_NODE}",
        "--node-port=0",  # serves no logs, no exec
    ]
