"""The control plane's programs and their flags: what differs from a cluster in production, and why."""

from dataclasses import dataclass
from pathlib import Path

from tests.cluster.binaries import binary

FAKE_NODE = "test.trainyard.dev/node=fake"  # the label of the nodes that kwok speaks for
LOOPBACK = "127.0.0.1"
SERVICE_ADDRESSES = "10.96.0.0/16"
FIRST_SERVICE = "10.96.0.1"  # of these: the API server, as pods reach it
TOLERATED_SECONDS = 1  # of a lost node, by pods that do not say how long themselves; the default is five minutes


@dataclass(frozen=True)
class Place:
    """Where one control plane runs: its folder of certificates and data, its ports, and the API server's address.

    Nodes that are real need an address that is not loopback.
    """

    folder: Path
    api_port: int
    etcd_port: int
    etcd_peer_port: int
    address: str = LOOPBACK

    @property
    def has_real_nodes(self) -> bool:
        return self.address != LOOPBACK

    @property
    def url(self) -> str:
        return f"https://{self.address}:{self.api_port}"

    def issued(self, name: str) -> str:
        return str(self.folder / "pki" / name)

    def kubeconfig(self, name: str) -> str:
        return str(self.folder / f"{name}.kubeconfig")


def etcd(place: Place) -> list[str]:
    clients, peers = f"http://{LOOPBACK}:{place.etcd_port}", f"http://{LOOPBACK}:{place.etcd_peer_port}"
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
        f"--etcd-servers=http://{LOOPBACK}:{place.etcd_port}",
        f"--bind-address={place.address}",
        f"--secure-port={place.api_port}",
        f"--client-ca-file={place.issued('ca.crt')}",
        f"--tls-cert-file={place.issued('api-server.crt')}",
        f"--tls-private-key-file={place.issued('api-server.key')}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        f"--service-cluster-ip-range={SERVICE_ADDRESSES}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={place.issued('service-accounts.pub')}",
        f"--service-account-signing-key-file={place.issued('service-accounts.key')}",
        f"--default-not-ready-toleration-seconds={TOLERATED_SECONDS}",
        f"--default-unreachable-toleration-seconds={TOLERATED_SECONDS}",
        *(_reaching_kubelets(place) if place.has_real_nodes else _alone()),
    ]


def _alone() -> list[str]:
    return ["--endpoint-reconciler-type=none"]  # a loopback address may not stand in the Endpoints of `kubernetes`


def _reaching_kubelets(place: Place) -> list[str]:
    return [
        f"--advertise-address={place.address}",
        f"--kubelet-client-certificate={place.issued('kubelet-client.crt')}",
        f"--kubelet-client-key={place.issued('kubelet-client.key')}",
        "--kubelet-preferred-address-types=InternalIP",  # else logs and exec look up the node's name
        "--allow-privileged=true",
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
