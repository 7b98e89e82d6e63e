"""The fast lane: a Celery pool that streams deliveries through the worker's own event loop."""
