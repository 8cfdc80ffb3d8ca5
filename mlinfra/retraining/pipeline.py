"""The retraining loop without Kubernetes: a RetrainingPolicy's decision, and the trainer, in one process."""

import asyncio
import hashlib
import json
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import httpx

from mlinfra.errors import MlinfraError
from mlinfra.resources.monitoring import LOWER_IS_BETTER
from mlinfra.resources.names import SERVING_TOKEN_ENV
from mlinfra.retraining.assessment import Verdict, assess, trigger_rules
from mlinfra.retraining.config import RetrainingConfig
from mlinfra.retraining.decision import Hold, Start, Training, came_to, decide
from mlinfra.retraining.observation import Watch
from mlinfra.retraining.pipeline_log import PipelineLog
from mlinfra.retraining.pipeline_state import PipelineState, load_state, save_state
from mlinfra.retraining.server_check import check_body, check_server
from mlinfra.retraining.triggers import MonitorOutcome, MonitorResult, Request, RetrainingTrigger
from mlinfra.tracking.errors import TrackingRefusedError

CHECK_TIMEOUT_SECONDS = 10.0
LONGEST_WAIT_SECONDS = 60.0

logger = logging.getLogger(__name__)


class Trainer(Protocol):
    """What trains: `mlinfra.training.TrainingOrchestrator`."""

    def train_model(
        self, model_name: str, *, auto_promote: bool, min_accuracy_for_promotion: float
    ) -> Awaitable[dict[str, Any]]:
        """Train, register and promote."""
        ...

    def restore_production(self, model_name: str, version: str) -> Awaitable[None]:
        """Let an older version have Production again.

        Raises:
            TrackingRefusedError: there is no such version: it is not tried again.
            MlinfraError: it did not work; tried again at the next look.
        """
        ...


class RetrainingPipeline:
    """Trains a model again by the clock, on drift, on a loss of performance, or when asked.

    Drift and performance are asked of the model's server, with the token MLINFRA_SERVING_TOKEN where that is
    set. What was trained when is kept beside the log, so a
    pipeline that starts again goes on where it stopped; of the scheduled trainings that it missed it makes
    one. A new version that does worse than the one before gives way to it, where the configuration says so.
    It runs in the event loop it was started in.

    Args:
        config: what to watch, and when to train.
        trainer: what trains.
        clock: the time now.
    """

    def __init__(
        self,
        config: RetrainingConfig,
        trainer: Trainer,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.config = config
        self._trainer = trainer
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._training = asyncio.Lock()
        self._state = PipelineState()
        self._digest = hashlib.sha256(json.dumps(config.to_wire()).encode()).hexdigest()[:16]
        self._last_check: datetime | None = None
        self._results: tuple[MonitorResult, ...] = ()
        self._performance: MonitorResult | None = None
        self._told = ""
        self._log = PipelineLog(logger, config.log_folder / f"{config.model_name}.log")

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._task is not None and not self._task.done()

    def status(self) -> dict[str, Any]:
        """``is_running``, ``config``, when it last trained and checked and next trains by the clock, why the
        last training failed (``last_training_failure``; None where it did not), and why its monitors ask for
        no training (``circuit_breaker``)."""
        trainings, breaker = self._state.trainings, self._state.watch.breaker
        last = trainings[-1].started if trainings else None
        return {
            "is_running": self.is_running,
            "is_training": self._training.locked(),
            "config": self.config.to_wire(),
            "last_training_time": _iso(last),
            "last_training_failure": self._state.failure,
            "last_drift_check_time": _iso(self._last_check),
            "next_training_time": _iso(self._next_scheduled()) if self.is_running else None,
            "monitors": [each.to_wire() for each in self._results],
            "circuit_breaker": breaker.message if breaker is not None else None,
        }

    async def start(self) -> None:
        """Run in the background, until `stop`; one that runs already goes on.

        Raises:
            PipelineStateError: what an earlier one kept cannot be read, or its folder not written.
        """
        if self.is_running:
            return
        self._remember()
        self._state.since = self._state.since or self._clock()
        self._keep()
        self._log.open()
        self._log.info("Retraining of %s started", self.config.model_name)
        self._task = asyncio.create_task(self._run(), name=f"retraining-{self.config.model_name}")

    async def stop(self) -> None:
        """End; a training that it started ends after its batch, and promotes nothing."""
        task, self._task = self._task, None
        try:
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
                self._log.info("Retraining of %s stopped", self.config.model_name)
        finally:
            self._close_log()

    async def trigger_retraining(
        self, trigger: RetrainingTrigger | str = RetrainingTrigger.MANUAL
    ) -> dict[str, Any]:
        """Train now, whether or not the pipeline runs.

        Args:
            trigger: what is told as the cause.

        Returns:
            As `mlinfra.training.TrainingOrchestrator.train_model`, and ``trigger``. ``success`` is False with
            the reason ``TrainingActive`` where a training is active, and with the error's type as the reason
            where the trainer raised.

        Raises:
            ValueError: there is no such trigger.
            PipelineStateError: the training cannot be recorded; nothing was trained.
        """
        cause = RetrainingTrigger(trigger)
        if not self.is_running:
            self._remember()
        self._log.open()
        try:
            now = self._clock()
            return await self._train(Request(cause, now.isoformat(), "asked for by a caller"))
        finally:
            self._close_log()

    def _close_log(self) -> None:
        """End the log, but where it still runs or trains."""
        if not self.is_running and not self._training.locked():
            self._log.close()

    async def _run(self) -> None:
        # A connection that is kept would stay with a server that is being replaced.
        limits = httpx.Limits(max_keepalive_connections=0)
        async with httpx.AsyncClient(trust_env=False, limits=limits) as client:
            while True:
                try:
                    await self._step(client)
                    wait = self._wait()
                except MlinfraError as error:
                    self._log.error("Retraining goes on after an error: %s", error)
                    wait = self._pause
                except Exception:
                    # Nobody waits for this task: one that ended would be a pipeline that watches no more.
                    self._log.exception("Retraining goes on after an unexpected error")
                    wait = self._pause
                await asyncio.sleep(wait)

    async def _step(self, client: httpx.AsyncClient) -> None:
        """Observe, decide, act."""
        now = self._clock()
        await self._check(client, now)
        if await self._rolled_back(now):
            return
        requests = [*self._scheduled(now), *self._asked()]
        watch = self._state.watch
        allowed = watch.allowed(requests)
        decided = decide(allowed, self._state.trainings, self.config.limits, now)
        if isinstance(decided, Start):
            await self._train(decided.request)
        elif isinstance(decided, Hold):
            self._tell(f"{decided.reason}: {decided.message}")
        elif watch.breaker is not None and len(allowed) < len(requests):
            self._tell(f"CircuitBreakerOpen: {watch.breaker.message}")

    async def _check(self, client: httpx.AsyncClient, now: datetime) -> None:
        body = check_body(self.config.drift, self.config.performance)
        due = self._last_check is None or now - self._last_check >= timedelta(
            seconds=self.config.check_interval_seconds
        )
        if not body or not due:
            return
        self._results = await check_server(
            client,
            self.config.server_url.rstrip("/"),
            self.config.model_name,
            body,
            timeout=CHECK_TIMEOUT_SECONDS,
            now=now,
            token=os.environ.get(SERVING_TOKEN_ENV) or None,
        )
        self._last_check = now
        self._performance = next(
            (each for each in self._results if each.trigger is RetrainingTrigger.PERFORMANCE), None
        )

    async def _rolled_back(self, now: datetime) -> bool:
        """Whether a version has just given way to the one before."""
        rule, state = self.config.observation, self._state
        if state.restore is None and rule is not None:
            higher = self.config.performance_metric not in LOWER_IS_BETTER
            watch, rollback = state.watch.observed(
                self._performance, rule=rule, higher_is_better=higher, now=now
            )
            changed, state.watch = watch != state.watch, watch
            if rollback is not None:
                # Kept before it is done: a pipeline that is killed in the middle does it again.
                state.restore = rollback.previous
            if changed:
                self._keep()
        if state.restore is None:
            return False
        # A training that somebody asked for may promote a newer one: then there is nothing to restore.
        async with self._training:
            return state.restore is not None and await self._restored(state.restore)

    async def _restored(self, version: str) -> bool:
        state = self._state
        try:
            await self._trainer.restore_production(self.config.model_name, version)
        except TrackingRefusedError as error:
            # No later attempt can do better, and trainings must go on.
            self._log.error("Version %s cannot have Production again: %s", version, error)
            restored = False
        else:
            self._log.warning("Version %s is in Production again: %s", version, _why(state.watch))
            restored = True
        state.restore = None
        self._keep()
        return restored

    def _asked(self) -> list[Request]:
        if not self._results:
            return []
        assessment = assess(self._results, trigger_rules(self.config.drift, self.config.performance))
        if assessment.verdict is not Verdict.HEALTHY or self._told:
            self._tell(f"{assessment.verdict.value}: {assessment.message}")
        return [assessment.request] if assessment.request is not None else []

    def _scheduled(self, now: datetime) -> list[Request]:
        if not self.config.enable_scheduled:
            return []
        cron, after = self.config.cron, self._scheduled_after(now)
        due = cron.latest(now, after=after) if cron is not None else after + self.config.interval
        if due is None or due > now:
            return []
        message = f"scheduled for {due.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
        return [Request(RetrainingTrigger.SCHEDULED, due.isoformat(), message, due)]

    def _scheduled_after(self, now: datetime) -> datetime:
        """The training, or the first start, that the next scheduled one follows."""
        started = max((each.started for each in self._state.trainings), default=None)
        return started or self._state.since or now

    def _next_scheduled(self) -> datetime | None:
        if not self.config.enable_scheduled:
            return None
        after = self._scheduled_after(self._clock())
        cron = self.config.cron
        return cron.next(after) if cron is not None else after + self.config.interval

    def _wait(self) -> float:
        """Seconds until something may be due."""
        now = self._clock()
        waits = [self._pause]
        if (due := self._next_scheduled()) is not None:
            waits.append(max((due - now).total_seconds(), 0.0))
        return max(min(waits), 0.05)

    @property
    def _pause(self) -> float:
        """Seconds until it looks again in any case; what is due waits for them where something went wrong."""
        return min(LONGEST_WAIT_SECONDS, self.config.check_interval_seconds)

    async def _train(self, request: Request) -> dict[str, Any]:
        if self._training.locked():
            message = "a training of this pipeline is active; wait until it has come to its end"
            return {
                "success": False,
                "error": message,
                "reason": "TrainingActive",
                "trigger": request.trigger.value,
            }
        async with self._training:
            reached = max((each.window_end for each in request.evidence), default=None)
            state, baseline = self._state, self._performance
            name = f"{self.config.model_name}-{len(state.trainings) + 1}"
            state.trainings.append(Training(name, self._clock(), active=False, events_until=reached))
            state.watch = state.watch.started(request)
            # Before it begins: a pipeline that is killed in a training does not start it a second time.
            self._keep()
            self._log.info("Training by trigger %s: %s", request.trigger.value, request.message)
            result = {**await self._result_of_training(), "trigger": request.trigger.value}
            self._came_to(request, result, baseline)
            if result["success"]:
                self._log.info(
                    "Version %s of %s is in stage %s: %s",
                    result["version"],
                    self.config.model_name,
                    result["stage"],
                    result["promotion_reason"],
                )
            else:
                self._log.error("Training failed (%s): %s", result["reason"], result["error"])
            return result

    async def _result_of_training(self) -> dict[str, Any]:
        try:
            return await self._trainer.train_model(
                self.config.model_name,
                auto_promote=self.config.auto_promote_to_production,
                min_accuracy_for_promotion=self.config.least_accuracy,
            )
        except Exception as error:
            self._log.exception("The training of %s raised", self.config.model_name)
            return {"success": False, "error": str(error), "reason": type(error).__name__}

    def _tell(self, message: str) -> None:
        """Log what changed since it was told last."""
        if message != self._told:
            self._log.info(message)
        self._told = message

    def _came_to(self, request: Request, result: Mapping[str, Any], baseline: MonitorResult | None) -> None:
        """Remember what a training came to, and the version that is on trial since."""
        state, rule = self._state, self.config.observation
        failed = not result["success"]
        state.failure = f"{result['reason']}: {result['error']}" if failed else None
        promoted = not failed and result["stage"] == "Production"
        if failed or promoted or self.config.auto_promote_to_production:
            fruitless = came_to(request.trigger, promoted=promoted)
            state.trainings[-1] = replace(state.trainings[-1], fruitless=fruitless)
        if promoted:
            state.restore = None
        champion = result.get("champion")
        if promoted and rule is not None and champion is not None:
            known = (
                baseline is not None
                and baseline.outcome in (MonitorOutcome.OK, MonitorOutcome.BREACHED)
                and baseline.model_version in ("", champion["version"])
            )
            state.watch = state.watch.promoted(
                str(result["version"]),
                previous=champion["version"],
                baseline=baseline if known else None,
                rule=rule,
                now=self._clock(),
            )
        self._keep()

    @property
    def _state_file(self) -> Path:
        return self.config.log_folder / f"{self.config.model_name}.json"

    def _remember(self) -> None:
        self._state = load_state(self._state_file, self._digest) or self._state

    def _keep(self) -> None:
        save_state(self._state_file, self._state, self._digest)


def get_retraining_pipeline(
    config: RetrainingConfig | None = None, *, trainer: Trainer | None = None
) -> RetrainingPipeline:
    """A pipeline; what is not given keeps its default.

    Args:
        config: what to watch, and when to train.
        trainer: what trains; a `mlinfra.training.TrainingOrchestrator` with walk-forward validation on the
            example data where absent.
    """
    if trainer is None:
        from mlinfra.training.example import example_data
        from mlinfra.training.orchestrator import TrainingOrchestrator

        data, validation = example_data()
        walk_forward = validation.model_copy(update={"strategy": "WalkForward"})
        trainer = TrainingOrchestrator(data_config=data, validation_config=walk_forward)
    return RetrainingPipeline(config or RetrainingConfig(), trainer)


def _why(watch: Watch) -> str:
    return watch.breaker.message if watch.breaker is not None else ""


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment is not None else None
