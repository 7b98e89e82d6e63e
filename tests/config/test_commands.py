"""What holds of every management command."""

import pytest
from django.core.management import get_commands, load_command_class

COMMANDS = sorted(
    (app, name) for name, app in get_commands().items() if app in ("subscriptions", "deliveries")
)


@pytest.mark.parametrize(("app", "name"), COMMANDS)
def test_its_help_says_what_it_does_and_gives_an_example(app: str, name: str) -> None:
    parser = load_command_class(app, name).create_parser("manage.py", name)
    text = parser.format_help()
    assert parser.description
    assert max(map(len, text.splitlines())) <= 100
    assert f"$ manage.py {name}" in text or f"| manage.py {name}" in text


def test_there_are_some() -> None:
    assert len(COMMANDS) > 7
