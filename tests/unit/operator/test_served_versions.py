"""All versions of a model together in a small world with failing pods: whom the Service leads to."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from unit.operator.objects import NOW, model_version

from mlinfra.resources import ModelVersion
from mlinfra.resources.model_version import ModelVersionStatus
from mlinfra_operator.serving.canary import share_of
from mlinfra_operator.serving.observed import Deployment, Observed, Service, Successor, Trouble
from mlinfra_operator.serving.plan import (
    ApplyDeployment,
    DeleteDeployment,
    ServingPlan,
    SwitchService,
    plan,
)

Object = dict[str, Any]
VERSIONS = ("1", "2", "3")
CANARIES = ("2", "3")
WINDOW, CANARY_SECONDS = 3600, 600


@dataclass
class World:
    """Versions of one model, their Deployments and the Service, as plans change them."""

    now: datetime = NOW
    stages: dict[str, tuple[str, datetime]] = field(default_factory=dict)
    deployments: dict[str, Deployment] = field(default_factory=dict)
    healthy: dict[str, bool] = field(default_factory=lambda: dict.fromkeys(VERSIONS, True))
    took_over: dict[str, str] = field(default_factory=dict)
    service: Service | None = None

    def promote(self, number: str) -> None:
        self.archive()
        self.stages[number] = ("Production", self.now)

    def archive(self) -> None:
        for other, (stage, _) in list(self.stages.items()):
            if stage == "Production":
                self.stages[other] = ("Archived", self.now)

    def pods_come_up(self) -> None:
        for number, deployment in self.deployments.items():
            up = self.healthy[number]
            ready = deployment.desired if up else 0
            self.deployments[number] = replace(deployment, ready=ready, available=up)

    def settle(self) -> None:
        """All are looked at, until pods that start have done so."""
        for _ in range(2):
            for number in VERSIONS:
                self.reconcile(number)
            self.pods_come_up()
        for number in VERSIONS:
            self.reconcile(number)

    def reconcile(self, number: str) -> ServingPlan:
        stage, since = self.stages.get(number, ("None", self.now))
        asked, found = self._version(number), _status(stage, since)
        for _ in range(8):
            observed = self._observed(number)
            share = share_of(asked, found, observed, self.now)
            decided = plan(asked, found, observed, _made_from(share), self.now)
            if not decided.actions:
                if decided.took_over:
                    self.took_over.setdefault(number, f"{self.now:%Y-%m-%dT%H:%M:%SZ}")
                self._check_left(number)
                return decided
            for action in decided.actions:
                before = self._answering()
                self._carry_out(number, action)
                # The pods that answer go only where others do, or where the model has left Production.
                assert not before or self._answering() or not self.in_production()
                self.check()
        raise AssertionError("no end")

    def check(self) -> None:
        """The Service leads to one version, and to a canary beside it; to no pods of a third one."""
        if self.service is not None:
            assert self._selected() <= {self.service.version, self.service.canary}

    def _check_left(self, number: str) -> None:
        """Once looked at, a version out of Production is no canary, but beside pods that do not answer."""
        if self.service is not None and number not in (self.service.version, *self.in_production()):
            assert number not in self._selected() or self.service.version not in self._answering()

    def in_production(self) -> list[str]:
        return [number for number, (stage, _) in self.stages.items() if stage == "Production"]

    def _version(self, number: str) -> ModelVersion:
        serving: Object = {"rollbackWindowSeconds": WINDOW, "replicas": 2}
        if number in CANARIES:
            serving["canary"] = {"percent": 30, "seconds": CANARY_SECONDS}
        known = {"tookOverAt": self.took_over[number]} if number in self.took_over else {}
        return model_version(version=number, serving=serving, status=known)

    def _observed(self, number: str) -> Observed:
        others = [
            Successor(f"model-{other}", other)
            for other, (held, _) in self.stages.items()
            if held == "Production" and other != number
        ]
        return Observed(
            deployment=self.deployments.get(number),
            others={other: each for other, each in self.deployments.items() if other != number},
            services={"Production": self.service} if self.service else {},
            successors={"Production": others[0]} if others else {},
            trouble=Trouble("NotReady", "not ready"),
        )

    def _selected(self) -> set[str]:
        if self.service is None or self.service.version is None:
            return set()
        if self.service.canary is None:
            return {self.service.version} & self.deployments.keys()
        return {number for number, each in self.deployments.items() if self.service.version in each.beside}

    def _answering(self) -> set[str]:
        return {number for number in self._selected() if self.deployments[number].ready > 0}

    def _carry_out(self, number: str, action: Any) -> None:
        match action:
            case ApplyDeployment():
                self._apply(number, action)
            case DeleteDeployment():
                (gone,) = [other for other, each in self.deployments.items() if each.uid == action.uid]
                assert self.stages[gone][0] != "Production"
                del self.deployments[gone]
            case SwitchService():
                lead = action.lead
                turned = self.service is None or lead.version != self.service.version
                if turned or lead.canary is not None:
                    assert self.stages[number][0] == "Production"
                    assert self.deployments[number].available
                    assert number == (lead.canary or lead.version)
                self.service = Service(
                    "model",
                    lead.version,
                    lead.switched_at,
                    lead.previous,
                    lead.canary,
                    lead.canary_since,
                    owners={f"model-{each}": f"uid-{each}" for each in VERSIONS},
                )
            case _:
                raise AssertionError(action)

    def _apply(self, number: str, action: ApplyDeployment) -> None:
        before, share = self.deployments.get(number), action.share
        beside = {share.beside} if share else (before.beside if before else set())
        replaced = before is None or before.beside != {number, *beside}
        pods = share.pods if share else 2
        ready = 0 if replaced or before is None else min(before.ready, pods)
        self.deployments[number] = Deployment(
            f"model-{number}",
            f"deployment-{number}",
            number,
            owner=f"uid-{number}",
            spec_hash=_made_from(share),
            desired=pods,
            ready=ready,
            available=ready == pods,
            beside=frozenset({number, *beside}),
        )


def _made_from(share: Any) -> str:
    return f"{share}"


def _status(stage: str, since: datetime) -> ModelVersionStatus:
    history = [{"stage": stage, "time": f"{since:%Y-%m-%dT%H:%M:%SZ}"}]
    phase = "Registered" if stage == "None" else stage
    return ModelVersionStatus.model_validate({"phase": phase, "digest": "digest", "history": history})


TAKE_OVER = st.tuples(st.just("take over"), st.sampled_from(VERSIONS))
STEPS = st.one_of(
    st.tuples(st.just("promote"), st.sampled_from(VERSIONS)),
    st.tuples(st.just("archive"), st.just("")),
    st.tuples(st.just("break"), st.sampled_from(VERSIONS)),
    st.tuples(st.just("mend"), st.sampled_from(VERSIONS)),
    st.tuples(st.just("pods"), st.just("")),
    st.tuples(st.just("wait"), st.sampled_from(["10", "700", "4000"])),
    st.tuples(st.just("look"), st.sampled_from(VERSIONS)),
    st.tuples(st.just("settle"), st.just("")),
    # What goes wrong after several versions had their turn is found by turns, not by chance.
    TAKE_OVER,
    TAKE_OVER,
    TAKE_OVER,
)


@settings(max_examples=500)
@given(steps=st.lists(STEPS, max_size=40))
def test_whatever_happens_the_service_leads_to_pods_that_may_answer(steps: list[tuple[str, str]]) -> None:
    world = World()
    for what, argument in steps:
        match what:
            case "promote":
                world.promote(argument)
            case "archive":
                world.archive()
            case "break" | "mend":
                world.healthy[argument] = what == "mend"
            case "pods":
                world.pods_come_up()
            case "wait":
                world.now += timedelta(seconds=int(argument))
            case "settle":
                world.settle()
            case "take over":
                world.promote(argument)
                world.settle()
                world.now += timedelta(seconds=CANARY_SECONDS)
                world.settle()
            case "look":
                world.reconcile(argument)
        world.check()
    # Left alone with pods that start, the version in Production ends up served, and alone after the window.
    world.healthy = dict.fromkeys(VERSIONS, True)
    for seconds in (0, 10, 10, CANARY_SECONDS, 10, WINDOW * 2, 10):
        world.now += timedelta(seconds=seconds)
        for number in VERSIONS:
            world.reconcile(number)
        world.pods_come_up()
    in_production = world.in_production()
    assert sorted(world.deployments) == in_production
    if in_production:
        assert world.service is not None
        assert (world.service.version, world.service.canary) == (in_production[0], None)
        assert world.deployments[in_production[0]].desired == 2
