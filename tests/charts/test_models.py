"""The Job that downloads models: made when asked for, and named after what it does."""

from tests.charts.cases import EVALUATION, LEAST, SWITCHES
from tests.charts.rendering import Manifest, Values, environment, merged, render

DOWNLOAD: Values = {"models": {"download": {"enabled": True}}}


def jobs(values: Values, component: str = "models") -> list[Manifest]:
    found = render(values).of_kind("Job").values()
    return [job for job in found if job["metadata"]["labels"]["app.kubernetes.io/component"] == component]


def name(*values: Values) -> str:
    (job,) = jobs(merged(LEAST, DOWNLOAD, *values))
    return str(job["metadata"]["name"])


def test_nothing_is_downloaded_unless_asked_for() -> None:
    assert jobs(LEAST) == []


def test_what_may_be_used_by_anybody_is_downloaded_into_the_claim() -> None:
    (job,) = jobs(merged(LEAST, DOWNLOAD))
    spec = job["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert container["command"] == ["trainyard", "models", "download"]
    assert environment(container)["TRAINYARD_MODEL_DIR"] == "/models"
    assert spec["volumes"][0]["persistentVolumeClaim"] == {"claimName": "weights"}
    assert spec["securityContext"]["fsGroup"] == 65532  # a fresh block volume is root's


def test_what_is_for_non_commercial_use_is_downloaded_when_that_is_accepted() -> None:
    (job,) = jobs(merged(LEAST, SWITCHES["download"]))
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["command"][-1] == "--accept-non-commercial"
    assert environment(container)["HTTPS_PROXY"] == "p"


def test_it_has_another_name_when_it_does_something_else() -> None:
    others = (
        {"models": {"download": {"acceptNonCommercial": True}}},
        {"models": {"existingClaim": "other"}},
        {"images": {"jobs": {"tag": "2"}}},
    )
    assert len({name(), *map(name, others)}) == 1 + len(others)


def test_it_is_left_alone_by_an_upgrade_that_changes_other_things() -> None:
    others = {"api": {"replicas": 3}, "jobs": {"defaults": {"parallelism": 4}}, "images": {"api": {"tag": "2"}}}
    assert name(others) == name()


def test_evaluations_own_claim_is_filled_unless_nothing_is_trained() -> None:
    assert len(jobs(EVALUATION)) == 1
    assert jobs(merged(EVALUATION, SWITCHES["untrained"])) == []
    assert jobs(merged(EVALUATION, {"models": {"existingClaim": "weights"}})) == []


def test_what_a_job_that_failed_said_can_be_read() -> None:
    for component in ("models", "samples"):
        (job,) = jobs(EVALUATION, component)
        assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"
