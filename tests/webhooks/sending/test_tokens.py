import json
from collections.abc import Callable
from time import monotonic
from typing import Any

import pytest

from webhooks.sending.credentials import ClientCredentials
from webhooks.sending.outcome import Outcome, OutcomeKind, OutgoingRequest
from webhooks.sending.tokens import Answer, NoToken, Token, Tokens, read_token

CREDENTIALS = ClientCredentials("https://login.example/token", "angarium", "open sesame")


def given(**document: Any) -> Outcome:
    body = json.dumps({"access_token": "the-token", **document})
    return Outcome(kind=OutcomeKind.DELIVERED, status=200, response_body=body)


@pytest.mark.parametrize(
    ("expires_in", "usable_for"),
    [
        (3600, 3570),
        ("3600", 3570),
        (60, 30),
        (10, 5),
        (0, 0),
        (-5, 0),
        (10**10, 86_370),
        (float("inf"), 86_370),
        (float("nan"), 86_370),
        (10**400, 270),
        (None, 270),
        ("soon", 270),
        ([], 270),
    ],
)
def test_a_token_is_used_until_shortly_before_its_end(expires_in: object, usable_for: int) -> None:
    token = read_token(given(expires_in=expires_in), asked_at=1000)
    assert token == Token("the-token", 1000 + usable_for)


@pytest.mark.parametrize("kind", ["bearer", "Bearer", "BEARER"])
def test_the_token_must_be_a_bearer_token(kind: str) -> None:
    assert read_token(given(token_type=kind), asked_at=0).text == "the-token"
    with pytest.raises(NoToken):
        read_token(given(token_type="dpop"), asked_at=0)


class Server:
    """Takes requests for tokens, to be answered when the test says so."""

    def __init__(self) -> None:
        self.asked: list[Callable[[Outcome], None]] = []

    def start(self, request: OutgoingRequest, done: Callable[[Outcome], None]) -> None:
        self.asked.append(done)


def test_who_comes_during_a_fetch_waits_for_it() -> None:
    server, answers = Server(), list[Answer]()
    tokens = Tokens(server.start, timeout=5)
    for _ in range(3):
        tokens.get(CREDENTIALS, answers.append)
    assert (len(server.asked), answers) == (1, [])
    server.asked[0](given())
    assert [one.text for one in answers if isinstance(one, Token)] == ["the-token"] * 3
    tokens.get(CREDENTIALS, answers.append)
    assert (len(server.asked), len(answers)) == (1, 4)


def test_a_fetch_that_failed_fails_all_who_waited_and_the_next_one_tries_again() -> None:
    server, answers = Server(), list[Answer]()
    tokens = Tokens(server.start, timeout=5)
    for _ in range(2):
        tokens.get(CREDENTIALS, answers.append)
    server.asked[0](Outcome(OutcomeKind.TIMED_OUT, error="no response in time"))
    assert [one.error for one in answers if isinstance(one, Outcome)] == [
        "no OAuth2 token could be fetched: no response in time"
    ] * 2
    tokens.get(CREDENTIALS, answers.append)
    assert len(server.asked) == 2


def test_a_fetch_that_is_broken_off_leaves_nobody_waiting() -> None:
    answers: list[Answer] = []

    def start(request: OutgoingRequest, done: Callable[[Outcome], None]) -> None:
        tokens.get(CREDENTIALS, answers.append)
        raise KeyboardInterrupt

    tokens = Tokens(start, timeout=5)
    with pytest.raises(KeyboardInterrupt):
        tokens.get(CREDENTIALS, answers.append)
    assert [type(one) for one in answers] == [Outcome, Outcome]


def test_one_who_fails_on_a_token_leaves_the_others_theirs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server, answers = Server(), list[Answer]()
    tokens = Tokens(server.start, timeout=5)

    def fail(answer: Answer) -> None:
        raise LookupError("the parcel is lost")

    for done in (fail, answers.append):
        tokens.get(CREDENTIALS, done)
    server.asked[0](given())
    assert len(answers) == 1
    assert "the parcel is lost" in caplog.text


def test_only_the_token_that_was_refused_is_forgotten() -> None:
    server, answers = Server(), list[Answer]()
    tokens = Tokens(server.start, timeout=5)
    tokens.get(CREDENTIALS, answers.append)
    server.asked[0](given())
    tokens.forget(CREDENTIALS, Token("an older one", monotonic() + 60))
    tokens.get(CREDENTIALS, answers.append)
    assert len(server.asked) == 1
    assert isinstance(answers[0], Token)
    tokens.forget(CREDENTIALS, answers[0])
    tokens.get(CREDENTIALS, answers.append)
    assert len(server.asked) == 2


def test_the_oldest_tokens_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webhooks.sending.tokens.MAX_TOKENS", 2)
    server = Server()
    tokens = Tokens(server.start, timeout=5)
    for scope in ("a", "b", "c", "c", "b", "a"):
        asked = len(server.asked)
        credentials = ClientCredentials("https://login.example/token", "angarium", "x", scope)
        tokens.get(credentials, lambda _: None)
        for done in server.asked[asked:]:
            done(given())
    assert len(server.asked) == 4
