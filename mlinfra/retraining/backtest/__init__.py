"""Replays a feature group as traffic, and tells what a policy would have done.

The operator imports nothing of this package: it needs the trainer.
"""
