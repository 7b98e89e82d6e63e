from ipaddress import IPv4Address, IPv6Address, ip_address
from socket import inet_aton
from urllib.parse import urlsplit

import pytest
import requests
from hypothesis import example, given, settings
from hypothesis import strategies as st
from requests.adapters import HTTPAdapter
from urllib3.util import parse_url as urllib3_parse_url

from webhooks.addresses import (
    MAX_URL_LENGTH,
    AddressPolicy,
    InvalidAddressPolicy,
    InvalidEndpointUrl,
    Target,
    parse_url,
    refusal,
)

STRICT = AddressPolicy()
LAX = AddressPolicy.from_strings(
    allow_http=True, allow_single_labels=True, allowed_ports=["1-65535"]
)
EVERYTHING = AddressPolicy.from_strings(
    allowed_networks=["0.0.0.0/0", "::/0"],
    allow_http=True,
    allow_single_labels=True,
    allowed_ports=["1-65535"],
)

PUBLIC_ADDRESSES = """
1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 93.184.216.34 100.63.255.255 100.128.0.0 126.255.255.255
128.0.0.0 168.63.129.15 168.63.129.17 169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0
191.255.255.255 192.0.1.0 192.0.3.0 192.88.98.255 192.88.100.0 192.167.255.255 192.169.0.0
198.17.255.255 198.20.0.0 198.51.99.255 198.51.101.0 203.0.112.255 203.0.114.0 223.255.255.255
2000:: 2001:200:: 2001:4860:4860::8888 2001:db7:ffff::1 2001:db9:: 2003:: 2606:4700::1111
2a00:1450:4001::1 3ffe:ffff::1 3fff:1000::
"""

FORBIDDEN_ADDRESSES = """
0.0.0.0 0.0.0.1 0.255.255.255 10.0.0.0 10.255.255.255 100.64.0.0 100.100.100.200 100.127.255.255
127.0.0.0 127.0.0.1 127.1.2.3 127.255.255.255 168.63.129.16 169.254.0.0 169.254.169.254
169.254.170.2 169.254.255.255 172.16.0.0 172.31.255.255 192.0.0.0 192.0.0.9 192.0.0.10
192.0.0.170 192.0.0.192 192.0.0.255 192.0.2.1 192.88.99.0 192.88.99.1 192.88.99.255 192.168.0.0
192.168.255.255 198.18.0.0 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.0 224.0.0.251
233.252.0.1 239.255.255.255 240.0.0.0 255.255.255.254 255.255.255.255
:: ::1 ::2 ::7f00:1 ::8.8.8.8 ::ffff:127.0.0.1 ::ffff:8.8.8.8 ::ffff:0:8.8.8.8 64:ff9b::1
64:ff9b::8.8.8.8 64:ff9b::127.0.0.1 64:ff9b:1::1 64:ff9b:1:fffe::8.8.8.8 100::1 100:0:0:1::1
200::1 1000::1 1fff:ffff::1 2001::1 2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:1::1 2001:2::1
2001:3::1 2001:4:112::1 2001:10::1 2001:20::1 2001:30::1 2001:1ff:ffff::1 2001:db8::1
2001:db8:ffff::1 2002::1 2002:7f00:1::1 2002:808:808::1 3fff::1 3fff:fff:ffff::1 4000::1 5f00::1
fc00::1 fd00:ec2::254 fdff::1 fe00::1 fe80::1 fe80::1%eth0 2606:4700::1111%1 fec0::1 ff02::1
ff0e::1
"""

ACCEPTED_URLS = [
    "https://example.com",
    "https://example.com/",
    "https://example.com/hook",
    "https://example.com:443/hook",
    "https://example.com:8443/hook",
    "https://example.com:65535/",
    "https://example.com:80/",
    "HTTPS://Example.COM/Hook",
    "https://a-b.example.com/",
    "https://xn--bcher-kva.example/",
    "https://3com.com/",
    "https://1.2.3.4.example.com/",
    "https://0x7f.example.com/",
    f"https://{'a' * 63}.example.com/",
    "https://a.b.c.d.e.f.example.com/",
    "https://8.8.8.8/",
    "https://8.8.8.8:8443/hook",
    "https://[2606:4700::1111]/",
    "https://[2606:4700:0:0:0:0:0:1111]:8443/hook",
    "https://[2A00:1450:4001::1]/",
    "https://example.com?token=1",
    "https://example.com/?",
    "https://example.com/hook?a=1&b=2",
    "https://example.com/hook?redirect=https://example.org/",
    "https://example.com/hook?mail=a@b",
    "https://example.com/a@b:c",
    "https://example.com/a;b=1,c",
    "https://example.com/%7euser/%C3%A9",
    "https://example.com/a//b///",
    "https://example.com/...",
    "https://example.com/.hidden",
    "https://example.com/(a)*'!$&+~_-.",
    "https://example.com/" + "a" * (MAX_URL_LENGTH - 20),
]

REFUSED_URLS = [
    # whatever is no URL with a scheme that we speak
    ("", "https://"),
    ("example.com", "https://"),
    ("//example.com/", "https://"),
    ("https:example.com", "https://"),
    ("https:/example.com", "https://"),
    ("ftp://example.com/", "https://"),
    ("file:///etc/passwd", "https://"),
    ("gopher://example.com:70/", "https://"),
    ("javascript:alert(1)", "https://"),
    ("data:text/plain,a", "https://"),
    ("ws://example.com/", "https://"),
    ("httpss://example.com/", "https://"),
    ("http+unix://example.com/", "https://"),
    ("unix:///run/docker.sock", "https://"),
    ("http://example.com/", "http:// is not allowed"),
    ("HTTP://example.com/", "http:// is not allowed"),
    # characters
    (" https://example.com/", "spaces"),
    ("https://example.com/ ", "spaces"),
    ("https://exam ple.com/", "spaces"),
    ("https://example.com/a b", "spaces"),
    ("https://example.com/\t", "tabs"),
    ("https://exam\tple.com/", "tabs"),
    ("ht\ttps://example.com/", "tabs"),
    ("https://example.com/\n", "line ends"),
    ("https://example.com\r\nHost: a/", "line ends"),
    ("https://example.com/\r\nX: 1", "line ends"),
    ("https://example.com/\0", "control characters"),
    ("https://example.com\0.example.org/", "control characters"),
    ("https://example.com/\x7f", "control characters"),
    ("https://example.com/\x1b", "control characters"),
    ("https://example.com\\@127.0.0.1/", "backslash"),
    ("https:\\\\example.com/", "backslash"),
    ("https://example.com/a\\b", "backslash"),
    ("https://bücher.example/", "punycode"),
    ("https://example.com/é", "percent-encoded"),
    ("https://example.com/\u00a0", "ASCII"),
    ("https://example.com/\u200b", "ASCII"),
    ("https://example.com/\ud800", "ASCII"),
    ("https://①②⑦.⓪.⓪.①/", "ASCII"),
    ("https://\uff11\uff12\uff17.0.0.1/", "ASCII"),
    ("https://127。0。0。1/", "ASCII"),
    ("https://example。com/", "ASCII"),
    ("https://\uff45xample.com/", "ASCII"),
    ("https://ⓔⓧⓐⓜⓟⓛⓔ.com/", "ASCII"),
    ("https://fa\u00df.de/", "punycode"),
    ("https://example.com/#", "fragment"),
    ("https://example.com/#a", "fragment"),
    ("https://example.com#@127.0.0.1/", "fragment"),
    # user names and passwords
    ("https://user@example.com/", "user name"),
    ("https://user:password@example.com/", "user name"),
    ("https://:@example.com/", "user name"),
    ("https://@example.com/", "user name"),
    ("https://example.com@127.0.0.1/", "user name"),
    ("https://a@b@example.com/", "user name"),
    ("https://example.com%40127.0.0.1/", "percent-encoding"),
    # hosts
    ("https://", "Give a host"),
    ("https:///", "Give a host"),
    ("https:///example.com/", "Give a host"),
    ("https://?a", "Give a host"),
    ("https://:443/", "Give a host"),
    ("https://./", "full stop"),
    ("https://example.com./", "full stop after"),
    ("https://example.com../", "full stop after"),
    ("https://127.0.0.1./", "full stop after"),
    ("https://.example.com/", "labels"),
    ("https://example..com/", "labels"),
    ("https://-example.com/", "labels"),
    ("https://example-.com/", "labels"),
    ("https://a_b.example.com/", "labels"),
    ("https://*.example.com/", "labels"),
    ("https://example.com,example.org/", "labels"),
    ("https://exam'ple.com/", "labels"),
    ("https://exa%6dple.com/", "percent-encoding"),
    ("https://%31%32%37.0.0.1/", "percent-encoding"),
    ("https://example.com%00/", "percent-encoding"),
    (f"https://{'a' * 64}.example.com/", "labels"),
    (f"https://{'a.' * 127}com/", "253"),
    ("https://localhost/", "full name"),
    ("https://LOCALHOST/", "full name"),
    ("https://postgres/", "full name"),
    ("https://com/", "full name"),
    ("https://a/b/", "full name"),
    # ports
    ("https://example.com:/", "port"),
    ("https://example.com:0/", "port"),
    ("https://example.com:00443/", "port"),
    ("https://example.com:-1/", "port"),
    ("https://example.com:+443/", "port"),
    ("https://example.com:65536/", "port"),
    ("https://example.com:99999999999/", "port"),
    ("https://example.com:4_43/", "port"),
    ("https://example.com:https/", "port"),
    ("https://example.com:443:443/", "one port"),
    ("https://example.com:22/", "allowed port: 80, 443, 1024-65535"),
    ("https://example.com:25/", "allowed port"),
    ("https://example.com:1023/", "allowed port"),
    ("https://[2606:4700::1111]:22/", "allowed port"),
    # addresses in odd forms
    ("https://2130706433/", "four decimal numbers"),
    ("https://017700000001/", "four decimal numbers"),
    ("https://0x7f000001/", "four decimal numbers"),
    ("https://0X7F000001/", "four decimal numbers"),
    ("https://0x7f.0.0.1/", "four decimal numbers"),
    ("https://0177.0.0.1/", "four decimal numbers"),
    ("https://127.0.0.01/", "four decimal numbers"),
    ("https://127.1/", "four decimal numbers"),
    ("https://127.0.1/", "four decimal numbers"),
    ("https://127.0.0.0x1/", "four decimal numbers"),
    ("https://127.0.0.0x/", "four decimal numbers"),
    ("https://0/", "four decimal numbers"),
    ("https://0x/", "four decimal numbers"),
    ("https://256.1.1.1/", "four decimal numbers"),
    ("https://1.1.1.1.1/", "four decimal numbers"),
    ("https://1.1.1/", "four decimal numbers"),
    ("https://example.123/", "four decimal numbers"),
    ("https://example.0x7f/", "four decimal numbers"),
    ("https://8.8.8.8,127.0.0.1/", "four decimal numbers"),
    ("https://::1/", "one host"),
    ("https://2606:4700::1111/", "one host"),
    ("https://[::1/", "one host"),
    ("https://::1]/", "one host"),
    ("https://[[::1]]/", "one host"),
    ("https://[::1]example.com/", "one host"),
    ("https://example.com[::1]/", "one host"),
    ("https://[]/", "in brackets"),
    ("https://[8.8.8.8]/", "in brackets"),
    ("https://[example.com]/", "in brackets"),
    ("https://[v1.a]/", "in brackets"),
    ("https://[2606:4700::1111::]/", "in brackets"),
    ("https://[2606:4700::11111]/", "in brackets"),
    # addresses where nothing may be sent
    ("https://127.0.0.1/", "loopback"),
    ("https://0.0.0.0/", "own network"),
    ("https://10.1.2.3/", "private"),
    ("https://192.168.1.1:8443/", "private"),
    ("https://169.254.169.254/latest/meta-data", "link-local"),
    ("https://168.63.129.16/", "Azure"),
    ("https://100.64.0.1/", "carrier-grade"),
    ("https://224.0.0.1/", "multicast"),
    ("https://255.255.255.255/", "reserved"),
    ("https://[::1]/", "loopback"),
    ("https://[::]/", "unspecified"),
    ("https://[::ffff:127.0.0.1]/", "IPv6 form"),
    ("https://[::ffff:7f00:1]/", "IPv6 form"),
    ("https://[::ffff:8.8.8.8]/", "IPv6 form"),
    ("https://[::127.0.0.1]/", "IPv6 form"),
    ("https://[64:ff9b::7f00:1]/", "NAT64"),
    ("https://[64:ff9b:1::7f00:1]/", "IPv6 form"),
    ("https://[::ffff:169.254.169.254]/", "IPv6 form"),
    ("https://[2002:7f00:1::]/", "6to4"),
    ("https://[2001:0:7f00:1::]/", "protocol assignments"),
    ("https://[ff02::1]/", "multicast"),
    ("https://100.100.100.200/latest/meta-data/", "carrier-grade"),
    ("https://192.0.0.192/opc/v2/instance/", "protocol assignments"),
    ("https://[fd20:ce::254]/", "private"),
    ("https://[fd00:ec2::254]/", "private"),
    ("https://[fe80::1]/", "link-local"),
    ("https://[fe80::1%eth0]/", "zone"),
    ("https://[fe80::1%25eth0]/", "zone"),
    ("https://[2606:4700::1111%25lo]/", "zone"),
    # paths and queries
    ("https://example.com/..", "segments"),
    ("https://example.com/./a", "segments"),
    ("https://example.com/a/../b", "segments"),
    ("https://example.com/a/%2e%2E/b", "segments"),
    ("https://example.com/.%2e", "segments"),
    ("https://example.com/%", "Percent-encode"),
    ("https://example.com/%4", "Percent-encode"),
    ("https://example.com/%zz", "Percent-encode"),
    ("https://example.com/{id}", "Percent-encode"),
    ("https://example.com/<a>", "Percent-encode"),
    ('https://example.com/"', "Percent-encode"),
    ("https://example.com/a|b", "Percent-encode"),
    ("https://example.com/a^b`c", "Percent-encode"),
    ("https://example.com/?a[]=1", "Percent-encode"),
    ("https://example.com/?a=%", "Percent-encode"),
    ("https://example.com/" + "a" * (MAX_URL_LENGTH - 19), "2048"),
]

# A URL that is read in two ways might be made of these.
PIECES = """
https:// http:// HTTP:// / // \\ @ : ? # . .. % %2e %2F %00 [ ] [::1] [2606:4700::1] example.com a.b
127.0.0.1 8.8.8.8 0x7f 1 80 8443 x xn--a - _ ~ ; & = + , ' ( * $ ! é 。 ß
"""

# As resolvers read them: decimal, octal and hexadecimal, whole or in parts.
NUMBERS = "0 00 1 8 10 127 0177 017700000001 2130706433 0x 0x7f 0x7F000001 x a"


class TestAddresses:
    @pytest.mark.parametrize("address", PUBLIC_ADDRESSES.split())
    def test_a_public_one_is_allowed(self, address: str) -> None:
        assert refusal(ip_address(address), STRICT) is None

    @pytest.mark.parametrize("address", FORBIDDEN_ADDRESSES.split())
    def test_a_special_one_is_refused(self, address: str) -> None:
        assert refusal(ip_address(address), STRICT)

    @given(st.ip_addresses())
    def test_whatever_python_holds_for_special_is_refused(
        self, address: IPv4Address | IPv6Address
    ) -> None:
        special = (
            not address.is_global
            or address.is_private
            or address.is_loopback
            or address.is_link_local
            or address.is_multicast
            or address.is_reserved
            or address.is_unspecified
        )
        assert refusal(address, STRICT) or not special

    @pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "::1", "fd00::1", "fe80::1"])
    def test_an_allowed_network_is_open(self, address: str) -> None:
        assert refusal(ip_address(address), EVERYTHING) is None

    def test_an_allowed_network_opens_nothing_beside_it(self) -> None:
        policy = AddressPolicy.from_strings(allowed_networks=["10.1.0.0/16"])
        assert refusal(ip_address("10.1.255.255"), policy) is None
        assert refusal(ip_address("10.2.0.0"), policy) == "a private network (10.0.0.0/8)"

    def test_a_blocked_network_is_closed_even_if_it_is_public_and_allowed(self) -> None:
        policy = AddressPolicy.from_strings(
            allowed_networks=["0.0.0.0/0", "::/0"],
            blocked_networks=["8.8.8.0/24", "2606:4700::/32"],
        )
        assert refusal(ip_address("8.8.8.8"), policy) == "a blocked network (8.8.8.0/24)"
        assert refusal(ip_address("2606:4700::1"), policy) == "a blocked network (2606:4700::/32)"
        assert refusal(ip_address("8.8.4.4"), policy) is None

    @pytest.mark.parametrize(
        "address",
        ["::ffff:8.8.8.8", "::8.8.8.8", "::ffff:0:8.8.8.8", "64:ff9b:1::8.8.8.8", "fe80::1%eth0"],
    )
    def test_a_disguised_one_is_refused_even_if_everything_is_allowed(self, address: str) -> None:
        assert refusal(ip_address(address), EVERYTHING)

    @pytest.mark.parametrize(
        ("public", "private"),
        [
            ("64:ff9b::8.8.8.8", "64:ff9b::10.0.0.1"),
            ("2002:808:808::1", "2002:a00:1::1"),
            ("2001::f7f7:f7f7", "2001::f5ff:fffe"),  # Teredo writes the client's address inverted
        ],
        ids=["NAT64", "6to4", "Teredo"],
    )
    def test_an_allowed_translation_reaches_what_may_be_reached_by_itself(
        self, public: str, private: str
    ) -> None:
        policy = AddressPolicy.from_strings(
            allowed_networks=["64:ff9b::/96", "2002::/16", "2001::/32"]
        )
        assert refusal(ip_address(public), policy) is None
        assert refusal(ip_address(private), policy) == "a private network (10.0.0.0/8)"


class TestUrls:
    def test_the_table_is_long_and_says_nothing_twice(self) -> None:
        urls = [url for url, _ in REFUSED_URLS] + ACCEPTED_URLS
        addresses = [*PUBLIC_ADDRESSES.split(), *FORBIDDEN_ADDRESSES.split()]
        assert len(urls) >= 150
        assert len(addresses) >= 100
        for table in (urls, addresses):
            assert len(set(table)) == len(table)

    @pytest.mark.parametrize("url", ACCEPTED_URLS)
    def test_a_plain_one_is_accepted(self, url: str) -> None:
        parse_url(url, STRICT)

    @pytest.mark.parametrize(("url", "reason"), REFUSED_URLS)
    def test_an_odd_one_is_refused_with_the_reason(self, url: str, reason: str) -> None:
        with pytest.raises(InvalidEndpointUrl) as error:
            parse_url(url, STRICT)
        assert reason in str(error.value)
        assert "password@" not in str(error.value)

    @pytest.mark.parametrize(
        ("url", "target"),
        [
            (
                "HTTPS://Example.COM:443?a=%c3%a9",
                Target("https://example.com/?a=%C3%A9", "https", "example.com", 443, False),
            ),
            (
                "http://example.com:8080/Hook?",
                Target("http://example.com:8080/Hook", "http", "example.com", 8080, False),
            ),
            ("http://web/", Target("http://web/", "http", "web", 80, False)),
            ("http://8.8.8.8/", Target("http://8.8.8.8/", "http", "8.8.8.8", 80, True)),
            (
                "https://[2606:4700:0::0:1111]:8443/",
                Target("https://[2606:4700::1111]:8443/", "https", "2606:4700::1111", 8443, True),
            ),
        ],
    )
    def test_it_is_taken_apart_and_put_into_one_form(self, url: str, target: Target) -> None:
        assert parse_url(url, LAX) == target

    def test_the_policy_is_asked(self) -> None:
        policy = AddressPolicy.from_strings(
            allowed_networks=["127.0.0.0/8"],
            blocked_networks=["8.8.8.8/32"],
            allow_http=True,
            allow_single_labels=True,
            allowed_ports=["8000-8999"],
        )
        assert parse_url("http://localhost:8000/", policy).host == "localhost"
        assert parse_url("http://127.0.0.1:8999/", policy).is_literal
        for url in ("https://8.8.8.8:8443/", "https://10.0.0.1:8443/", "https://example.com:9000/"):
            with pytest.raises(InvalidEndpointUrl):
                parse_url(url, policy)

    pieces = st.sampled_from([*PIECES.split(), " ", "\t", "\r\n", "\0"])
    urls = (
        st.lists(pieces, max_size=12).map("".join)
        | st.lists(pieces, max_size=10).map(lambda pieces: "http://" + "".join(pieces))
        | st.lists(pieces, max_size=10).map(lambda pieces: "https://a.example/" + "".join(pieces))
        | st.text().map("https://{}".format)
        | st.text()
    )

    @settings(deadline=None)
    @given(urls)
    @example("https://[2606:4700::1111]:8443/a?b")
    @example("http://web:81//a;b/%7e?c/d?e")
    def test_all_readers_agree_on_what_is_accepted(self, url: str) -> None:
        try:
            target = parse_url(url, LAX)
        except InvalidEndpointUrl:
            return
        assert parse_url(target.url, LAX) == target

        split = urlsplit(target.url)
        assert (split.scheme, split.hostname) == (target.scheme, target.host)
        assert (split.port or {"http": 80, "https": 443}[split.scheme]) == target.port

        read = urllib3_parse_url(target.url)
        assert read.host is not None
        assert (read.scheme, read.host.strip("[]")) == (target.scheme, target.host)
        assert (read.port or target.port) == target.port
        assert read.url == target.url

        prepared = requests.Request("POST", target.url).prepare()
        adapter = HTTPAdapter()
        pool = adapter.get_connection_with_tls_context(prepared, True)
        assert (pool.scheme, pool.host, pool.port) == (target.scheme, target.host, target.port)

    @settings(deadline=None)
    @given(
        st.lists(
            st.sampled_from(NUMBERS.split()) | st.integers(0, 2**33).map(str),
            min_size=1,
            max_size=5,
        )
    )
    @example(["8", "8", "8", "8"])
    @example(["127", "0x1"])
    @example(["0x7f", "a", "a"])
    def test_no_resolver_takes_a_name_that_is_accepted_for_an_address(
        self, labels: list[str]
    ) -> None:
        try:
            target = parse_url(f"https://{'.'.join(labels)}/", STRICT)
        except InvalidEndpointUrl:
            return
        if target.is_literal:
            address = ip_address(target.host)
            assert refusal(address, STRICT) is None
            assert inet_aton(target.host) == address.packed
        else:
            with pytest.raises(OSError, match="illegal IP address"):
                inet_aton(target.host)


@pytest.mark.parametrize(
    "options",
    [
        {"allowed_networks": ["10.0.0.1/8"]},
        {"allowed_networks": ["nonsense"]},
        {"blocked_networks": [""]},
        {"allowed_ports": ["0"]},
        {"allowed_ports": ["443-80"]},
        {"allowed_ports": ["65536"]},
        {"allowed_ports": ["https"]},
    ],
)
def test_a_policy_of_nonsense_is_refused(options: dict[str, list[str]]) -> None:
    with pytest.raises(InvalidAddressPolicy):
        AddressPolicy.from_strings(**options)  # type: ignore[arg-type]
