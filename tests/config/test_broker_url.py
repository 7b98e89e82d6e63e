"""What BROKER_URL may be, and what the settings make of it."""

import ssl

import pytest
from django.core.exceptions import ImproperlyConfigured

from config.broker_url import broker_at


def test_one_redis_is_the_courier_s_in_bulk_and_the_plain_lane_s_by_kombu_s_own_transport() -> None:
    assert broker_at("redis://cache/1", "courier").transport == "config.broker:BulkTransport"
    assert broker_at("redis://cache/1", "courier", "redis").transport == "redis"
    assert broker_at("redis://cache/1", "plain").transport is None


def test_over_tls_kombu_verifies_as_our_own_clients_do() -> None:
    broker = broker_at("rediss://cache/0?ssl_ca_certs=/ca.pem", "courier")
    assert broker.transport == "config.broker:BulkTransport"
    assert broker.url == "rediss://cache/0"
    assert broker.use_ssl == {
        "ssl_ca_certs": "/ca.pem",
        "ssl_cert_reqs": "required",
        "ssl_check_hostname": True,
    }


def test_the_transport_knows_all_sentinels_and_how_to_ask_them() -> None:
    broker = broker_at(
        "sentinels://worker:secret@a,b:7000/2?master=m&sentinel_password=hush", "plain"
    )
    assert broker.transport == "config.broker:BulkSentinelTransport"
    assert broker.url == "sentinel://worker:secret@a/2"
    options = broker.transport_options
    assert options["sentinels"] == (("a", 26379), ("b", 7000))
    assert options["master_name"] == "m"
    asking = options["sentinel_kwargs"]
    assert (asking["ssl"], asking["password"]) == (True, "hush")
    assert 0 < asking["socket_timeout"] < 1


def test_on_rabbitmq_queues_are_quorum_queues() -> None:
    broker = broker_at("amqp://rabbit//", "plain")
    assert broker.queue_options["queue_arguments"] == {"x-queue-type": "quorum"}


def test_over_tls_rabbitmq_must_be_the_one_that_its_certificate_names() -> None:
    broker = broker_at("amqps://worker:secret@rabbit/v?ssl_ca_certs=/ca.pem", "plain")
    assert broker.url == "amqps://worker:secret@rabbit/v"
    verified = {"ca_certs": "/ca.pem", "cert_reqs": ssl.CERT_REQUIRED}
    assert broker.use_ssl == {**verified, "server_hostname": "rabbit"}
    broker = broker_at("amqps://rabbit?ssl_ca_certs=/ca.pem&ssl_check_hostname=false", "plain")
    assert broker.use_ssl == verified
    broker = broker_at("amqps://rabbit?ssl_cert_reqs=none", "plain")
    assert broker.use_ssl == {"cert_reqs": ssl.CERT_NONE}


@pytest.mark.parametrize(
    ("url", "lane", "says"),
    [
        ("amqp://rabbit//", "courier", "Set LANE=plain, or BROKER_URL to a Redis"),
        ("amqps://rabbit?ca=/ca.pem", "plain", "Take ca out of it: amqps:// has ssl_ca_certs"),
        ("sqs://queue", "plain", "Begin BROKER_URL with one of redis"),
        ("sentinel://a", "courier", r"BROKER_URL, or REDIS_URL: Add \?master="),
    ],
)
def test_a_broker_that_cannot_be_used_is_refused_with_what_to_change(
    url: str, lane: str, says: str
) -> None:
    with pytest.raises(ImproperlyConfigured, match=says):
        broker_at(url, lane)
