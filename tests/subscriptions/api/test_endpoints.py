import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone
from rest_framework.test import APIClient

from subscriptions import encryption
from subscriptions.models import ApiKey, Endpoint, SigningSecret, Subscriber, Subscription
from tests.api_client import faults, queries_of_get, written
from tests.conftest import Configure, MakeEndpoint
from webhooks.keys import Kind

ENDPOINTS = "/api/v1/endpoints/"
URL = "https://example.com/webhooks"
OWN_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OWN_TEXT = "the one they have known for years"
OWN_PRIVATE_KEY = "whsk_VEVTVFNJR05JTkdLRVlET05PVFVTRVRISVNGT1JBTlk="

BAD_URLS = [
    "",
    "nonsense",
    "ftp://example.com/",
    "https://10.0.0.1/",
    "https://169.254.169.254/latest/meta-data/",
    "https://[::1]/",
    "https://user:password@example.com/",
    "https://example.com:22/",
    "https://example.com/\0",
    "https://example.com/" + "x" * 2048,
    5,
    None,
    ["https://example.com/"],
]


def path_of(endpoint: Endpoint, action: str = "") -> str:
    return f"{ENDPOINTS}{endpoint.pk}/{action}"


def shown(**changes: Any) -> dict[str, Any]:
    return {
        "url": URL,
        "description": "",
        "subscriptions": [],
        "public_keys": [],
        "header_names": [],
        "authentication": {"kind": "none"},
        "signature_profile": "standard",
        "rate": "",
        "burst": None,
        "format": "standard",
        "payload": "full",
        "projection": "",
        "gzip_above": None,
        "send_traceparent": False,
        "batch_events": None,
        "batch_seconds": 5,
        "batch_bytes": 262144,
        "ordered": False,
        "state": "active",
        "disabled_reason": "",
        "handshake": None,
        "last_success_at": None,
        "last_failure_at": None,
        "failing_since": None,
        "failure_warning": 0,
        "circuit": "closed",
        "circuit_opened_at": None,
        "openings": 0,
        "probe_at": None,
        **changes,
    }


def test_an_endpoint_is_added_with_what_it_asks_for_and_its_secret_is_shown_once(
    api: APIClient, subscriber: Subscriber
) -> None:
    response = api.post(
        ENDPOINTS,
        {
            "subscriber": subscriber.pk,
            "url": URL,
            "description": "Bookkeeping",
            "subscriptions": ["order.shipped", "invoice.*", "invoice.*"],
        },
    )
    assert response.status_code == 201
    assert response.headers["Cache-Control"] == "no-store"
    endpoint = Endpoint.objects.get()
    added = response.json()
    secret = added.pop("secret")
    assert added.pop("warnings") == []
    assert secret == SigningSecret.objects.get(endpoint=endpoint).reveal()
    assert added == shown(
        id=endpoint.pk,
        subscriber=subscriber.pk,
        description="Bookkeeping",
        subscriptions=["invoice.*", "order.shipped"],
        created_at=written(endpoint.created_at),
    )
    assert api.get(path_of(endpoint)).json() == added
    assert api.get(ENDPOINTS).json()["results"] == [added]


def test_an_endpoint_says_in_which_shape_it_wants_its_events(
    api: APIClient, subscriber: Subscriber
) -> None:
    body = {"subscriber": subscriber.pk, "url": URL}
    shape = {"payload": "projection", "projection": "{id: id}", "gzip_above": 1000}
    added = api.post(ENDPOINTS, {**body, "format": "cloudevents", **shape}).json()
    assert {name: added[name] for name in shape} == shape
    path = path_of(Endpoint.objects.get())
    changed = api.patch(path, {"payload": "thin", "projection": ""}).json()
    assert (changed["format"], changed["payload"]) == ("cloudevents", "thin")


@pytest.mark.parametrize(
    ("shape", "field"),
    [
        ({"format": "xml"}, "format"),
        ({"payload": "half"}, "payload"),
        ({"payload": "projection"}, "projection"),
        ({"payload": "projection", "projection": "lines[?"}, "projection"),
        ({"payload": "projection", "projection": "x" * 5000}, "projection"),
        ({"projection": "id"}, "projection"),
        ({"gzip_above": -1}, "gzip_above"),
        ({"batch_events": 1}, "batch_events"),
        ({"batch_events": 1001}, "batch_events"),
        ({"batch_seconds": 0}, "batch_seconds"),
        ({"batch_bytes": 100}, "batch_bytes"),
        ({"gzip_above": 2**31}, "gzip_above"),
        ({"ordered": True, "batch_events": 10}, "ordered"),
    ],
)
def test_a_shape_that_makes_no_sense_is_refused_with_the_reason(
    api: APIClient, subscriber: Subscriber, make_endpoint: MakeEndpoint, shape: Any, field: str
) -> None:
    endpoint = make_endpoint(url=URL)
    added = api.post(ENDPOINTS, {"subscriber": subscriber.pk, "url": URL, **shape})
    changed = api.patch(path_of(endpoint), shape)
    for response in (added, changed):
        assert response.status_code == 400
        assert list(faults(response)) == [field]
    assert Endpoint.objects.get() == endpoint


def test_what_an_endpoint_asks_for_comes_back_as_it_was_sent(
    api: APIClient, subscriber: Subscriber
) -> None:
    asked = [
        "order.shipped",
        {"pattern": "order.shipped", "channels": ["eu", "us"], "filter": ""},
        {"pattern": "order.shipped", "channels": [], "filter": "weight > `10`"},
    ]
    body = {"subscriber": subscriber.pk, "url": URL, "subscriptions": asked}
    added = api.post(ENDPOINTS, body).json()
    assert added["subscriptions"] == asked
    path = f"{ENDPOINTS}{added['id']}/"
    kept, *_ = Subscription.objects.all()
    answer = api.patch(path, {"subscriptions": [*asked[1:], {"pattern": "a", "filter": ""}]})
    assert answer.json()["subscriptions"] == ["a", *asked[1:]]
    assert not Subscription.objects.filter(pk=kept.pk).exists()
    assert Subscription.objects.filter(pattern="order.shipped").count() == 2


def test_a_list_switches_on_what_it_names(api: APIClient, make_endpoint: MakeEndpoint) -> None:
    endpoint = make_endpoint("a")
    Subscription.objects.update(enabled=False, filter="b")
    asked = [{"pattern": "a", "channels": [], "filter": "b"}]
    assert api.get(path_of(endpoint)).json()["subscriptions"] == []
    before = Subscription.objects.get()
    assert api.patch(path_of(endpoint), {"subscriptions": asked}).json()["subscriptions"] == asked
    assert Subscription.objects.get() == before


def test_an_endpoint_may_bring_its_own_secret(api: APIClient, subscriber: Subscriber) -> None:
    body = {"subscriber": subscriber.pk, "url": URL, "secret": OWN_SECRET}
    assert api.post(ENDPOINTS, body).json()["secret"] == OWN_SECRET
    assert SigningSecret.objects.get().reveal() == OWN_SECRET


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        *[({"url": url}, "url") for url in BAD_URLS],
        ({"subscriber": None}, "subscriber"),
        ({"subscriber": "nonsense"}, "subscriber"),
        ({"subscriber": "sub_" + "f" * 32}, "subscriber"),
        ({"subscriber": "ep_" + "f" * 32}, "subscriber"),
        ({"subscriber": {"id": 1}}, "subscriber"),
        ({"subscriber": True}, "subscriber"),
        ({"description": "x" * 501}, "description"),
        ({"subscriptions": "invoice.*"}, "subscriptions"),
        ({"subscriptions": None}, "subscriptions"),
        ({"subscriptions": ["*.paid"]}, "subscriptions"),
        ({"subscriptions": ["invoice.*", ""]}, "subscriptions"),
        ({"subscriptions": [None]}, "subscriptions"),
        ({"subscriptions": [{}]}, "subscriptions"),
        ({"subscriptions": ["a\0b"]}, "subscriptions"),
        ({"subscriptions": ["a" * 129]}, "subscriptions"),
        ({"subscriptions": [f"a{n}" for n in range(101)]}, "subscriptions"),
        ({"subscriptions": [{"pattern": "a", "filter": "b["}]}, "subscriptions"),
        ({"subscriptions": [{"pattern": "a", "channels": ["b c"]}]}, "subscriptions"),
        ({"subscriptions": [{"pattern": "a", "enabled": False}]}, "subscriptions"),
        ({"subscriptions": [{"filter": "a"}]}, "subscriptions"),
        ({"secret": ""}, "secret"),
        ({"secret": "password"}, "secret"),
        ({"secret": "whsec_c2hvcnQ="}, "secret"),
        ({"secret": "whsec_é"}, "secret"),
        ({"secret": "whpk_" + "A" * 43 + "="}, "secret"),
        ({"secret_kind": "rsa"}, "secret_kind"),
        ({"secret": OWN_SECRET, "secret_kind": "ed25519"}, "secret_kind"),
        ({"signature_profile": "gitlab"}, "signature_profile"),
        ({"signature_profile": None}, "signature_profile"),
        ({"signature_profile": "github", "secret": "too short"}, "secret"),
        ({"signature_profile": "stripe", "secret": OWN_PRIVATE_KEY}, "secret"),
        ({"signature_profile": "slack", "secret_kind": "ed25519"}, "secret_kind"),
        ({"secret": OWN_TEXT}, "secret"),
        ({"public_keys": []}, "public_keys"),
        ({"id": "ep_" + "0" * 32}, "id"),
        ({"state": "paused"}, "state"),
        ({"disabled_reason": "x"}, "disabled_reason"),
        ({"failing_since": None}, "failing_since"),
        ({"event_types": ["*"]}, "event_types"),
    ],
)
def test_what_is_wrong_with_an_endpoint_is_said_of_the_field(
    api: APIClient, subscriber: Subscriber, changes: dict[str, Any], field: str
) -> None:
    response = api.post(ENDPOINTS, {"subscriber": subscriber.pk, "url": URL, **changes})
    assert (response.status_code, faults(response)) == (400, [field])
    assert not Endpoint.objects.exists()
    assert not Subscription.objects.exists()
    assert not SigningSecret.objects.exists()


def test_a_secret_that_is_refused_is_not_repeated(api: APIClient, subscriber: Subscriber) -> None:
    body = {"subscriber": subscriber.pk, "url": URL, "secret": "hunter2-hunter2"}
    assert "hunter2" not in api.post(ENDPOINTS, body).content.decode()


@pytest.mark.parametrize("missing", ["subscriber", "url"])
def test_an_endpoint_needs_an_owner_and_a_url(
    api: APIClient, subscriber: Subscriber, missing: str
) -> None:
    body = {"subscriber": subscriber.pk, "url": URL}
    del body[missing]
    response = api.post(ENDPOINTS, body)
    assert (response.status_code, faults(response)) == (400, [missing])


def test_url_and_description_can_be_changed_one_by_one(
    api: APIClient, make_endpoint: MakeEndpoint
) -> None:
    endpoint = make_endpoint("invoice.*", url=URL)
    changed = api.patch(path_of(endpoint), {"url": "https://example.org/"})
    assert changed.status_code == 200
    assert changed.json()["url"] == "https://example.org/"
    assert api.patch(path_of(endpoint), {"description": "x"}).json()["description"] == "x"
    endpoint.refresh_from_db()
    assert (endpoint.url, endpoint.description) == ("https://example.org/", "x")
    assert [one.pattern for one in endpoint.subscriptions.all()] == ["invoice.*"]


@pytest.mark.parametrize("url", BAD_URLS)
def test_a_changed_url_is_judged_as_a_new_one(
    api: APIClient, make_endpoint: MakeEndpoint, url: Any
) -> None:
    endpoint = make_endpoint(url=URL)
    response = api.patch(path_of(endpoint), {"url": url})
    assert (response.status_code, faults(response)) == (400, ["url"])
    endpoint.refresh_from_db()
    assert endpoint.url == URL


@pytest.mark.parametrize(
    "field", ["id", "subscriber", "state", "disabled_reason", "created_at", "secret", "color"]
)
def test_nothing_else_of_an_endpoint_can_be_changed(
    api: APIClient, make_endpoint: MakeEndpoint, field: str
) -> None:
    other = Subscriber.objects.create(name="Croesus")
    endpoint = make_endpoint(url=URL)
    response = api.patch(path_of(endpoint), {field: other.pk, "url": "https://example.org/"})
    assert (response.status_code, faults(response)) == (400, [field])
    endpoint.refresh_from_db()
    assert (endpoint.subscriber != other, endpoint.url) == (True, URL)


def test_a_list_of_subscriptions_takes_the_place_of_the_one_before(
    api: APIClient, make_endpoint: MakeEndpoint
) -> None:
    endpoint, untouched = make_endpoint("a", "b.*", "c"), make_endpoint("a")
    kept = endpoint.subscriptions.get(pattern="b.*")
    endpoint.subscriptions.filter(pattern="c").update(enabled=False)
    assert api.get(path_of(endpoint)).json()["subscriptions"] == ["a", "b.*"]
    changed = api.patch(path_of(endpoint), {"subscriptions": ["c", "b.*", "d", "d"]})
    assert changed.json()["subscriptions"] == ["b.*", "c", "d"]
    assert all(endpoint.subscriptions.values_list("enabled", flat=True))
    assert endpoint.subscriptions.get(pattern="b.*") == kept
    assert api.patch(path_of(endpoint), {"subscriptions": []}).json()["subscriptions"] == []
    assert untouched.subscriptions.count() == 1


def test_half_a_change_is_none(api: APIClient, make_endpoint: MakeEndpoint) -> None:
    endpoint = make_endpoint("a", url=URL)
    response = api.patch(path_of(endpoint), {"subscriptions": ["b"], "url": "nonsense"})
    assert response.status_code == 400
    assert [one.pattern for one in endpoint.subscriptions.all()] == ["a"]


def test_a_deleted_endpoint_is_hidden_and_kept_for_the_record(
    api: APIClient, make_endpoint: MakeEndpoint
) -> None:
    endpoint = make_endpoint()
    assert api.delete(path_of(endpoint)).status_code == 204
    endpoint.refresh_from_db()
    assert endpoint.state == "deleted"
    assert not SigningSecret.objects.exists()
    assert api.get(ENDPOINTS).json()["results"] == []
    requests = [
        api.get(path_of(endpoint)),
        api.patch(path_of(endpoint), {"description": "x"}),
        api.delete(path_of(endpoint)),
        api.get(path_of(endpoint, "secret/")),
        *[
            api.post(path_of(endpoint, f"{action}/"))
            for action in ("pause", "resume", "rotate-secret", "expire-secrets", "test")
        ],
    ]
    assert {response.status_code for response in requests} == {404}
    endpoint.refresh_from_db()
    assert endpoint.state == "deleted"


def test_an_endpoint_is_paused_and_resumed(api: APIClient, make_endpoint: MakeEndpoint) -> None:
    endpoint = make_endpoint()
    assert api.post(path_of(endpoint, "pause/")).json()["state"] == "paused"
    endpoint.refresh_from_db()
    assert endpoint.state == "paused"
    assert api.post(path_of(endpoint, "resume/")).json()["state"] == "active"
    endpoint.refresh_from_db()
    assert endpoint.state == "active"


def test_a_circuit_that_is_open_shows_and_is_closed_by_hand(
    api: APIClient, make_endpoint: MakeEndpoint
) -> None:
    endpoint = make_endpoint()
    now = timezone.now()
    Endpoint.objects.update(circuit="open", openings=2, circuit_opened_at=now, probe_at=now)
    broken = api.get(path_of(endpoint)).json()
    assert (broken["state"], broken["circuit"], broken["openings"]) == ("active", "open", 2)
    assert broken["probe_at"] == written(now)
    assert api.get(ENDPOINTS, {"circuit": "open"}).json()["results"] == [broken]
    closed = api.post(path_of(endpoint, "close-circuit/")).json()
    assert (closed["circuit"], closed["openings"], closed["probe_at"]) == ("closed", 0, None)
    assert api.get(ENDPOINTS, {"circuit": "open"}).json()["results"] == []


@pytest.mark.parametrize("field", ["circuit", "openings", "probe_at", "failure_warning"])
def test_how_it_fares_is_not_for_anybody_to_say(
    api: APIClient, make_endpoint: MakeEndpoint, field: str
) -> None:
    answer = api.patch(path_of(make_endpoint()), {field: 1})
    assert (answer.status_code, faults(answer)) == (400, [field])


def test_an_endpoint_says_how_many_requests_it_bears(
    api: APIClient, make_endpoint: MakeEndpoint
) -> None:
    endpoint = make_endpoint()
    changed = api.patch(path_of(endpoint), {"rate": "20/m", "burst": 3}).json()
    assert (changed["rate"], changed["burst"]) == ("20/m", 3)
    for refused, field in (({"rate": "fast"}, "rate"), ({"rate": ""}, "burst")):
        answer = api.patch(path_of(endpoint), refused)
        assert (answer.status_code, faults(answer)) == (400, [field])


def test_a_disabled_endpoint_says_why_until_it_is_resumed(
    api: APIClient, make_endpoint: MakeEndpoint
) -> None:
    endpoint = make_endpoint(state="disabled", disabled_reason="It answered 410 Gone.")
    assert api.get(path_of(endpoint)).json()["disabled_reason"] == "It answered 410 Gone."
    assert api.post(path_of(endpoint, "resume/")).json()["disabled_reason"] == ""


@pytest.mark.django_db(transaction=True)
def test_what_is_asked_during_a_deletion_does_not_undo_it(
    api: APIClient, make_endpoint: MakeEndpoint
) -> None:
    endpoint = make_endpoint()

    def pause() -> int:
        try:
            return api.post(path_of(endpoint, "pause/")).status_code
        finally:
            connection.close()

    with ThreadPoolExecutor() as threads:
        with transaction.atomic():
            endpoint.delete_for_good()
            paused = threads.submit(pause)
            while not somebody_waits_for_a_lock():
                assert not paused.done()
        assert paused.result() == 404
    endpoint.refresh_from_db()
    assert endpoint.state == "deleted"


def somebody_waits_for_a_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
        [found] = cursor.fetchone()
    return bool(found)


def test_a_secret_is_revealed_and_that_is_logged_without_it(
    api: APIClient, make_endpoint: MakeEndpoint, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint = make_endpoint()
    with caplog.at_level(logging.INFO):
        response = api.get(path_of(endpoint, "secret/"))
    secret = SigningSecret.objects.get().reveal()
    assert response.json() == {"secret": secret, "public_key": None}
    assert response.headers["Cache-Control"] == "no-store"
    [record] = [record for record in caplog.records if endpoint.pk in record.getMessage()]
    assert record.levelno == logging.INFO
    assert ApiKey.objects.get().prefix in record.getMessage()
    assert secret not in caplog.text


def test_an_endpoint_without_a_secret_has_none_to_reveal(
    api: APIClient, make_endpoint: MakeEndpoint
) -> None:
    endpoint = make_endpoint()
    SigningSecret.objects.all().delete()
    assert api.get(path_of(endpoint, "secret/")).status_code == 404


@pytest.mark.parametrize("body", [None, {}, {"secret": None}, {"secret": OWN_SECRET}])
def test_a_secret_is_rotated_and_the_one_before_goes_on_for_a_while(
    api: APIClient, make_endpoint: MakeEndpoint, body: dict[str, str] | None
) -> None:
    endpoint = make_endpoint()
    before = SigningSecret.objects.get().reveal()
    after = api.post(path_of(endpoint, "rotate-secret/"), body).json()["secret"]
    assert after != before
    assert (after == OWN_SECRET) == (body == {"secret": OWN_SECRET})
    assert [one.reveal() for one in SigningSecret.objects.live()] == [after, before]
    assert api.get(path_of(endpoint, "secret/")).json() == {"secret": after, "public_key": None}


def test_an_ed25519_secret_is_shown_as_its_public_key_alone(
    api: APIClient, subscriber: Subscriber
) -> None:
    body = {"subscriber": subscriber.pk, "url": URL, "secret_kind": "ed25519"}
    added = api.post(ENDPOINTS, body)
    endpoint, first = Endpoint.objects.get(), SigningSecret.objects.get()
    assert (added.json()["secret"], added.json()["public_keys"]) == (None, [first.public_key])
    assert api.get(path_of(endpoint)).json()["public_keys"] == [first.public_key]

    rotated = api.post(path_of(endpoint, "rotate-secret/"))
    second = endpoint.signing_secrets.get(expires_at=None)
    assert rotated.json() == {"secret": None, "public_key": second.public_key}
    assert api.get(path_of(endpoint, "secret/")).json() == rotated.json()
    listed = api.get(ENDPOINTS)
    [shown_in_list] = listed.json()["results"]
    assert shown_in_list["public_keys"] == [second.public_key, first.public_key]
    assert api.patch(path_of(endpoint), {"subscriptions": ["a"]}).json()["public_keys"] == [
        second.public_key,
        first.public_key,
    ]
    private = [encryption.decrypt(secret.ciphertext) for secret in (first, second)]
    for response in (added, rotated, listed):
        assert not [one for one in private if one in response.content.decode()]


@pytest.mark.parametrize("body", [{"secret_kind": "ed25519"}, {"secret": OWN_PRIVATE_KEY}])
def test_a_secret_is_rotated_to_another_kind_and_back(
    api: APIClient, make_endpoint: MakeEndpoint, body: dict[str, str]
) -> None:
    endpoint = make_endpoint()
    there = api.post(path_of(endpoint, "rotate-secret/"), body).json()
    assert (there["secret"], there["public_key"][:5]) == (None, "whpk_")
    back = api.post(path_of(endpoint, "rotate-secret/"), {"secret_kind": "hmac"}).json()
    assert (back["secret"][:6], back["public_key"]) == ("whsec_", None)
    assert api.get(path_of(endpoint)).json()["public_keys"] == [there["public_key"]]
    assert SigningSecret.objects.live().count() == 3


@pytest.mark.django_db(transaction=True)
def test_of_two_rotations_at_once_one_replaces_the_other(
    api: APIClient, make_endpoint: MakeEndpoint
) -> None:
    endpoint = make_endpoint()

    def rotate(_: int) -> int:
        try:
            return api.post(path_of(endpoint, "rotate-secret/")).status_code
        finally:
            connection.close()

    with ThreadPoolExecutor() as threads:
        assert list(threads.map(rotate, range(4))) == [200] * 4
    assert endpoint.signing_secrets.count() == 5
    assert endpoint.signing_secrets.filter(expires_at=None).count() == 1


def test_replaced_secrets_are_expired_at_once(api: APIClient, make_endpoint: MakeEndpoint) -> None:
    endpoint = make_endpoint()
    SigningSecret.objects.issue(endpoint, kind=Kind.ED25519)
    newest = SigningSecret.objects.issue(endpoint, kind=Kind.HMAC)
    response = api.post(path_of(endpoint, "expire-secrets/"))
    assert (response.status_code, response.json()["public_keys"]) == (200, [])
    assert list(SigningSecret.objects.all()) == [newest]


def test_an_expired_key_is_not_shown_though_it_is_not_swept_up_yet(
    api: APIClient, make_endpoint: MakeEndpoint, configure: Configure
) -> None:
    configure(SECRET_OVERLAP=0)
    endpoint = make_endpoint()
    SigningSecret.objects.issue(endpoint, kind=Kind.ED25519)
    newest = SigningSecret.objects.issue(endpoint)
    assert api.get(path_of(endpoint)).json()["public_keys"] == [newest.public_key]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"secret": "password"}, "secret"),
        ({"secret": ""}, "secret"),
        ({"secret_kind": None}, "secret_kind"),
        ({"secret": OWN_PRIVATE_KEY, "secret_kind": "hmac"}, "secret_kind"),
        ({"public_key": "whpk_"}, "public_key"),
        ({"sekret": ""}, "sekret"),
    ],
)
def test_a_secret_is_not_rotated_to_something_else(
    api: APIClient, make_endpoint: MakeEndpoint, body: dict[str, Any], field: str
) -> None:
    response = api.post(path_of(make_endpoint(), "rotate-secret/"), body)
    assert (response.status_code, faults(response)) == (400, [field])
    assert SigningSecret.objects.get().expires_at is None


@pytest.mark.parametrize("profile", ["github", "stripe", "slack"])
def test_an_endpoint_with_another_signature_profile_may_bring_any_text_as_its_secret(
    api: APIClient, subscriber: Subscriber, profile: str
) -> None:
    body = {"subscriber": subscriber.pk, "url": URL, "signature_profile": profile}
    added = api.post(ENDPOINTS, {**body, "secret": OWN_TEXT}).json()
    assert (added["signature_profile"], added["secret"]) == (profile, OWN_TEXT)
    endpoint = Endpoint.objects.get()
    assert api.get(path_of(endpoint, "secret/")).json() == {"secret": OWN_TEXT, "public_key": None}
    rotated = api.post(path_of(endpoint, "rotate-secret/"), {"secret": OWN_TEXT[::-1]})
    assert rotated.json()["secret"] == OWN_TEXT[::-1]
    assert api.post(path_of(endpoint, "rotate-secret/")).json()["secret"][:6] == "whsec_"


def test_a_signature_profile_is_changed_and_changed_back(
    api: APIClient, make_endpoint: MakeEndpoint
) -> None:
    endpoint = make_endpoint(url=URL)
    for profile in ("github", "stripe", "slack", "standard"):
        changed = api.patch(path_of(endpoint), {"signature_profile": profile})
        assert (changed.status_code, changed.json()["signature_profile"]) == (200, profile)
        endpoint.refresh_from_db()
        assert endpoint.signature_profile == profile


@pytest.mark.parametrize(
    ("before", "secret", "after"),
    [("standard", OWN_PRIVATE_KEY, "github"), ("github", OWN_TEXT, "standard")],
)
def test_a_signature_profile_waits_until_no_live_secret_is_in_its_way(
    api: APIClient, make_endpoint: MakeEndpoint, before: str, secret: str, after: str
) -> None:
    endpoint = make_endpoint(url=URL, signature_profile=before)
    SigningSecret.objects.issue(endpoint, secret)
    SigningSecret.objects.issue(endpoint, kind=Kind.HMAC)
    refused = api.patch(path_of(endpoint), {"signature_profile": after})
    assert (refused.status_code, faults(refused)) == (400, ["signature_profile"])
    assert secret not in refused.content.decode()
    api.post(path_of(endpoint, "expire-secrets/"))
    changed = api.patch(path_of(endpoint), {"signature_profile": after})
    assert changed.json()["signature_profile"] == after


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"secret_kind": "ed25519"}, "secret_kind"),
        ({"secret": OWN_PRIVATE_KEY}, "secret"),
        ({"secret": "too short"}, "secret"),
        ({"secret": OWN_TEXT, "secret_kind": "ed25519"}, "secret_kind"),
    ],
)
def test_a_secret_is_not_rotated_to_one_that_the_profile_cannot_sign_with(
    api: APIClient, make_endpoint: MakeEndpoint, body: dict[str, Any], field: str
) -> None:
    endpoint = make_endpoint(signature_profile="github")
    response = api.post(path_of(endpoint, "rotate-secret/"), body)
    assert (response.status_code, faults(response)) == (400, [field])
    assert SigningSecret.objects.get().expires_at is None


def test_endpoints_are_filtered_by_subscriber_and_state(
    api: APIClient, subscriber: Subscriber, make_endpoint: MakeEndpoint
) -> None:
    other = Subscriber.objects.create(name="Croesus")
    theirs, paused = make_endpoint(owner=other), make_endpoint(state="paused")
    make_endpoint().delete_for_good()

    def found(**filters: str) -> list[str]:
        return [one["id"] for one in api.get(ENDPOINTS, filters).json()["results"]]

    assert found() == [paused.pk, theirs.pk]
    assert found(subscriber=other.pk) == [theirs.pk]
    assert found(state="paused") == [paused.pk]
    assert found(state="paused", subscriber=other.pk) == []


@pytest.mark.parametrize(
    ("filters", "field"),
    [
        ({"subscriber": "nonsense"}, "subscriber"),
        ({"subscriber": "ep_" + "0" * 32}, "subscriber"),
        ({"subscriber": "a\0b"}, "subscriber"),
        ({"state": "deleted"}, "state"),
        ({"state": "\0"}, "state"),
        ({"subscribr": "x"}, "subscribr"),
    ],
)
def test_a_filter_that_makes_no_sense_is_refused(
    api: APIClient, filters: dict[str, str], field: str
) -> None:
    response = api.get(ENDPOINTS, filters)
    assert (response.status_code, faults(response)) == (400, [field])


def test_a_list_takes_as_many_queries_for_twenty_as_for_one(
    api: APIClient, make_endpoint: MakeEndpoint
) -> None:
    make_endpoint("a", "b")
    for_one = queries_of_get(api, ENDPOINTS)
    for _ in range(19):
        make_endpoint("a", "b")
    assert queries_of_get(api, ENDPOINTS) == for_one
