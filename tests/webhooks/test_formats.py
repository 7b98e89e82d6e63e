import gzip
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from cloudevents.core.base import BaseCloudEvent
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from cloudevents.core.formats.json import JSONFormat
from hypothesis import given
from hypothesis import strategies as st

from webhooks import formats
from webhooks.formats import Content, Format, Message
from webhooks.payloads import encode

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
CLOUD = [Format.CLOUDEVENTS, Format.CLOUDEVENTS_BINARY]
LINK = "https://webhooks.example.com/api/v1/events/evt_1?a=%20"

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
)


def message(number: int = 1) -> Message:
    return Message(
        id=f"evt_{number}",
        type="invoice.paid",
        source="/billing%20eu",
        occurred_at=NOON + timedelta(minutes=number),
        data=f'{{"n":{number}}}',
    )


def thin() -> Message:
    return replace(message(), data=None, link=LINK)


def read(content: Content) -> BaseCloudEvent:
    """As the CloudEvents SDK reads it."""
    return from_http_event(HTTPMessage(headers=dict(content.headers), body=content.body))


class TestAlone:
    def test_the_standard_format_is_that_of_standard_webhooks(self) -> None:
        content = formats.written(message(), Format.STANDARD)
        assert content.headers == {"content-type": "application/json"}
        assert json.loads(content.body) == {
            "type": "invoice.paid",
            "timestamp": "2026-07-01T12:01:00Z",
            "data": {"n": 1},
        }

    def test_a_thin_one_has_its_id_and_a_link_for_data(self) -> None:
        content = formats.written(thin(), Format.STANDARD)
        assert json.loads(content.body)["data"] == {"id": "evt_1", "url": LINK}

    @pytest.mark.parametrize("format", CLOUD)
    def test_the_cloudevents_sdk_reads_every_attribute_and_the_data(self, format: Format) -> None:
        east = timezone(timedelta(hours=3))
        sent = replace(message(), occurred_at=NOON.astimezone(east))
        event = read(formats.written(sent, format))
        assert event.get_id() == "evt_1"
        assert event.get_type() == "invoice.paid"
        assert event.get_source() == "/billing%20eu"
        assert event.get_specversion() == "1.0"
        assert event.get_time() == NOON
        assert event.get_datacontenttype() == "application/json"
        assert event.get_data() == {"n": 1}

    @pytest.mark.parametrize("format", CLOUD)
    def test_a_thin_cloudevent_refers_to_its_data(self, format: Format) -> None:
        event = read(formats.written(thin(), format))
        assert event.get_data() in (None, b"", "")
        assert event.get_extension("dataref") == LINK

    def test_a_binary_cloudevent_has_the_data_alone_as_its_body(self) -> None:
        content = formats.written(message(), Format.CLOUDEVENTS_BINARY)
        assert content.body == b'{"n":1}'
        assert content.headers["content-type"] == "application/json"

    @given(json_values)
    def test_any_data_comes_out_as_it_went_in(self, data: Any) -> None:
        text = encode(data, max_bytes=10**6)
        sent = replace(message(), data=text)
        assert json.loads(formats.written(sent, Format.STANDARD).body)["data"] == data
        for mode in CLOUD:
            assert read(formats.written(sent, mode)).get_data() == data


class TestBatch:
    def test_a_standard_batch_is_an_envelope_around_its_events_with_their_ids(self) -> None:
        content = formats.batch([message(1), message(2)], Format.STANDARD)
        assert content.headers == {"content-type": "application/json"}
        assert json.loads(content.body) == {
            "type": "angarium.batch",
            "timestamp": "2026-07-01T12:02:00Z",
            "data": [
                {
                    "id": f"evt_{number}",
                    "type": "invoice.paid",
                    "timestamp": f"2026-07-01T12:0{number}:00Z",
                    "data": {"n": number},
                }
                for number in (1, 2)
            ],
        }

    @pytest.mark.parametrize("format", CLOUD)
    def test_cloudevents_have_a_batch_format_whatever_their_mode(self, format: Format) -> None:
        content = formats.batch([message(1), message(2)], format)
        assert content.headers["content-type"].startswith("application/cloudevents-batch+json")
        alone = [
            json.loads(formats.written(message(number), Format.CLOUDEVENTS).body)
            for number in (1, 2)
        ]
        assert json.loads(content.body) == alone
        assert JSONFormat().read(None, json.dumps(alone[1])).get_data() == {"n": 2}

    def test_a_thin_batch_has_links(self) -> None:
        body = formats.batch([thin(), message(2)], Format.STANDARD).body
        assert [one["data"] for one in json.loads(body)["data"]] == [
            {"id": "evt_1", "url": LINK},
            {"n": 2},
        ]


def test_compressed_content_says_so_and_is_the_same_each_time() -> None:
    content = formats.written(message(), Format.STANDARD)
    compressed = formats.compressed(content)
    assert compressed.headers == {**content.headers, "content-encoding": "gzip"}
    assert gzip.decompress(compressed.body) == content.body
    assert formats.compressed(content) == compressed
