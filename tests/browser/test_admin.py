"""The admin in a real browser: every page of it, without a complaint."""

import pytest
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.contrib.auth.models import User
from django.urls import reverse
from playwright.sync_api import Page

from subscriptions.models import ApiKey, Subscriber
from tests.browser.conftest import TakePicture
from tests.browser.portal import fill_catalogue, furnish

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def server(transactional_db: None, live_server: object) -> str:
    fill_catalogue()
    furnish(Subscriber.objects.create(name="Isfahan Carpets"))
    ApiKey.objects.create_key(name="billing", scopes=["emit"])
    User.objects.create_superuser("anahita", password="correct horse")
    return live_server.url  # type: ignore[attr-defined, no-any-return]


def log_in(page: Page, server: str) -> None:
    page.goto(f"{server}/admin/")
    page.locator("#id_username").fill("anahita")
    page.locator("#id_password").fill("correct horse")
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{server}/admin/")


def pages() -> list[str]:
    """Every list and form, and the page of one row of each kind."""
    found = [reverse("admin:index")]
    for model in admin.site._registry:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        found.append(reverse(f"{name}_changelist"))
        for row in model._default_manager.all()[:1]:
            found += [
                reverse(f"{name}_{page}", args=[quote(row.pk)]) for page in ("change", "history")
            ]
    return found


def test_walk(server: str, page: Page, take_picture: TakePicture) -> None:
    log_in(page, server)
    for number, path in enumerate(pages()):
        page.goto(server + path)
        print(path)
        page.wait_for_timeout(100)
        take_picture(page, f"walk-{number}-{path.strip('/').replace('/', '-')[:40]}")
