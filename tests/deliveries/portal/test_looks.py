"""How the portal looks, who may have it in a frame, and what its pages may load."""

import re

import pytest
from django.core.checks import run_checks
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from deliveries.portal.colours import READABLE, Colour, InvalidColour
from deliveries.portal.theme import DARK_GROUNDS, LIGHT_GROUNDS
from subscriptions.models import Subscriber
from subscriptions.portal_access import sign_link
from tests.conftest import Configure, MakeEndpoint
from tests.deliveries.portal.conftest import Visitor
from tests.deliveries.portal.test_gate import PAGES

APP = "https://app.example.com"


def policy(answer: object) -> dict[str, str]:
    said: str = answer.headers["Content-Security-Policy"]  # type: ignore[attr-defined]
    return dict(part.strip().split(" ", 1) for part in said.split(";"))


colours = st.builds(Colour, *[st.integers(0, 255)] * 3)


@given(colours)
def test_of_every_colour_there_is_a_shade_that_can_be_read(colour: Colour) -> None:
    for grounds in (LIGHT_GROUNDS, DARK_GROUNDS):
        shade = colour.readable_on(*grounds)
        assert all(shade.contrast(ground) >= READABLE for ground in grounds)
    assert colour.contrast(colour.opposite) >= READABLE


def test_a_colour_that_can_be_read_is_left_as_it_is() -> None:
    assert str(Colour.parse("#0b6477").readable_on(*LIGHT_GROUNDS)) == "#0b6477"


@pytest.mark.parametrize("text", ["", "red", "#fff", "#0b64770", "#0b647g", "#0b6477;}"])
def test_what_is_no_colour_is_refused(text: str) -> None:
    with pytest.raises(InvalidColour):
        Colour.parse(text)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("COLOUR", "red", "is no colour"),
        ("LOGO_URL", "javascript:alert(1)", "PORTAL_LOGO_URL"),
        ("LOGO_URL", "//evil.example/a.svg", "PORTAL_LOGO_URL"),
        ("LOGO_URL", "https://a.example/a.svg; script-src *", "PORTAL_LOGO_URL"),
        ("EMBED_ORIGINS", ["*"], "PORTAL_EMBED_ORIGINS"),
        ("EMBED_ORIGINS", ["https://app.example.com/page"], "PORTAL_EMBED_ORIGINS"),
        ("EMBED_ORIGINS", ["app.example.com; script-src *"], "PORTAL_EMBED_ORIGINS"),
    ],
)
def test_the_check_finds_a_setting_that_is_no_good(
    configure: Configure, name: str, value: object, said: str
) -> None:
    configure(**{f"PORTAL_{name}": value})
    [fault] = [one for one in run_checks() if one.id == "deliveries.E001"]
    assert said in fault.msg


def test_the_check_finds_nothing_in_good_ones(configure: Configure) -> None:
    configure(PORTAL_LOGO_URL="https://cdn.example.com/logo.svg", PORTAL_EMBED_ORIGINS=[APP])
    assert [one for one in run_checks() if one.id == "deliveries.E001"] == []


def test_the_theme_has_the_colour_and_is_a_stylesheet(configure: Configure) -> None:
    configure(PORTAL_COLOUR="#ffd700")
    answer = Client().get("/portal/theme.css")
    assert answer.headers["Content-Type"] == "text/css; charset=utf-8"
    sheet = answer.content.decode()
    assert "--brand: #ffd700; --on-brand: #000000" in sheet


@pytest.mark.django_db
def test_name_and_logo_are_in_the_head_and_the_logo_alone_may_be_loaded_from_elsewhere(
    visitor: Visitor, configure: Configure
) -> None:
    assert policy(visitor.get())["img-src"] == "'self'"
    logo = "https://cdn.example.com/logo.svg"
    configure(PORTAL_NAME="Isfahan <Hooks>", PORTAL_LOGO_URL=logo)
    answer = visitor.get()
    assert "Isfahan &lt;Hooks&gt;" in answer.content.decode()
    assert f'<img src="{logo}" alt=""' in answer.content.decode()
    assert policy(answer)["img-src"] == f"'self' {logo}"
    configure(PORTAL_LOGO_URL="/static/logo.svg")
    assert policy(visitor.get())["img-src"] == "'self'"


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["enter/", "endpoints/", "left/", "endpoints/x/"])
def test_nobody_may_frame_a_page_unless_the_settings_name_them(
    path: str, configure: Configure
) -> None:
    answer = Client().get(f"/portal/{path}")
    assert policy(answer)["frame-ancestors"] == "'none'"
    assert answer.headers["X-Frame-Options"] == "DENY"
    configure(PORTAL_EMBED_ORIGINS=[APP, "https://b.example.com"])
    answer = Client().get(f"/portal/{path}")
    assert policy(answer)["frame-ancestors"] == f"{APP} https://b.example.com"
    assert "X-Frame-Options" not in answer.headers
    for elsewhere in ("/admin/login/", "/api/docs/"):
        answer = Client().get(elsewhere)
        assert policy(answer)["frame-ancestors"] == "'none'"
        assert answer.headers["X-Frame-Options"] == "DENY"


@pytest.mark.django_db
def test_in_a_frame_the_cookie_is_kept_apart_for_each_site(
    subscriber: Subscriber, configure: Configure
) -> None:
    configure(PORTAL_EMBED_ORIGINS=[APP])
    answer = Client().post("/portal/enter/", {"link": sign_link(subscriber)})
    cookie = answer.cookies["portal"].OutputString()
    assert {"Secure", "HttpOnly", "SameSite=None", "Path=/portal/", "Partitioned"} <= set(
        cookie.split("; ")
    )


@pytest.mark.django_db
def test_no_page_has_a_script_or_a_style_inside(
    visitor: Visitor, make_endpoint: MakeEndpoint
) -> None:
    endpoint = make_endpoint("a.b")
    subscription = endpoint.subscriptions.get()
    keys = {"endpoints": endpoint.pk, "subscriptions": subscription.pk}
    seen = 0
    for path in PAGES.values():
        key = keys.get(path.partition("/")[0], "")
        answer = visitor.get(path.replace("<str:key>", key or "x"))
        if answer.headers.get("Content-Type", "").startswith("text/html"):
            page = answer.content.decode()
            assert not re.search(r"<style|\bstyle=|\son\w+=|hx-on|href=\"javascript:", page), path
            assert page.count("<script") == page.count('<script src="/static/'), path
            assert policy(answer)["script-src"] == policy(answer)["style-src"] == "'self'"
            seen += 1
    assert seen > 12
