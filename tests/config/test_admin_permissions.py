"""Nothing in the admin is done by whoever may not do it, whatever they send."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Group, Permission, User
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import URLPattern, URLResolver
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from deliveries.roles import VIEWERS
from subscriptions.models import ApiKey, Endpoint, EventType, SigningSecret
from tests.conftest import MakeEndpoint
from tests.deliveries.conftest import MakeDelivery
from tests.deliveries.conftest import make_delivery as make_delivery
from tests.deliveries.test_operations import in_state

pytestmark = pytest.mark.django_db

SECRET = re.compile(r"whsec_[A-Za-z0-9+/]")
ADMINS = list(admin.site._registry.values())
ACTIONS = [
    pytest.param(model_admin, name, function, id=f"{model_admin.opts.label}.{name}")
    for model_admin in ADMINS
    for function, name, _ in model_admin._get_base_actions()  # type: ignore[attr-defined]
]
HARMLESS = {"login", "logout", "jsi18n", "autocomplete", "password_change", "password_change_done"}
"""Pages for everybody, or of one's own account alone."""


@pytest.fixture(autouse=True)
def rows(make_endpoint: MakeEndpoint, make_delivery: MakeDelivery) -> None:
    """Something of every kind that there is."""
    SigningSecret.objects.issue(make_endpoint(state="paused"))
    EventType.objects.create(name="made.once")
    for state in ("dead", "waiting"):
        in_state(make_delivery, state)
    ApiKey.objects.create_key(name="billing")
    every = IntervalSchedule.objects.create(every=1, period="days")
    PeriodicTask.objects.create(name="a sweep", task="deliveries.sweep_due", interval=every)


def everything() -> dict[str, list[Any]]:
    return {
        model._meta.label: list(model._default_manager.order_by("pk").values())
        for model in apps.get_models()
        if model is not Session
    }


def nobody() -> Client:
    return Client()


def staff(*permissions: Permission, group: str | None = None) -> Client:
    user = User.objects.create_user("somebody", is_staff=True, last_login=timezone.now())
    user.user_permissions.set(permissions)
    if group is not None:
        user.groups.add(Group.objects.get(name=group))
    client = Client()
    client.force_login(user)
    return client


def viewer() -> Client:
    return staff(group=VIEWERS)


def viewer_of_all() -> Client:
    return staff(*Permission.objects.filter(codename__startswith="view_"))


WITHOUT_LEAVE = [nobody, staff, viewer, viewer_of_all]
without_leave = pytest.mark.parametrize("somebody", WITHOUT_LEAVE, ids=lambda one: one.__name__)


@contextmanager
def nothing_changed() -> Iterator[None]:
    before = everything()
    yield
    assert everything() == before


def test_there_is_something_to_walk() -> None:
    assert len(ACTIONS) > 20
    assert len(list(pages(admin.site.urls[0]))) > 60
    assert all(model.objects.exists() for model in (Endpoint, ApiKey, PeriodicTask))


@pytest.mark.parametrize(("model_admin", "name", "function"), ACTIONS)
def test_an_action_says_which_permission_it_takes_and_the_admin_can_tell_who_has_it(
    model_admin: Any, name: str, function: Any
) -> None:
    assert function.allowed_permissions, f"{name} is for everybody who may look"
    for permission in function.allowed_permissions:
        assert callable(getattr(model_admin, f"has_{permission}_permission"))
        assert permission != "view"


@without_leave
@pytest.mark.parametrize(("model_admin", "name", "function"), ACTIONS)
def test_an_action_that_is_forged_changes_nothing(
    somebody: Callable[[], Client], model_admin: Any, name: str, function: Any
) -> None:
    rows = model_admin.model._default_manager.values_list("pk", flat=True)
    forged = {
        "action": name,
        "_selected_action": list(rows),
        "select_across": "1",
        "post": "yes",
        "confirmed": "yes",
    }
    url = f"/admin/{model_admin.opts.app_label}/{model_admin.opts.model_name}/"
    client = somebody()
    with nothing_changed():
        answer = client.post(url, forged)
    # The list is shown again to those who may look.
    assert answer.status_code in ((200, 302, 403) if "viewer" in somebody.__name__ else (302, 403))
    assert not SECRET.search(answer.content.decode())


def pages(patterns: list[Any], prefix: str = "/admin/") -> Iterator[tuple[str, str, Any]]:
    """Every URL of the admin: its name, its path, and the model whose rows it is for."""
    for one in patterns:
        path = prefix + str(one.pattern)
        if isinstance(one, URLResolver):
            yield from pages(one.url_patterns, path)
        elif isinstance(one, URLPattern):
            view = getattr(one.callback, "model_admin", None)
            yield one.name or "", path, view and view.model


def paths_of(path: str, model: Any) -> list[str]:
    path = re.sub(r"<int:\w+>", "1", path)
    path = re.sub(r"\^?\(\?P<\w+>.*$", "subscriptions/", path)
    if "<path:object_id>" not in path:
        return [re.sub(r"<[^>]*>", "x", path)]
    keys = [] if model is None else model._default_manager.values_list("pk", flat=True)[:2]
    return [path.replace("<path:object_id>", quote(str(key))) for key in keys]


@without_leave
def test_no_page_takes_anything_from_them(somebody: Callable[[], Client]) -> None:
    client = somebody()
    with nothing_changed():
        for name, template, model in pages(admin.site.urls[0]):
            if name in HARMLESS:
                continue
            for path in paths_of(template, model):
                for method in ("post", "put", "patch", "delete"):
                    answer = getattr(client, method)(path, {"url": "x"})
                    assert answer.status_code in (200, 302, 403, 404, 405), path
                    assert not SECRET.search(answer.content.decode()), path


@pytest.mark.parametrize("somebody", [nobody, staff], ids=lambda one: one.__name__)
def test_no_page_shows_anything_to_whoever_may_not_look(somebody: Callable[[], Client]) -> None:
    client, endpoint = somebody(), Endpoint.objects.all()[0]
    for name, template, model in pages(admin.site.urls[0]):
        for path in paths_of(template, model):
            answer = client.get(path)
            assert answer.status_code in (200, 302, 403, 404, 405), path
            if answer.status_code == 200:
                assert name in {*HARMLESS, "index", "search"}, path
            assert endpoint.pk not in answer.content.decode()


def test_whoever_may_change_users_gives_nobody_rights_and_leaves_superusers_alone() -> None:
    may = Permission.objects.filter(codename__in=["add_user", "change_user", "delete_user"])
    client = staff(*may)
    somebody = User.objects.get(username="somebody")
    root = User.objects.create_superuser("root", password="correct horse")
    form = {
        "username": "anahita",
        "is_active": "on",
        "is_staff": "on",
        "is_superuser": "on",
        "groups": [str(Group.objects.get(name=VIEWERS).pk)],
        "user_permissions": [str(Permission.objects.get(codename="delete_user").pk)],
        "date_joined_0": "2026-01-01",
        "date_joined_1": "00:00:00",
    }
    assert client.post(f"/admin/auth/user/{somebody.pk}/change/", form).status_code == 302
    somebody.refresh_from_db()
    assert somebody.username == "anahita"
    assert not somebody.is_superuser
    assert not somebody.groups.exists()
    assert set(somebody.user_permissions.all()) == set(may)

    new = {"password1": "another battery", "password2": "another battery", "post": "yes", **form}
    for page in ("change", "password", "delete"):
        answer = client.post(f"/admin/auth/user/{root.pk}/{page}/", new)
        assert answer.status_code == 403, page
    root.refresh_from_db()
    assert (root.username, root.check_password("correct horse")) == ("root", True)


def test_whoever_may_change_groups_gives_their_members_nothing() -> None:
    client = staff(Permission.objects.get(codename="change_group"), group=VIEWERS)
    group = Group.objects.get(name=VIEWERS)
    before = set(group.permissions.all())
    every = [str(one.pk) for one in Permission.objects.all()]
    form = {"name": "Angarium watchers", "permissions": every}
    assert client.post(f"/admin/auth/group/{group.pk}/change/", form).status_code == 302
    group.refresh_from_db()
    assert (group.name, set(group.permissions.all())) == ("Angarium watchers", before)
