"""What REDIS_URL may be, and what a client makes of it."""

from collections.abc import Iterator

import pytest
from redis import ConnectionError as NotConnected

from subscriptions.redis_address import RedisAddress
from subscriptions.server_url import InvalidServerUrl
from tests.redis_tls import own_certificate, redis_over_tls
from tests.webhooks.sending.certificates import Authority


@pytest.mark.parametrize(
    ("url", "nodes", "database"),
    [
        ("redis://cache", (("cache", 6379),), 0),
        ("redis://cache:7000/3", (("cache", 7000),), 3),
        ("rediss://[::1]:7000/", (("::1", 7000),), 0),
        ("sentinel://a,b:7000/1?master=m", (("a", 26379), ("b", 7000)), 1),
    ],
)
def test_a_url_names_hosts_ports_and_a_database(
    url: str, nodes: tuple[tuple[str, int], ...], database: int
) -> None:
    address = RedisAddress.parse(url)
    assert (address.nodes, address.database) == (nodes, database)


def test_logins_are_read_and_not_shown() -> None:
    address = RedisAddress.parse(
        "sentinels://worker:p%40ss@a:1,b:2/0?master=m&sentinel_password=hush"
    )
    assert (address.username, address.password) == ("worker", "p@ss")
    assert address.sentinel_login == {"password": "hush"}
    assert "p@ss" not in repr(address)
    assert "hush" not in repr(address)


def test_over_tls_certificates_are_verified_unless_the_url_says_not_to() -> None:
    verified, trusting = (
        {"ssl_cert_reqs": "required", "ssl_check_hostname": True},
        {
            "ssl_cert_reqs": "none",
            "ssl_check_hostname": False,
        },
    )
    assert RedisAddress.parse("rediss://cache").tls == verified
    assert RedisAddress.parse("sentinels://a?master=m").tls == verified
    assert RedisAddress.parse("rediss://cache?ssl_cert_reqs=none").tls == trusting
    assert RedisAddress.parse("redis://cache").tls == {}


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://cache", "Begin it with one of redis, rediss, sentinel, sentinels"),
        ("redis://cache?ssl_cert_reqs=none", "Take ssl_cert_reqs out of it"),
        ("redis://a,b", "Name one host, or the Sentinels with sentinel://"),
        ("redis://cache/first", "End its path with a database's number"),
        ("redis://cache:port", "Name a host and its port"),
        ("sentinel://a,b/0", r"Add \?master="),
        ("rediss://cache?ssl_cert_reqs=maybe", "Set ssl_cert_reqs to required or none"),
    ],
)
def test_a_url_that_cannot_be_used_says_what_to_change(url: str, says: str) -> None:
    with pytest.raises(InvalidServerUrl, match=says):
        RedisAddress.parse(url)


@pytest.fixture(scope="module")
def url(authority: Authority) -> Iterator[str]:
    with redis_over_tls(authority) as url:
        yield url


@pytest.fixture(scope="module")
def ours(authority: Authority) -> str:
    return own_certificate(authority)


class TestOverTls:
    def ping(self, url: str) -> bool:
        return bool(RedisAddress.parse(url).client(patience=2.0).ping())

    def test_an_authority_of_one_s_own_and_a_client_s_certificate_will_do(
        self, url: str, authority: Authority, ours: str
    ) -> None:
        assert self.ping(f"{url}?ssl_ca_certs={authority.bundle}&{ours}")

    def test_a_certificate_that_nobody_vouches_for_is_refused(self, url: str, ours: str) -> None:
        with pytest.raises(NotConnected, match="certificate verify failed"):
            self.ping(f"{url}?{ours}")
        assert self.ping(f"{url}?ssl_cert_reqs=none&{ours}")

    def test_a_certificate_for_another_host_is_refused(
        self, url: str, authority: Authority, ours: str
    ) -> None:
        elsewhere = url.replace("localhost", "127.0.0.1")
        with pytest.raises(NotConnected, match="certificate verify failed"):
            self.ping(f"{elsewhere}?ssl_ca_certs={authority.bundle}&{ours}")

    def test_a_server_that_asks_for_a_certificate_lets_nobody_in_without(
        self, url: str, authority: Authority
    ) -> None:
        with pytest.raises(NotConnected):
            self.ping(f"{url}?ssl_ca_certs={authority.bundle}")
