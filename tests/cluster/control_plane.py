"""A Kubernetes control plane for tests: the real servers on loopback ports, RBAC on, gone when its process is."""

import random
import signal
import socket
import ssl
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from tests.cluster import components
from tests.cluster.certificates import SERVER_NAMES, Authority
from tests.cluster.components import FIRST_SERVICE, LOOPBACK, Place
from tests.cluster.kubeconfigs import with_certificate, with_token
from tests.cluster.kubectl import CALL_SECONDS, Kubectl
from tests.cluster.kubectl import KubectlFailed as KubectlFailed
from tests.cluster.process_group import ProcessGroup
from tests.local_runs import wait_until

PORTS = range(20000, 30000)  # below what systems give to outgoing connections: a stopped server finds its port free
COMPONENTS = {"controller-manager": "system:kube-controller-manager", "scheduler": "system:kube-scheduler"}
MASTERS = "system:masters"  # may do everything


class ControlPlaneFailed(Exception):
    """A server of the control plane ended by itself; a note has its last words."""


class ControlPlane(Kubectl):
    """etcd, API server, controller manager, scheduler; kubeconfig `admin` may do all.

    On loopback kwok plays the nodes; at another address of this machine real ones are awaited.
    """

    def __init__(self, folder: Path, address: str = LOOPBACK) -> None:
        self._processes = ProcessGroup(folder / "state", folder / "logs")
        self.place = Place(folder / "state", *_free_ports(3), address=address)
        self.authority = Authority(self.place.folder / "pki")
        self.admin = self._kubeconfig("admin", "admin", MASTERS)
        super().__init__(self.admin, self.place.folder / "kubectl")

    def start(self) -> None:
        """Every server, the API server answering. Raises ControlPlaneFailed."""
        self.authority.server("api-server", f"{SERVER_NAMES},IP:{self.place.address},IP:{FIRST_SERVICE}")
        self.authority.client("kubelet-client", "kube-apiserver", MASTERS)
        self.authority.key_pair("service-accounts")
        for name, user in COMPONENTS.items():
            self._kubeconfig(name, user)
        self._kubeconfig("kwok", "kwok", MASTERS)
        self._etcd = self._processes.start(components.etcd(self.place))
        self.start_api_server()
        self._start_controllers()

    def start_api_server(self) -> None:
        """Until it answers."""
        self._api_server = self._processes.start(components.api_server(self.place))
        wait_until(self._answers, "the API server to answer")

    def _start_controllers(self) -> None:
        self._controller_manager = self._processes.start(components.controller_manager(self.place))
        commands = (components.scheduler,) if self.place.has_real_nodes else (components.scheduler, components.kwok)
        others = [self._processes.start(command(self.place)) for command in commands]
        self._controllers = [self._controller_manager, *others]

    def stop_api_server(self) -> None:
        """As in an outage: at once, with every connection to it. What it knew is in etcd."""
        self._api_server.kill()
        self._api_server.wait()

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Without an API server, which comes back whatever happens meanwhile.

        Kubernetes' own controllers are begun anew: left to themselves they ask for it less and less often.
        """
        self.stop_api_server()
        try:
            yield
        finally:
            self.start_api_server()
            for process in self._controllers:
                process.kill()
                process.wait()
            self._start_controllers()

    @contextmanager
    def without_controllers(self) -> Iterator[None]:
        """Nobody makes a Job's pods, nor counts them, nor collects what nobody owns any more."""
        self._controller_manager.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._controller_manager.send_signal(signal.SIGCONT)

    def close(self) -> None:
        self._processes.close()

    def last_lines(self) -> str:
        """What each server logged last."""
        return self._processes.last_lines()

    def kubeconfig_of_user(self, user: str, group: str = "") -> Path:
        """A kubeconfig by which Kubernetes knows a user, without any right but its group's and those bound to it."""
        return self._kubeconfig(f"user-{user}", user, group)

    def kubeconfig_of_service_account(self, namespace: str, name: str) -> Path:
        """A kubeconfig with a fresh token of the account, as a pod of its has."""
        token = self.kubectl("create", "token", name, f"--namespace={namespace}").strip()
        path = Path(self.place.kubeconfig(f"{namespace}-{name}"))
        with_token(path, self.place.url, self.authority.certificate, token, namespace)
        return path

    def _kubeconfig(self, name: str, user: str, group: str = "") -> Path:
        self.authority.client(name, user, group)
        path = Path(self.place.kubeconfig(name))
        with_certificate(path, self.place.url, self.authority, name)
        return path

    def _answers(self) -> bool:
        for name, process in (("etcd", self._etcd), ("kube-apiserver", self._api_server)):
            if process.poll() is not None:
                raise ControlPlaneFailed(
                    f"ControlPlaneFailed: {name} for {self.place.url} ended with exit code {process.returncode} before "
                    "it answered. Its log says why: a flag in components.py, or a port that another program took "
                    "meanwhile; then run it again."
                )
        context = ssl.create_default_context(cafile=self.authority.certificate)
        context.load_cert_chain(self.place.issued("admin.crt"), self.place.issued("admin.key"))
        no_proxy = urllib.request.ProxyHandler({})  # whatever the environment says
        opener = urllib.request.build_opener(no_proxy, urllib.request.HTTPSHandler(context=context))
        try:
            with opener.open(f"{self.place.url}/readyz", timeout=CALL_SECONDS):
                return True
        except OSError:
            return False


@contextmanager
def control_plane(folder: Path, address: str = LOOPBACK) -> Iterator[ControlPlane]:
    """A started control plane in a folder that does not exist yet; its logs stay there."""
    started = ControlPlane(folder, address)
    try:
        try:
            started.start()
        except Exception as failure:
            failure.add_note(started.last_lines())
            raise
        yield started
    finally:
        started.close()


def _free_ports(count: int) -> list[int]:
    return list(islice(filter(_is_free, random.sample(PORTS, len(PORTS))), count))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
