"""mlinfra: the model lifecycle on Kubernetes in three custom resources, over MLflow.

Importing this package is instant; the heavy libraries load where they are used.
"""

__version__ = "0.1.0"
