"""Compares runs: what they were told, and how good they became, as a table and as a plot."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mlinfra.errors import suggestion
from mlinfra.tracking.connection import connect, translated_errors
from mlinfra.tracking.errors import UnknownRunError
from mlinfra.tracking.stages import ABSENT, model_versions

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Run

MAX_RUNS = 20
MAX_PLOTS = 6
MAX_LABEL = 24
PARAM, METRIC = "params.", "metrics."


@dataclass(frozen=True, slots=True)
class RunComparison:
    """Runs side by side. `table` holds a row for each run; printing shows a column for each.

    Attributes:
        table: ``run_id`` as index; ``name``, ``status``, ``started`` (UTC), ``params.<name>`` as strings and
            ``metrics.<name>`` as numbers, the latest of each; NaN where a run has none.
    """

    table: "pd.DataFrame"
    _client: "MlflowClient" = field(repr=False)

    def __str__(self) -> str:
        return str(self.table.set_index("name", append=True).T.to_string())

    def _repr_html_(self) -> str:
        return str(self.table.set_index("name", append=True).T.to_html())

    def metric_names(self) -> list[str]:
        """The metrics in the table."""
        return [name.removeprefix(METRIC) for name in self.table.columns if name.startswith(METRIC)]

    def labels(self) -> list[str]:
        """A short name for each run, and the beginning of its ID where names are the same."""
        names = [str(name)[:MAX_LABEL] for name in self.table["name"]]
        return [
            name if names.count(name) == 1 else f"{name} {run_id[:6]}"
            for name, run_id in zip(names, self.table.index, strict=True)
        ]

    def plot(self, metrics: Sequence[str] | None = None) -> "Figure":
        """Each metric as a plot: curves by step where there are any, else a bar for each run.

        Args:
            metrics: their names; where absent the first six of the table.

        Raises:
            UnknownRunError: no run has such a metric.
        """
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        known = self.metric_names()
        for name in metrics or ():
            if name not in known:
                raise UnknownRunError(f'no run in the table has a metric "{name}"; {suggestion(name, known)}')
        shown = list(metrics or known[:MAX_PLOTS])
        if not shown:
            raise UnknownRunError("The runs have no metrics to plot.")
        columns = min(2, len(shown))
        rows = -(-len(shown) // columns)
        figure = Figure(figsize=(6 * columns, 3.2 * rows), dpi=120, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(rows, columns, squeeze=False).flatten()
        for each, name in zip(axes, shown, strict=False):
            self._draw(each, name)
        for unused in axes[len(shown) :]:
            unused.remove()
        return figure

    def _draw(self, axes: Any, name: str) -> None:
        curves = {run_id: self._curve(run_id, name) for run_id in self.table.index}
        axes.set_title(name)
        if any(len(curve) > 1 for curve in curves.values()):
            for label, curve in zip(self.labels(), curves.values(), strict=True):
                if curve:
                    axes.plot(*zip(*curve, strict=True), label=label, marker="." if len(curve) == 1 else None)
            axes.set_xlabel("step")
            axes.legend(fontsize="small")
        else:
            values = self.table[f"{METRIC}{name}"]
            axes.barh(range(len(values)), values)
            axes.set_yticks(range(len(values)), self.labels())
            axes.invert_yaxis()

    def _curve(self, run_id: str, name: str) -> list[tuple[int, float]]:
        with translated_errors(str(self._client.tracking_uri)):
            history = self._client.get_metric_history(run_id, name)
        # Of several values at one step the newest counts.
        newest = {point.step: point.value for point in sorted(history, key=lambda point: point.timestamp)}
        return sorted(newest.items())


def compare_runs(
    run_ids: Sequence[str] | None = None,
    *,
    experiment: str | None = None,
    model: str | None = None,
    metrics: Sequence[str] | None = None,
    params: Sequence[str] | None = None,
    max_runs: int = MAX_RUNS,
    tracking_uri: str | None = None,
) -> RunComparison:
    """Compare runs; without ``run_ids`` the newest ones.

    Args:
        run_ids: IDs of the runs, in the order of the table.
        experiment: name of the experiment whose runs are compared.
        model: name of the registered model whose versions' runs are compared.
        metrics: which metrics to show; all where absent.
        params: which parameters to show; where absent those in which the runs differ.
        max_runs: how many of the newest runs, without ``run_ids``.
        tracking_uri: where MLflow runs; as for `get_mlflow_tracker`.

    Raises:
        UnknownRunError: there is no such run, experiment, model, metric or parameter.
        TrackingUnavailableError: MLflow does not answer.
    """
    client = connect(tracking_uri)
    with translated_errors(str(client.tracking_uri)):
        runs = find_runs(client, run_ids, experiment=experiment, model=model, max_runs=max_runs)
    return RunComparison(runs_table(runs, metrics=metrics, params=params), client)


def find_runs(
    client: "MlflowClient",
    run_ids: Sequence[str] | None = None,
    *,
    experiment: str | None = None,
    model: str | None = None,
    max_runs: int = MAX_RUNS,
) -> "list[Run]":
    """The runs that are named, in their order; else the newest of an experiment, a model or all.

    Raises:
        UnknownRunError: there is no such run, experiment or model.
    """
    if run_ids:
        return [_run(client, run_id) for run_id in dict.fromkeys(run_ids)]
    if model is not None:
        return [_run(client, run_id) for run_id in _runs_of_model(client, model)[:max_runs]]
    experiments = list(_experiments(client))
    if experiment is not None:
        known = [each.name for each in experiments]
        experiments = [each for each in experiments if each.name == experiment]
        if not experiments:
            raise UnknownRunError(f'MLflow has no experiment "{experiment}"; {suggestion(experiment, known)}')
    return list(
        client.search_runs(
            [each.experiment_id for each in experiments],
            order_by=["attributes.start_time DESC"],
            max_results=max_runs,
        )
    )


def runs_table(
    runs: "Sequence[Run]", *, metrics: Sequence[str] | None = None, params: Sequence[str] | None = None
) -> "pd.DataFrame":
    """Runs as rows; see `RunComparison`.

    Raises:
        UnknownRunError: no run has such a metric or parameter.
    """
    import pandas as pd

    all_metrics = list(dict.fromkeys(name for run in runs for name in sorted(run.data.metrics)))
    all_params = list(dict.fromkeys(name for run in runs for name in sorted(run.data.params)))
    for kind, wanted, known in (("metric", metrics, all_metrics), ("parameter", params, all_params)):
        for name in wanted or ():
            if name not in known:
                raise UnknownRunError(f'none of the runs has a {kind} "{name}"; {suggestion(name, known)}')
    if params is None:
        params = [name for name in all_params if len({run.data.params.get(name) for run in runs}) > 1]
    columns: dict[str, list[Any]] = {
        "name": [run.info.run_name for run in runs],
        "status": [run.info.status for run in runs],
        "started": [datetime.fromtimestamp(run.info.start_time / 1000, UTC) for run in runs],
    }
    columns |= {f"{PARAM}{name}": [run.data.params.get(name) for run in runs] for name in params}
    for name in all_metrics if metrics is None else metrics:
        columns[f"{METRIC}{name}"] = [run.data.metrics.get(name, float("nan")) for run in runs]
    index = pd.Index([run.info.run_id for run in runs], name="run_id", dtype="object")
    return pd.DataFrame(columns, index=index)


def _run(client: "MlflowClient", run_id: str) -> "Run":
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code not in (ABSENT, "INVALID_PARAMETER_VALUE"):
            raise
        raise UnknownRunError(f'MLflow has no run "{run_id}". List them with: mlinfra runs list') from error
    if run.info.lifecycle_stage != "active":
        raise UnknownRunError(f'Run "{run_id}" is deleted. Bring it back with: mlflow runs restore')
    return run


def _runs_of_model(client: "MlflowClient", name: str) -> list[str]:
    """The runs of a model's versions, those of the newest version first."""
    versions = sorted(model_versions(client, name), key=lambda each: int(each.version), reverse=True)
    if not versions:
        known = [each.name for each in client.search_registered_models()]
        raise UnknownRunError(f'MLflow has no versions of a model "{name}"; {suggestion(name, known)}')
    return list(dict.fromkeys(str(each.run_id) for each in versions if each.run_id))


def _experiments(client: "MlflowClient") -> "Iterator[Experiment]":
    token = None
    while True:
        page = client.search_experiments(page_token=token)
        yield from page
        if not (token := page.token):
            return
