"""Served versions: a Deployment each, and a Service a model that leads to one of them."""
