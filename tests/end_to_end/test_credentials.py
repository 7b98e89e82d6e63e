"""Custom headers, OAuth2 and mutual TLS, from the endpoint's row to a real endpoint and back."""

import ssl
from collections.abc import Iterator

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse

from deliveries.emit import emit
from deliveries.models import Attempt, DeadLetter, Delivery
from subscriptions.authentication import (
    BasicAuthentication,
    MutualTLS,
    OAuth2ClientCredentials,
)
from tests import processes
from tests.conftest import MakeEndpoint
from tests.end_to_end.test_deliveries import all_ended
from tests.processes import Process, wait_until
from tests.receiver import Answer, Received, Receiver
from tests.webhooks.sending.behaviours import UNAUTHORIZED, saying, telling_who
from tests.webhooks.sending.certificates import Authority
from tests.webhooks.sending.hostile_receiver import HostileReceiver
from tests.webhooks.sending.token_server import CLIENT, Issuer

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def worker(
    django_db_setup: None,
    tmp_path_factory: pytest.TempPathFactory,
    lane: str,
    authority: Authority,
) -> Iterator[Process]:
    log = tmp_path_factory.mktemp("logs") / "worker.log"
    trust = str(authority.bundle)
    with processes.worker(log, LANE=lane, ANGARIUM_CA_BUNDLE=trust) as process:
        yield process


def test_custom_headers_and_a_password_arrive_beside_the_signature(
    worker: Process, make_endpoint: MakeEndpoint, receiver: Receiver
) -> None:
    endpoint = make_endpoint(url=receiver.url())
    endpoint.set_credentials(
        headers={"X-Tenant": "isfahan"},
        authentication=BasicAuthentication("Aladdin", "open sesame"),
    )
    endpoint.save()
    emit("invoice.paid", {})
    [request] = receiver.wait_for(1)
    assert request.headers["x-tenant"] == "isfahan"
    assert request.headers["authorization"] == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    assert request.headers["webhook-signature"].startswith("v1,")
    wait_until(all_ended, "the record")


def test_one_token_serves_many_deliveries_until_it_is_refused(
    worker: Process, make_endpoint: MakeEndpoint, receiver: Receiver
) -> None:
    issuer = Issuer()

    def no_more_of_the_first(request: Received, _: int) -> Answer:
        stale = b'"late"' in request.body and request.headers["authorization"].endswith("token-1-")
        return Answer(401 if stale else 200)

    receiver.answers["/hook"] = no_more_of_the_first
    with HostileReceiver(issuer) as token_server:
        endpoint = make_endpoint(url=receiver.url())
        endpoint.set_credentials(
            authentication=OAuth2ClientCredentials(token_server.url(), *CLIENT, scope="hooks")
        )
        endpoint.save()
        emit("invoice.paid", "first")
        wait_until(all_ended, "the first")
        for _ in range(10):
            emit("invoice.paid", "next")
        wait_until(all_ended, "the next")
        shown = {request.headers["authorization"] for request in receiver.received}
        before = {token.strip("-") for token in issuer.issued}
        emit("invoice.paid", "late")
        wait_until(all_ended, "the last")
    assert not Delivery.objects.exclude(state="delivered").exists()
    assert shown == {f"Bearer {token}-" for token in before}
    assert issuer.forms[0] == {"grant_type": "client_credentials", "scope": "hooks"}
    late = [one for one in receiver.received if b'"late"' in one.body]
    assert late[-1].headers["authorization"] == f"Bearer {issuer.issued[-1]}"


def test_without_a_token_an_attempt_fails_and_says_so(
    worker: Process, make_endpoint: MakeEndpoint, receiver: Receiver
) -> None:
    with HostileReceiver(saying(UNAUTHORIZED)) as token_server:
        endpoint = make_endpoint(url=receiver.url())
        endpoint.set_credentials(
            authentication=OAuth2ClientCredentials(token_server.url(), *CLIENT)
        )
        endpoint.save()
        emit("invoice.paid", {})
        wait_until(all_ended, "the dead letter")
    assert {attempt.outcome for attempt in Attempt.objects.all()} == {"authorization_failed"}
    assert DeadLetter.objects.get().last_error == (
        "no OAuth2 token could be fetched: answered 401 Unauthorized"
    )
    assert receiver.received == []


def test_a_client_certificate_is_shown_to_the_endpoint_it_belongs_to(
    worker: Process, make_endpoint: MakeEndpoint, authority: Authority
) -> None:
    tls = authority.server_context("127.0.0.1", asks=ssl.CERT_OPTIONAL)
    with HostileReceiver(telling_who, tls=tls) as receiver:
        for name in ("one", "other"):
            endpoint = make_endpoint(url=receiver.url(f"/{name}"))
            pair = authority.certificate(f"{name}.example")
            endpoint.set_credentials(authentication=MutualTLS(pair.chain, pair.key))
            endpoint.save()
        make_endpoint(url=receiver.url("/neither"))
        for _ in range(3):
            emit("invoice.paid", {})
        wait_until(all_ended, "the record")
    told = {
        (url.rpartition("/")[2], body)
        for url, body in Attempt.objects.values_list("delivery__endpoint__url", "response_body")
    }
    assert told == {("one", '["one.example"]'), ("other", '["other.example"]'), ("neither", "[]")}


def test_no_secret_is_in_the_log_the_database_or_the_admin(
    worker: Process, make_endpoint: MakeEndpoint, receiver: Receiver, admin_client: Client
) -> None:
    def echo(request: Received, _: int) -> Answer:
        return Answer(500, str(request.headers).encode())

    issuer = Issuer()
    receiver.answers["/hook"] = echo
    with HostileReceiver(issuer) as token_server:
        by_password, by_token = (make_endpoint(url=receiver.url()) for _ in range(2))
        by_password.set_credentials(
            headers={"X-Key": "swordfish"},
            authentication=BasicAuthentication("Aladdin", "open sesame"),
        )
        by_password.save()
        by_token.set_credentials(
            authentication=OAuth2ClientCredentials(token_server.url(), *CLIENT)
        )
        by_token.save()
        emit("invoice.paid", {})
        wait_until(all_ended, "the dead letters")
    assert Attempt.objects.filter(response_body__contains="[secret]").count() == 8

    pages = [
        admin_client.get(reverse(f"admin:{name}", args=args)).content.decode()
        for name, args in [
            ("subscriptions_endpoint_changelist", []),
            ("subscriptions_endpoint_change", [by_password.pk]),
            ("subscriptions_endpoint_change", [by_token.pk]),
            *(("deliveries_delivery_change", [one.pk]) for one in Delivery.objects.all()),
        ]
    ]
    assert "[secret]" in "".join(pages)
    told = worker.text() + "".join(pages) + everything_stored()
    for secret in ("swordfish", "open sesame", "QWxhZGRpbjpvcGVuIHNlc2FtZQ==", CLIENT[1], "token-"):
        assert secret not in told


def everything_stored() -> str:
    with connection.cursor() as cursor:
        text = ""
        for table in connection.introspection.table_names():
            cursor.execute(f'SELECT * FROM "{table}"')
            text += str(cursor.fetchall())
    return text
