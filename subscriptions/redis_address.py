"""Where Redis is, read from its URL: one server, or the Sentinels that know which is the primary.

    redis://user:password@host:6379/0
    rediss://user:password@host:6379/0?ssl_ca_certs=/path/ca.pem
    sentinel://user:password@host:26379,host:26379/0?master=name
    sentinels://…                                    as sentinel://, all over TLS

The options of TLS are told in subscriptions.server_url.
`sentinel_username` and `sentinel_password` are for the Sentinels themselves, where they ask.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from redis import Redis, sentinel
from redis.backoff import NoBackoff
from redis.retry import Retry

from subscriptions.server_url import TLS_OPTIONS, InvalidServerUrl, options_of, tls_options

# redis-py's Sentinel has no types.
Sentinel: Any = sentinel.Sentinel

SCHEMES = {"redis": 6379, "rediss": 6379, "sentinel": 26379, "sentinels": 26379}
"""Each with the port that is meant where none is named."""

SENTINEL_OPTIONS = ("master", "sentinel_username", "sentinel_password")


@dataclass(frozen=True)
class RedisAddress:
    """One server, or where `master` names a primary, the Sentinels that watch over it."""

    nodes: tuple[tuple[str, int], ...]
    database: int = 0
    master: str = ""
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: Mapping[str, Any] = field(default_factory=dict)
    """redis-py's ssl_… options; empty where TLS is not spoken."""
    sentinel_login: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def parse(cls, url: str) -> "RedisAddress":
        """Read a URL. Raises InvalidServerUrl."""
        parts = urlsplit(url)
        if parts.scheme not in SCHEMES:
            raise InvalidServerUrl(f"Begin it with one of {', '.join(SCHEMES)}, and then ://.")
        secure = parts.scheme in ("rediss", "sentinels")
        watched = parts.scheme in ("sentinel", "sentinels")
        options = options_of(
            parts,
            *(TLS_OPTIONS if secure else ()),
            *(SENTINEL_OPTIONS if watched else ()),
        )
        if watched and not options.get("master"):
            raise InvalidServerUrl("Add ?master= and the name that the Sentinels know it by.")
        login, _, hosts = parts.netloc.rpartition("@")
        username, _, password = login.partition(":")
        nodes = tuple(_node(host, SCHEMES[parts.scheme]) for host in hosts.split(","))
        if not watched and len(nodes) > 1:
            raise InvalidServerUrl("Name one host, or the Sentinels with sentinel://.")
        database = parts.path.strip("/") or "0"
        if not database.isdecimal():
            raise InvalidServerUrl(f"End its path with a database's number, not {database!r}.")
        return cls(
            nodes=nodes,
            database=int(database),
            master=options.get("master", ""),
            username=unquote(username) or None,
            password=unquote(password) or None,
            tls=tls_options(options) if secure else {},
            sentinel_login={
                name.removeprefix("sentinel_"): value
                for name, value in options.items()
                if name.startswith("sentinel_")
            },
        )

    def client(self, *, patience: float, decode_responses: bool = False) -> Redis:
        """A client of the primary that waits `patience` seconds for each answer, and asks once."""
        options = {
            **self._patient_for(patience),
            "db": self.database,
            "username": self.username,
            "password": self.password,
            "decode_responses": decode_responses,
        }
        if not self.master:
            [(host, port)] = self.nodes
            return Redis(host=host, port=port, **options)
        asking = self.options_of_sentinels(patience)
        watched = Sentinel(self.nodes, sentinel_kwargs=asking, **options)
        primary: Redis = watched.master_for(self.master)
        return primary

    def options_of_sentinels(self, patience: float) -> dict[str, Any]:
        """redis-py's options for a client of one Sentinel: it asks once, then the next one does."""
        return {**self._patient_for(patience), **self.sentinel_login}

    def _patient_for(self, seconds: float) -> dict[str, Any]:
        return {
            "socket_timeout": seconds,
            "socket_connect_timeout": seconds,
            "retry": Retry(NoBackoff(), 0),
            **({"ssl": True, **self.tls} if self.tls else {}),
        }


def _node(text: str, port: int) -> tuple[str, int]:
    try:
        node = urlsplit(f"//{text}")
        return node.hostname or "127.0.0.1", node.port or port
    except ValueError as error:
        raise InvalidServerUrl(f"Name a host and its port, not {text!r}.") from error
