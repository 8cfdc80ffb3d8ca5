"""ModelVersion: gates, and the stage it takes in MLflow's registry."""
