"""TrainingJob: a run, a Job, and what came out of them."""
