"""Metrics: counted in each process, added up in Redis, shown by any web process."""
