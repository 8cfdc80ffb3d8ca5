"""RetrainingPolicy: when a model is trained again, and the TrainingJobs that come of it."""
