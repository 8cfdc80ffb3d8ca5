"""MLflow: runs, metrics, registry, stages and aliases."""
