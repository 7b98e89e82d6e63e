"""The fast lane: a Celery pool that streams deliveries through the worker's own event loop."""

import django

# Celery looks its pool up before it sets Django up, which does no harm twice.
django.setup()
