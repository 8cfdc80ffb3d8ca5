"""What both controllers share: cache, work queue, Events, and MLflow off the event loop."""
