"""What django-celery-beat leaves open: its actions switch sweeps off, and take no permission."""

from django_celery_beat.admin import PeriodicTaskAdmin

for name in PeriodicTaskAdmin.actions:
    getattr(PeriodicTaskAdmin, name).allowed_permissions = ["change"]
