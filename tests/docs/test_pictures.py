"""The pages' pictures are all shown, and small enough to be kept beside the code."""

from tests.browser.pictures import PICTURES, shown

MOST = 150_000
"""Bytes of a picture."""


def test_every_picture_is_shown_and_small() -> None:
    kept = {picture.name: picture.stat().st_size for picture in PICTURES.iterdir()}
    assert kept.keys() == shown()
    assert max(kept.values()) <= MOST
