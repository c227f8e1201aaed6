"""The container runtime in the box: containerd with the network plugins of its packages, on the copied images."""

import json
from pathlib import Path

from tests.e2e.node import toml
from tests.e2e.node.mounts import INSIDE
from tests.e2e.node.network import BRIDGE, PODS

ROOT = "containerd"  # in the run's folder: where the images were copied to
STATE = "/run/containerd"  # where ctr finds its socket without being told
PLUGINS = Path("/usr/lib/cni")
CRI = "io.containerd.grpc.v1.cri"


def command(sandbox_image: str) -> list[str]:
    (INSIDE / "cni").mkdir()
    (INSIDE / "cni" / "pods.conflist").write_text(json.dumps(_pod_network()))
    config = toml.write(INSIDE / "containerd.toml", _config(sandbox_image))
    return ["containerd", f"--config={config}"]


def _config(sandbox_image: str) -> toml.Table:
    runc = {"runtime_type": "io.containerd.runc.v2"}
    cri = {
        "sandbox_image": sandbox_image,
        "disable_apparmor": True,  # it would load its profile into the machine's kernel, where it stays
        "restrict_oom_score_adj": True,  # without CAP_SYS_RESOURCE no sandbox could have a lower one than ours
        "cni": {"bin_dir": str(PLUGINS), "conf_dir": str(INSIDE / "cni")},
        "containerd": {"runtimes": {"runc": runc}},
    }
    return {
        "version": 2,
        "root": str(INSIDE / ROOT),
        "state": STATE,
        "grpc": {"address": f"{STATE}/containerd.sock"},
        "plugins": {CRI: cri, "io.containerd.internal.v1.opt": {"path": f"{STATE}/opt"}},
    }


def _pod_network() -> dict[str, object]:
    addresses = {"type": "host-local", "ranges": [[{"subnet": PODS}]], "routes": [{"dst": "0.0.0.0/0"}]}
    bridge = {"type": "bridge", "bridge": BRIDGE, "isGateway": True, "hairpinMode": True, "ipam": addresses}
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge, ports]}
