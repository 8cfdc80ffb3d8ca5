"""The steps of ``train``: own data into the store, training with a live bar, the result."""

from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from mlinfra.cli.train_spec import not_used_here, registration
from mlinfra.cli.training_view import TrainingView, result_tables, where_to_look
from mlinfra.features import FeatureStore, get_feature_store
from mlinfra.features.own_data import ImportedFile, import_file
from mlinfra.resources.training_job import TrainingJobSpec
from mlinfra.training.config import TrainingConfig
from mlinfra.training.errors import TrainingInterruptedError
from mlinfra.training.interruption import Interruption
from mlinfra.training.local_checkpoints import LocalCheckpoints


@dataclass(frozen=True, slots=True)
class OwnData:
    """A file to learn from, and what its columns are; see `mlinfra.features.own_data.import_file`."""

    path: Path
    timestamp: str | None = None
    entity: str | None = None
    one_entity: bool = False


@dataclass(frozen=True, slots=True)
class HowToRun:
    """What is told of a training on this machine beside its spec.

    Attributes:
        processes: how many train together.
        checkpoint_every: epochs between checkpoints; as the spec says where None.
        resume: whether to go on with the run whose checkpoint was written last.
        interruption: by which the user stops the training.
    """

    processes: int
    checkpoint_every: int | None
    resume: bool
    interruption: Interruption

    def checkpoints(self, spec: TrainingJobSpec) -> LocalCheckpoints | None:
        """The checkpoints that spec and flags ask for."""
        asked = spec.checkpoint
        if asked is not None:
            base = LocalCheckpoints(asked.storage_uri, asked.every_epochs, asked.keep_last)
        elif self.checkpoint_every is not None or self.resume:
            base = LocalCheckpoints()
        else:
            return None
        return replace(base, every_epochs=self.checkpoint_every or base.every_epochs, resume=self.resume)


@dataclass(frozen=True, slots=True)
class Places:
    """Where things are; None is where they are by default."""

    store: str | None = None
    tracking_uri: str | None = None
    experiment: str | None = None


def run(
    console: Console,
    spec: TrainingJobSpec,
    *,
    own_data: OwnData | None,
    register: bool,
    how: HowToRun,
    places: Places,
) -> None:
    """Train what a spec describes, and print how it goes and what came out.

    Raises:
        MlinfraError: the data, the configuration or the training itself.
        KeyboardInterrupt: the user stopped the training.
    """

    def say(text: str, style: str | None = None) -> None:
        console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    if unused := not_used_here(spec):
        say(f"Not used on this machine: {', '.join(unused)}.", "yellow")
    store = get_feature_store(places.store)
    if own_data is not None:
        with console.status(f"Reading {own_data.path} ..."):
            imported = bring_in(store, own_data, spec)
        for line in told(imported, own_data.path):
            say(line)
    loading = "Loading PyTorch and MLflow ..."
    if not console.is_terminal:
        say(loading)
    with console.status(loading):
        from mlinfra.training.local import train_locally

        config = TrainingConfig.from_spec(spec)
        wanted = registration(spec, register=register)
    try:
        with TrainingView(console, epochs=config.training.epochs) as view:
            training = train_locally(
                config,
                wanted,
                on_progress=view.show,
                on_step=view.show_step,
                on_notice=say,
                interruption=how.interruption,
                processes=how.processes,
                checkpoints=how.checkpoints(spec),
                store=store,
                tracking_uri=places.tracking_uri,
                experiment_name=places.experiment,
            )
    except TrainingInterruptedError as error:
        say(str(error))
        raise KeyboardInterrupt from error
    console.print(result_tables(training))
    say(where_to_look(training.tracking_uri))


def bring_in(store: FeatureStore, own_data: OwnData, spec: TrainingJobSpec) -> ImportedFile:
    """Write the file's rows to the feature group that the spec names."""
    data = TrainingConfig.from_spec(spec).data
    return import_file(
        store,
        own_data.path,
        label=data.label,
        timestamp=own_data.timestamp,
        entity=own_data.entity,
        one_entity=own_data.one_entity,
        feature_group=data.feature_group,
    )


def told(imported: ImportedFile, path: Path) -> list[str]:
    """What became of a file, a line each."""
    if imported.written == imported.rows:
        done = "written to"
    elif imported.written:
        done = f"{imported.written:,} of them new, in"
    else:
        done = "all of them already in"
    summary = (
        f"{path}: {imported.rows:,} rows, {imported.first_time:%Y-%m-%d} to {imported.last_time:%Y-%m-%d}, "
        f"{done} feature group {imported.feature_group}"
    )
    return [summary, *(f"  {notice}" for notice in imported.notices)]
