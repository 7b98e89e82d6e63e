import json

import pytest

from webhooks.handshake import NoChallenge, challenge_in, new_challenge, repeats


def test_no_two_challenges_are_alike_and_none_can_be_guessed() -> None:
    challenges = {new_challenge() for _ in range(100)}
    assert len(challenges) == 100
    assert min(map(len, challenges)) >= 43


@pytest.mark.parametrize(
    "answer",
    [
        "abc",
        "  abc\r\n",
        '{"challenge": "abc"}',
        '\n{"challenge":"abc","more":[1]}\n',
        '{"challenge": "\\u0061bc"}',
    ],
)
def test_the_challenge_is_repeated_as_text_or_as_json(answer: str) -> None:
    assert repeats(answer, "abc")


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "ab",
        "abcd",
        "ABC",
        "ok",
        '"abc"',
        '["abc"]',
        '{"challenge": "abd"}',
        '{"challenge": null}',
        '{"challenge": ["abc"]}',
        # As from a server that answers with whatever it gets.
        '{"type": "angarium.handshake", "data": {"challenge": "abc"}}',
        '{"challenge": "\\ud800"}',
        "é",
        "[" * 100_000,
    ],
)
def test_anything_else_does_not_repeat_it(answer: str) -> None:
    assert not repeats(answer, "abc")


@pytest.mark.parametrize("data", [None, [], "abc", {}, {"challenge": 5}, json.loads("[{}]")])
def test_data_without_a_challenge_has_none(data: object) -> None:
    with pytest.raises(NoChallenge):
        challenge_in(data)
