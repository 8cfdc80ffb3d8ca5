"""What is asked of the scheduler for pods that start together, and what is told where there is no such."""

import pytest
from pydantic import ValidationError
from unit.operator.objects import NOW, RUN_ID, UID, child, run, training_job

from mlinfra.resources import TrainingJob
from mlinfra_operator.trainingjob.distribution import build_peer_service
from mlinfra_operator.trainingjob.gang import build_pod_group
from mlinfra_operator.trainingjob.job_builder import PodDefaults, build_job
from mlinfra_operator.trainingjob.observed import Observed
from mlinfra_operator.trainingjob.plan import plan

GANG = training_job(numNodes=3, gangScheduling=True)


def group_of(job: TrainingJob, *, offered: bool) -> object:
    defaults = PodDefaults(image="i", tracking_uri="http://mlflow", gang_scheduling=offered)
    pod = build_job(job, run_id=RUN_ID, defaults=defaults)["spec"]["template"]["spec"]
    return pod.get("schedulingGroup")


def test_the_group_holds_all_pods_and_goes_with_its_training() -> None:
    group = build_pod_group(GANG)
    assert group["spec"] == {"schedulingPolicy": {"gang": {"minCount": 3}}}
    assert group["metadata"]["ownerReferences"][0]["uid"] == UID
    assert group_of(GANG, offered=True) == {"podGroupName": group["metadata"]["name"]}
    assert group["metadata"]["name"] == build_peer_service(GANG)["metadata"]["name"]


def test_pods_name_no_group_that_nobody_asked_for_or_that_cannot_be() -> None:
    assert group_of(GANG, offered=False) is None
    assert group_of(training_job(numNodes=3), offered=True) is None


@pytest.mark.parametrize(("offered", "status"), [(True, "True"), (False, "False")])
def test_the_condition_tells_whether_pods_start_together(offered: bool, status: str) -> None:
    observed = Observed(child=child(active=3), run=run(), gang_offered=offered)
    first = plan(GANG, observed, NOW)
    (told,) = [found for found in first.status.conditions if found.type == "GangScheduling"]
    assert told.status == status
    warned = [event.reason for event in first.events if event.type == "Warning"]
    assert warned == ([] if offered else ["GangUnavailable"])
    later = training_job(numNodes=3, gangScheduling=True, status=first.status.to_wire())
    assert plan(later, observed, NOW).events == ()


def test_one_pod_is_no_gang() -> None:
    with pytest.raises(ValidationError, match="numNodes above 1"):
        training_job(gangScheduling=True)
