"""What docs/portal.md teaches is so: its commands have the answers that it says."""

import json
from urllib.parse import unquote

import pytest
from django.test import Client
from rest_framework.test import APIClient

from subscriptions.models import ApiKey, Subscriber
from tests.config.pages import blocks, curl, fits, page

PAGE = page("portal.md")


@pytest.mark.django_db
def test_the_commands_answer_as_the_page_says(subscriber: Subscriber) -> None:
    _, key = ApiKey.objects.create_key(name="portal")
    commands = [block for block in blocks(PAGE, "sh") if block.startswith("curl")]
    answers = [json.loads(block) for block in blocks(PAGE, "json")]
    link, ended = commands
    made = curl(APIClient(), link, KEY=key, SUBSCRIBER=subscriber.pk).json()
    assert set(made) == set(answers[0])
    here = answers[0]["url"].replace("127.0.0.1:8000", "testserver")
    assert made["url"].startswith(here.removesuffix("…"))
    assert "Come in" in Client().get(made["url"]).content.decode()
    link = made["url"].partition("link=")[2]
    assert Client().post("/portal/enter/", {"link": unquote(link)}).status_code == 302
    assert fits(answers[1], curl(APIClient(), ended, KEY=key, SUBSCRIBER=subscriber.pk).json())
