"""Replays a feature group as live traffic of a served model, and follows what its RetrainingPolicy does.

`plan`, `manifests` and `story` are pure; `traffic` talks to the model's server, `known_rows` to the store.
"""
