"""What holds for all tests."""

import os

# MLflow would ask the network whether to tell of its use, and take its variable out of the environment
# whenever the answer comes, beneath whoever reads the environment then.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
