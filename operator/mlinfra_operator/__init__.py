"""The operator: reconciles TrainingJobs and ModelVersions with batch/v1 Jobs and MLflow.

``plan`` modules decide with plain values and do no input or output; ``controller`` modules observe,
carry out what was decided, and write the status.
"""
