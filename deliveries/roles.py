"""The groups that staff can be put into: one to look, one to run things; neither sees a secret."""

from typing import Any

from django.apps import apps

VIEWERS = "Angarium viewers"
OPERATORS = "Angarium operators"

CHANGED_BY_OPERATORS = ("endpoint", "subscription", "delivery", "deadletter", "replay")


def make_roles(**_: Any) -> None:
    """Make the groups, or give them what is new since; what else was given to them stays."""
    if not apps.is_installed("django.contrib.auth"):
        return
    permissions = apps.get_model("auth", "Permission").objects.filter(
        content_type__app_label__in=["subscriptions", "deliveries"]
    )
    view = permissions.filter(codename__startswith="view_")
    change = permissions.filter(codename__in=[f"change_{model}" for model in CHANGED_BY_OPERATORS])
    for name, given in ((VIEWERS, view), (OPERATORS, view | change)):
        group, _created = apps.get_model("auth", "Group").objects.get_or_create(name=name)
        group.permissions.add(*given)
