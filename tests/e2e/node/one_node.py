"""A whole cluster of one real node, in the box: control plane, containerd, kubelet, kube-proxy, CoreDNS."""

import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tests.cluster.control_plane import MASTERS, ControlPlane, control_plane
from tests.cluster.process_group import ProcessGroup
from tests.e2e.node import containerd, kubelet, services
from tests.e2e.node.mounts import INSIDE
from tests.e2e.node.network import ADDRESS
from tests.local_runs import wait_until

CONTROL_PLANE = INSIDE / "control-plane"
LOGS = INSIDE / "logs"
READY_SECONDS = 55


@contextmanager
def one_node(cgroup: str, sandbox_image: str) -> Iterator[Path]:
    """The kubeconfig of one who may do everything, once the node takes pods."""
    programs = ProcessGroup(INSIDE / "programs", LOGS)
    with closing(programs), control_plane(CONTROL_PLANE, ADDRESS) as kubernetes:
        try:
            _start(programs, kubernetes, cgroup, sandbox_image)
        except Exception as failure:
            failure.add_note(programs.last_lines())
            raise
        yield kubernetes.admin


def _start(programs: ProcessGroup, kubernetes: ControlPlane, cgroup: str, sandbox_image: str) -> None:
    runtime = programs.start(containerd.command(sandbox_image))
    node = kubernetes.kubeconfig_of_user(f"system:node:{kubelet.NODE}", "system:nodes")
    proxy = kubernetes.kubeconfig_of_user("system:kube-proxy")
    dns = kubernetes.kubeconfig_of_user("coredns", MASTERS)
    wait_until(lambda: runtime.poll() is not None or _answers(), "containerd to answer")
    programs.start(kubelet.command(cgroup, str(kubernetes.authority.certificate), str(node)))
    programs.start(services.kube_proxy(str(proxy)))
    programs.start(services.coredns(str(dns)))
    for manifest in services.dns_objects():
        kubernetes.create(manifest, services.DNS_NAMESPACE)
    wait_until(lambda: kubernetes.get("nodes")["items"], "the kubelet to register its node")
    kubernetes.kubectl("wait", f"node/{kubelet.NODE}", "--for=condition=Ready", f"--timeout={READY_SECONDS}s")


def _answers() -> bool:
    return subprocess.run(["ctr", "version"], capture_output=True).returncode == 0
