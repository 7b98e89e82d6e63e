"""What holds on every route of the API."""

from typing import Any

import pytest
from django.http import HttpResponse
from rest_framework.test import APIClient

from subscriptions.api.parsing import MAX_BODY_BYTES, MAX_DEPTH
from subscriptions.api.viewsets import ApiViewSet
from subscriptions.models import ApiKey
from tests.api_client import client_of, faults
from tests.api_routes import ROUTES, Route

pytestmark = pytest.mark.django_db

Scope = ApiKey.Scope
WRITING = [route for route in ROUTES if route.writes]
LISTS = [route for route in ROUTES if route.action == "list"]

each_route = pytest.mark.parametrize("route", ROUTES, ids=str)
each_writing_route = pytest.mark.parametrize("route", WRITING, ids=str)


def send(client: APIClient, route: Route, *body: Any, **options: Any) -> HttpResponse:
    response: HttpResponse = getattr(client, route.method)(route.path(), *body, **options)
    return response


def test_the_walk_finds_the_routes() -> None:
    assert len(ROUTES) == len(set(ROUTES)) > 35
    assert len(WRITING) > 20
    assert len(LISTS) == 11


@each_route
def test_a_route_is_held_to_what_all_are_and_declares_what_it_takes(route: Route) -> None:
    assert issubclass(route.view, ApiViewSet)
    assert route.view.scopes[route.action] in Scope


@each_route
@pytest.mark.parametrize("scope", Scope)
def test_a_key_gets_in_with_the_scope_and_a_key_without_is_told_which(
    route: Route, scope: ApiKey.Scope
) -> None:
    needed = route.view.scopes[route.action]
    response = send(client_of(ApiKey(name="a", scopes=[scope])), route)
    if scope == needed or (scope, needed) == (Scope.MANAGE, Scope.READ):
        assert response.status_code not in (401, 403)
    else:
        assert (response.status_code, faults(response)) == (403, ["detail"])
        assert f'"{needed}"' in response.json()["detail"]  # type: ignore[attr-defined]


def test_scopes_add_up() -> None:
    client = client_of(ApiKey(name="a", scopes=[Scope.EMIT, Scope.READ]))
    statuses = {str(route): send(client, route).status_code for route in ROUTES}
    refused = {name for name, status in statuses.items() if status == 403}
    takes_manage = {
        str(route) for route in ROUTES if route.view.scopes[route.action] == Scope.MANAGE
    }
    assert refused == takes_manage


@pytest.mark.parametrize("method", ["put", "trace", "options"])
@each_route
def test_a_method_that_a_route_does_not_have_is_refused(
    api: APIClient, route: Route, method: str
) -> None:
    assert getattr(api, method)(route.path()).status_code == 405


@each_writing_route
@pytest.mark.parametrize("content_type", ["text/plain", "application/xml", "multipart/form-data"])
def test_a_body_that_is_no_json_is_refused(api: APIClient, route: Route, content_type: str) -> None:
    response = send(api, route, data=b"{}", content_type=content_type)
    assert (response.status_code, faults(response)) == (415, ["detail"])


@each_writing_route
def test_a_body_over_the_limit_is_refused(api: APIClient, route: Route) -> None:
    body = b" " * (MAX_BODY_BYTES + 1)
    response = send(api, route, data=body, content_type="application/json")
    assert (response.status_code, faults(response)) == (413, ["detail"])


@each_writing_route
def test_a_body_that_is_nested_too_deeply_is_refused(api: APIClient, route: Route) -> None:
    body = b'{"a": ' * MAX_DEPTH + b"[]" + b"}" * MAX_DEPTH
    response = send(api, route, data=body, content_type="application/json")
    assert (response.status_code, faults(response)) == (400, ["detail"])


@pytest.mark.parametrize("route", LISTS, ids=str)
def test_a_page_has_a_bound(api: APIClient, route: Route) -> None:
    assert route.view.pagination_class.page_size == 50
    assert route.view.pagination_class.max_page_size == 200
    page = api.get(route.path(), {"page_size": 10**9}).json()
    assert set(page) == {"next", "previous", "results"}
