"""Who may do what, and who may reach whom."""

from typing import Any

import yaml

from tests.charts.cases import EVALUATION, LEAST, PEERS, SWITCHES
from tests.charts.rendering import CHART, RELEASE, Manifest, Rendering, Values, merged, render

DNS = {("UDP", 53), ("TCP", 53)}
POSTGRESQL, QDRANT = {("TCP", 5432)}, {("TCP", 6333)}


def policy(component: str, values: Values | None = None) -> Manifest:
    found = render(merged(LEAST, values or {})).one("NetworkPolicy", f"{RELEASE}-{component}")
    return dict(found["spec"])


def ports(rules: list[dict[str, Any]]) -> set[tuple[str, int | str]]:
    return {(port["protocol"], port["port"]) for rule in rules for port in rule["ports"]}


def test_the_role_is_what_the_controller_was_tried_with(rendering: Rendering) -> None:
    (role,) = rendering.of_kind("Role").values()
    assert role["rules"] == yaml.safe_load((CHART / "files/controller-rules.yaml").read_text())


def test_the_role_is_the_controllers_alone(rendering: Rendering) -> None:
    (binding,) = rendering.of_kind("RoleBinding").values()
    assert binding["roleRef"]["name"] in rendering.of_kind("Role")
    (subject,) = binding["subjects"]
    account = rendering.pod("controller").spec["serviceAccountName"]
    assert subject == {"kind": "ServiceAccount", "name": account, "namespace": "photos"}
    others = {pod.spec.get("serviceAccountName") for pod in rendering.pods() if pod.component != "controller"}
    assert account not in others


def test_nothing_reaches_beyond_the_namespace(rendering: Rendering) -> None:
    assert not {"ClusterRole", "ClusterRoleBinding", "Namespace"} & {m["kind"] for m in rendering.manifests}


def test_every_pod_has_a_policy_unless_they_are_switched_off(rendering: Rendering) -> None:
    policies = rendering.of_kind("NetworkPolicy").values()
    if policies:
        for pod in rendering.pods():
            selecting = [p for p in policies if p["spec"]["podSelector"]["matchLabels"].items() <= pod.labels.items()]
            assert len(selecting) == 1, pod.owner
            assert selecting[0]["spec"]["policyTypes"] == ["Ingress", "Egress"], pod.owner


def test_workers_reach_the_stores_and_are_reached_by_nobody() -> None:
    worker = policy("worker")
    assert ports(worker["egress"]) == POSTGRESQL | QDRANT | DNS
    assert "ingress" not in worker


def test_the_api_is_reached_at_its_port_and_reaches_the_stores() -> None:
    api = policy("api")
    assert api["ingress"] == [{"ports": [{"protocol": "TCP", "port": "http"}]}]
    assert ports(api["egress"]) == POSTGRESQL | QDRANT | DNS


def test_the_controller_reaches_the_cluster_but_no_vectors() -> None:
    controller = policy("controller")
    assert controller["ingress"] == [{"ports": [{"protocol": "TCP", "port": "metrics"}]}]
    assert ports(controller["egress"]) == POSTGRESQL | {("TCP", 443), ("TCP", 6443)} | DNS


def test_peers_narrow_every_rule() -> None:
    for component in ("api", "controller", "worker"):
        for rule in policy(component, SWITCHES["narrow-policies"])["egress"]:
            assert rule["to"] == PEERS


def test_the_test_is_let_in_whoever_else_is() -> None:
    narrow = render(merged(LEAST, SWITCHES["narrow-policies"]))
    (rule,) = narrow.one("NetworkPolicy", f"{RELEASE}-api")["spec"]["ingress"]
    (selector,) = (peer["podSelector"]["matchLabels"] for peer in rule["from"] if peer not in PEERS)
    assert selector.items() <= narrow.pod("test").labels.items()


def test_other_ports_are_allowed_when_named() -> None:
    other = {"networkPolicy": {"egress": {"postgresql": {"ports": [6432, 5433]}, "dns": {"ports": [53, 5353]}}}}
    found = ports(policy("worker", other)["egress"])
    assert found == {("TCP", 6432), ("TCP", 5433), *DNS, ("UDP", 5353), ("TCP", 5353), *QDRANT}


def test_models_are_fetched_from_the_web_only() -> None:
    assert ports(policy("models")["egress"]) == {("TCP", 443)} | DNS


def test_evaluations_stores_are_reached_by_those_that_use_them() -> None:
    rendering = render(EVALUATION)
    callers = {"postgresql": ["api", "controller", "worker"], "qdrant": ["api", "worker"]}
    for store, components in callers.items():
        (rule,) = rendering.one("NetworkPolicy", f"{RELEASE}-{store}")["spec"]["ingress"]
        (peer,) = rule["from"]
        (expression,) = peer["podSelector"]["matchExpressions"]
        assert expression == {"key": "app.kubernetes.io/component", "operator": "In", "values": components}
        assert peer["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "trainyard"}


def test_metrics_of_the_api_are_read_with_a_token() -> None:
    monitors = render(merged(LEAST, SWITCHES["monitored"])).of_kind("ServiceMonitor")
    (api,) = monitors[f"{RELEASE}-api"]["spec"]["endpoints"]
    (controller,) = monitors[f"{RELEASE}-controller"]["spec"]["endpoints"]
    assert api["authorization"] == {"type": "Bearer", "credentials": {"name": "reader", "key": "token"}}
    assert "authorization" not in controller
    assert {api["path"], controller["path"]} == {"/metrics"}
