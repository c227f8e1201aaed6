"""The box's network: one bridge, to which pods are attached. Nothing leads out of it."""

import subprocess
from pathlib import Path

BRIDGE = "pods"
ADDRESS = "10.88.0.1"  # of the node, of its servers and of the tests'; a kubelet refuses a loopback address
PODS = "10.88.0.0/24"
DNS_SERVICE = "10.96.0.10"  # in the control plane's range of services


def set_up() -> None:
    for command in (
        "link set lo up",
        f"link add {BRIDGE} type bridge",
        f"address add {ADDRESS}/24 dev {BRIDGE}",
        f"link set {BRIDGE} up",
        f"route add default dev {BRIDGE}",  # services' addresses need a way out before they are translated
    ):
        subprocess.run(["ip", *command.split()], check=True)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
