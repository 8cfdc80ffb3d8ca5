"""The command line: ``mlinfra``, also installed as ``kubectl-mlinfra``.

Heavy libraries load in the commands that need them, so that help is instant.
"""

import typer

from mlinfra.cli import cluster, datasets, drift, features, lifecycle, retraining, runs, serving
from mlinfra.cli.demo import demo
from mlinfra.cli.demo_drift import demo_drift
from mlinfra.cli.logs import logs
from mlinfra.cli.train import EXAMPLES, train
from mlinfra.cli.tree import tree
from mlinfra.cli.watch import watch

app = typer.Typer(
    help="The model lifecycle on Kubernetes: training, registry, stages.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)
cluster.register(app)
app.command()(demo)
app.command()(demo_drift)
lifecycle.register(app)
for command in (logs, tree, watch):
    app.command()(command)
serving.register(app)
app.command(name="train", epilog=EXAMPLES)(train)
app.add_typer(datasets.app, name="datasets")
app.add_typer(drift.app, name="drift")
app.add_typer(features.app, name="features")
app.add_typer(retraining.app, name="retraining")
app.add_typer(runs.app, name="runs")
