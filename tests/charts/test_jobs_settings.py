"""The file that says how Jobs look, as the controller reads it from the ConfigMap."""

from pathlib import Path

from controller.kubernetes.manifests import CA_FOLDER
from controller.kubernetes.settings import KubernetesSettings, SecretKey, StepSettings, Volume
from tests.charts.cases import EXAMPLES, LEAST, SWITCHES
from tests.charts.rendering import NAMESPACE, Rendering, Values, environment, merged, render
from trainyard.steps import STEPS


def settings(values: Values, folder: Path) -> KubernetesSettings:
    return render(merged(LEAST, values)).settings(folder)


def test_the_controller_takes_it(rendering: Rendering, tmp_path: Path) -> None:
    taken = rendering.settings(tmp_path)
    assert taken.namespace == NAMESPACE
    assert {taken.step(step).image for step in STEPS} == {taken.image}


def test_it_lies_where_the_controller_looks(rendering: Rendering) -> None:
    pod = rendering.pod("controller")
    (container,) = pod.spec["containers"]
    (volume,) = (volume for volume in pod.spec["volumes"] if volume["name"] == "jobs")
    (mount,) = (mount for mount in container["volumeMounts"] if mount["name"] == "jobs")
    (file,) = rendering.one("ConfigMap", volume["configMap"]["name"])["data"]
    assert environment(container)["TRAINYARD_KUBERNETES_SETTINGS"] == f"{mount['mountPath']}/{file}"


def test_workers_find_what_the_api_finds(rendering: Rendering, tmp_path: Path) -> None:
    """Photos and models at one path, the same stores by the same secrets."""
    taken, pod = rendering.settings(tmp_path), rendering.pod("api")
    (container,) = pod.spec["containers"]
    claims = {
        v["name"]: v["persistentVolumeClaim"]["claimName"]
        for v in pod.spec["volumes"]
        if v["name"] in ("photos", "models")
    }
    paths = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert taken.photos == Volume(claimName=claims["photos"], mountPath=paths["photos"])
    assert taken.models == Volume(claimName=claims["models"], mountPath=paths["models"])
    keys = {v["name"]: v["valueFrom"]["secretKeyRef"] for v in container["env"] if "valueFrom" in v}
    named = {
        "TRAINYARD_DATABASE_URL": taken.database,
        "TRAINYARD_QDRANT_URL": taken.qdrant,
        "TRAINYARD_QDRANT_API_KEY": taken.qdrant_api_key,
    }
    assert {name: SecretKey(secretName=key["name"], key=key["key"]) for name, key in keys.items()} == {
        name: key for name, key in named.items() if key
    }


def test_the_databases_ca_is_trusted_by_all(tmp_path: Path) -> None:
    rendering = render(merged(LEAST, SWITCHES["database-ca"]))
    assert rendering.settings(tmp_path).database_ca == SecretKey(secretName="postgres-ca", key="root.pem")
    for component in ("api", "controller"):
        pod = rendering.pod(component)
        for container in pod.containers:
            given = environment(container)
            assert (given["PGSSLMODE"], given["PGSSLROOTCERT"]) == ("verify-full", f"{CA_FOLDER}/ca.crt")
        (volume,) = (volume for volume in pod.spec["volumes"] if volume["name"] == "database-ca")
        assert volume["secret"] == {"secretName": "postgres-ca", "items": [{"key": "root.pem", "path": "ca.crt"}]}


def test_64_gpus_are_given_out_by_kueue(tmp_path: Path) -> None:
    taken = render(EXAMPLES["gpu-64-kueue"]).settings(tmp_path)
    for name in ("embed", "detect"):
        step = taken.step(name)
        assert (step.parallelism, step.kueue_queue) == (64, "trainyard-gpu")
        assert step.resources.limits["nvidia.com/gpu"] == "1"
        assert [toleration.key for toleration in step.tolerations] == ["nvidia.com/gpu"]
        assert step.node_selector == {"nvidia.com/gpu.present": "true"}
    for name in ("discover", "cluster"):
        step = taken.step(name)
        assert (step.parallelism, step.kueue_queue) == (1, "trainyard-cpu")
        assert "nvidia.com/gpu" not in step.resources.limits


def test_whatever_a_step_can_say_can_be_said(tmp_path: Path) -> None:
    """So a key that the settings get later is not refused by the schema."""
    said = StepSettings(
        image="another/jobs:1",
        env={"TRAINYARD_DEVICE": "cuda"},
        resources={"requests": {"cpu": "2"}, "limits": {"nvidia.com/gpu": 1}},
        parallelism=8,
        sharedMemory="1Gi",
        nodeSelector={"pool": "gpu"},
        tolerations=[{"key": "gpu", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30}],
        affinity={"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
        runtimeClassName="nvidia",
        priorityClassName="low",
        kueueQueue="gpus",
        terminationGracePeriodSeconds=60,
        pendingDeadlineSeconds=86400,
    )
    assert said.model_fields_set == set(StepSettings.model_fields)
    values = {"jobs": {"steps": {"detect": said.model_dump(mode="json", by_alias=True, exclude_none=True)}}}
    assert settings(values, tmp_path).steps["detect"] == said


def test_labels_and_annotations_of_jobs_are_handed_on(tmp_path: Path) -> None:
    taken = settings(SWITCHES["labelled-jobs"], tmp_path)
    assert (taken.labels, taken.annotations) == ({"team": "archive"}, {"example.org/cost-centre": "12"})


def test_the_controller_starts_anew_when_the_settings_change_and_only_then() -> None:
    def checksum(values: Values) -> str:
        (deployment,) = (
            m for name, m in render(merged(LEAST, values)).of_kind("Deployment").items() if name.endswith("controller")
        )
        return str(deployment["spec"]["template"]["metadata"]["annotations"]["checksum/jobs"])

    before = checksum({})
    assert checksum({"jobs": {"steps": {"embed": {"parallelism": 2}}}}) != before
    assert checksum({"images": {"jobs": {"tag": "2"}}}) != before
    assert checksum({"api": {"replicas": 5}}) == before
