"""Another version comes while a session runs, goes again, and in the end the whole installation goes."""

from tests.e2e.installation import RELEASE, Installation
from tests.e2e.test_operations import API, CONTROLLER, names
from tests.local_runs import wait_until
from trainyard.database import check_schema

LATER = "9999"  # the schema's version that the -next images bring; see tests/e2e/images.py


def version(installation: Installation) -> str:
    return str(installation.rows("SELECT version_num FROM alembic_version")[0].version_num)


def image_of_api(installation: Installation) -> set[str]:
    return {pod["spec"]["containers"][0]["image"] for pod in installation.pods(API)}


def test_an_upgrade_in_the_middle_of_a_session_costs_it_nothing(installation: Installation) -> None:
    with installation.api() as api:
        session = api.begin("/photos/upgraded")
        api.is_under_way(session, "faceDetection")
        installation.install("-next")
        assert api.completed(session)["images"]["processed"] == 16
    assert version(installation) == LATER
    wait_until(lambda: image_of_api(installation) == {installation.images["api-next"]}, "the old pods to be gone")
    attempts = installation.rows("SELECT max(attempt) AS most FROM steps WHERE session_id = :id", id=session)
    assert attempts[0].most == 1, "workers of the version before went on"


def test_a_rollback_leaves_the_later_schema_and_works(installation: Installation) -> None:
    installation.helm("rollback", RELEASE, "--wait")
    assert version(installation) == LATER
    installation.database.transact(check_schema)  # this version's code takes it
    wait_until(lambda: image_of_api(installation) == {installation.images["api"]}, "the later pods to be gone")
    with installation.api() as api:
        assert api.session(1)["overallStatus"] == "completed"


def test_an_uninstall_in_the_middle_leaves_photos_rows_and_resources(installation: Installation) -> None:
    photos = sorted(installation.photos.rglob("*"))
    with installation.api() as api:
        session = api.begin("/photos/left")
        installation.worker_at_work(session, "embed")
    installation.uninstall()
    wait_until(lambda: not names(installation, API) | names(installation, CONTROLLER), "the pods to be gone")
    assert sorted(installation.photos.rglob("*")) == photos
    assert installation.rows("SELECT count(*) AS n FROM training_sessions WHERE id = :id", id=session)[0].n == 1
    assert installation.get("crd", "trainingsessions.trainyard.dev")["spec"]["group"] == "trainyard.dev"
    assert installation.get("trainingsession", f"session-{session}")["metadata"]["name"] == f"session-{session}"

    installation.kubectl("delete", "namespace", installation.namespace, "--timeout=120s")  # and nothing holds it
