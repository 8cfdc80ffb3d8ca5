"""What holds for all tests."""

import os

from hypothesis import HealthCheck, settings

# MLflow would ask the network whether to tell of its use, and take its variable out of the environment
# whenever the answer comes, beneath whoever reads the environment then.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"

# A busy machine takes longer over the same examples: how long they take says nothing of the product.
settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-machine")
