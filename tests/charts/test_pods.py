"""How the chart's pods run, whatever the values: restricted, with commands and settings that there are."""

from pathlib import Path

import click
import pytest
import typer

from cli.main import app
from tests.charts.cases import DIGEST, LEAST, SWITCHES
from tests.charts.rendering import CHART, Pod, Rendering, environment, merged, render
from trainyard.settings import load_settings

UNPRIVILEGED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True}
RESTRICTED_VOLUMES = {"configMap", "emptyDir", "persistentVolumeClaim", "secret"}
STORES = {"postgresql", "qdrant"}


def test_every_pod_is_restricted(rendering: Rendering) -> None:
    for pod in rendering.pods():
        security = pod.spec["securityContext"]
        assert security["runAsNonRoot"] is True, pod.owner
        assert security["runAsUser"] > 0, pod.owner
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, pod.owner
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod.spec), pod.owner
        kinds = {kind for volume in pod.spec["volumes"] for kind in set(volume) - {"name"}}
        assert kinds <= RESTRICTED_VOLUMES, pod.owner


def test_every_container_is_restricted(rendering: Rendering) -> None:
    for pod in rendering.pods():
        for container in pod.containers:
            assert container["securityContext"] == UNPRIVILEGED, f"{pod.owner} {container['name']}"


def test_every_container_says_what_it_takes(rendering: Rendering) -> None:
    for pod in rendering.pods():
        for container in pod.containers:
            assert set(container["resources"]) == {"requests", "limits"}, f"{pod.owner} {container['name']}"


def test_only_the_controller_gets_a_token_of_the_cluster(rendering: Rendering) -> None:
    mounting = {pod.component for pod in rendering.pods() if pod.spec["automountServiceAccountToken"]}
    assert mounting == {"controller"}
    accounts = rendering.of_kind("ServiceAccount")
    assert {name for name, account in accounts.items() if account["automountServiceAccountToken"]} == {
        "trainyard-controller"
    }


def test_every_account_that_a_pod_names_is_there(rendering: Rendering, tmp_path: Path) -> None:
    named = {pod.spec["serviceAccountName"] for pod in rendering.pods() if pod.component not in STORES}
    of_workers = rendering.settings(tmp_path).service_account_name
    assert named | {of_workers} == set(rendering.of_kind("ServiceAccount"))


def test_mounts_are_of_volumes_that_the_pod_has(rendering: Rendering) -> None:
    for pod in rendering.pods():
        volumes = {volume["name"] for volume in pod.spec["volumes"]} | _claimed(rendering, pod)
        mounted = {mount["name"] for container in pod.containers for mount in container["volumeMounts"]}
        assert mounted == volumes, pod.owner


def _claimed(rendering: Rendering, pod: Pod) -> set[str]:
    kind, _, name = pod.owner.partition("/")
    templates = rendering.one(kind, name).get("spec", {}).get("volumeClaimTemplates", [])
    return {claim["metadata"]["name"] for claim in templates}


def test_photos_and_models_are_mounted_read_only_but_where_they_are_filled(rendering: Rendering) -> None:
    writers = {"photos": "samples", "models": "models"}
    for pod in rendering.pods():
        mounts = [mount for container in pod.containers for mount in container["volumeMounts"]]
        for mount in mounts:
            if mount["name"] in writers:
                fills = pod.component == writers[mount["name"]]
                assert mount.get("readOnly", False) is not fills, pod.owner
        for volume in pod.spec["volumes"]:
            if "persistentVolumeClaim" in volume:
                fills = pod.component == writers[volume["name"]]
                assert volume["persistentVolumeClaim"].get("readOnly", False) is not fills, pod.owner


def test_every_command_is_one_that_trainyard_has(rendering: Rendering) -> None:
    for pod in rendering.pods():
        for container in pod.containers:
            program, *arguments = container.get("command", [""])
            if program == "trainyard":
                _parse(arguments)


def _parse(arguments: list[str]) -> None:
    """As the command line does, up to doing it. Raises click.UsageError."""
    command: click.Command = typer.main.get_command(app)
    parent: click.Context | None = None
    while isinstance(command, click.Group):
        name, *arguments = arguments
        found = command.get_command(click.Context(command, parent), name)
        assert found, f"there is no command {name}"
        parent, command = click.Context(command, parent), found
    command.make_context(command.name, arguments, parent)


def test_every_variable_is_a_setting_with_a_value_it_takes(
    rendering: Rendering, monkeypatch: pytest.MonkeyPatch
) -> None:
    for pod in rendering.pods():
        for container in pod.containers:
            given = {k: v for k, v in environment(container).items() if k.startswith("TRAINYARD_")}
            with monkeypatch.context() as patched:
                for name, value in given.items():
                    patched.setenv(name, value)
                known = {f"TRAINYARD_{field.upper()}" for field in load_settings().model_dump()}
            assert set(given) <= known, pod.owner


def test_what_is_named_by_a_path_is_mounted_there(rendering: Rendering) -> None:
    for pod in rendering.pods():
        for container in pod.containers:
            mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
            given = environment(container)
            paths = [value for name, value in given.items() if value.startswith("/") and name != "HOME"]
            assert all(any(Path(path).is_relative_to(mount) for mount in mounts) for path in paths), pod.owner


def test_the_schema_is_brought_up_to_date_before_api_and_controller_start(rendering: Rendering) -> None:
    for component in ("api", "controller"):
        (migrate,) = rendering.pod(component).spec["initContainers"]
        (container,) = rendering.pod(component).spec["containers"]
        assert migrate["command"] == ["trainyard", "migrate", "--wait"]
        assert migrate["image"] == container["image"]
        assert _database(migrate) == _database(container)


def _database(container: dict) -> list[dict]:
    return [v for v in container["env"] if v["name"].startswith("PG") or v["name"] == "TRAINYARD_DATABASE_URL"]


def test_api_and_controller_make_sessions_for_the_same_networks() -> None:
    untrained = render(merged(LEAST, SWITCHES["untrained"]))
    for component in ("api", "controller"):
        (container,) = untrained.pod(component).spec["containers"]
        given = environment(container)
        assert (given["TRAINYARD_UNTRAINED"], given["TRAINYARD_FACE_ENGINE"]) == ("true", "dlib")


def test_probes_ask_what_is_served_at_the_port(rendering: Rendering) -> None:
    for component, port in (("api", "8080"), ("controller", "8081")):
        (container,) = rendering.pod(component).spec["containers"]
        (named,) = container["ports"]
        assert (str(named["containerPort"]), container["command"][-1]) == (port, port)
        asked = {kind: container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
        assert {probe["port"] for probe in asked.values()} == {named["name"]}
        assert [asked[kind]["path"] for kind in asked] == ["/livez", "/livez", "/readyz"]


def test_a_setting_given_wins_over_the_charts() -> None:
    (container,) = render(merged(LEAST, SWITCHES["more-settings"])).pod("api").spec["containers"]
    assert environment(container)["HOME"] == "/tmp/home"
    names = [variable["name"] for variable in container["env"]]
    assert len(names) == len(set(names))


def test_images_are_named_by_digest_then_tag_then_the_charts_version(tmp_path: Path) -> None:
    def images(values: dict) -> set[str]:
        rendering = render(merged(LEAST, values, {"models": {"download": {"enabled": True}}}))
        used = {container["image"] for pod in rendering.pods() for container in pod.containers}
        return used | {rendering.settings(tmp_path).image}

    names = ("trainyard-api", "trainyard-controller", "trainyard-jobs")
    assert images({}) == {f"{name}:{_app_version()}" for name in names}
    assert images({"images": {name.split("-")[1]: {"tag": "2"} for name in names}}) == {f"{name}:2" for name in names}
    both = {"images": {name.split("-")[1]: {"tag": "2", "digest": DIGEST} for name in names}}
    assert images(both) == {f"{name}@{DIGEST}" for name in names}


def _app_version() -> str:
    (line,) = [line for line in (CHART / "Chart.yaml").read_text().splitlines() if line.startswith("appVersion")]
    return line.split()[1]


def test_pull_secrets_are_named_by_every_pod(tmp_path: Path) -> None:
    for values in (LEAST, {"evaluation": {"enabled": True}}):
        rendering = render(merged(values, SWITCHES["images-by-tag"]))
        for pod in rendering.pods():
            assert pod.spec["imagePullSecrets"] == [{"name": "registry"}, {"name": "mirror"}], pod.owner
        assert rendering.settings(tmp_path).image_pull_secrets == ("registry", "mirror")


def test_large_ids_stay_whole_numbers(tmp_path: Path) -> None:
    rendering = render(merged(LEAST, SWITCHES["groups"]))
    security = rendering.pod("api").spec["securityContext"]
    assert (security["runAsUser"], security["runAsGroup"], security["fsGroup"]) == (1000680000, 0, 1000680000)
    assert security["supplementalGroups"] == [0, 5000000]
    settings = rendering.settings(tmp_path)
    assert (settings.run_as_user, settings.fs_group, settings.supplemental_groups) == (
        1000680000,
        1000680000,
        (0, 5000000),
    )
