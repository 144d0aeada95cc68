"""The documentation has a picture of every place, in every look."""

import re

import cv2

from tests.ui.pictures import DOCUMENTED, NAMES

_NAMED = re.compile(r"screenshots/([a-z-]+)\.webp")


def test_each_place_is_pictured_in_each_look_and_nothing_else_is() -> None:
    assert {picture.name for picture in DOCUMENTED.iterdir()} == {f"{name}.webp" for name in NAMES}
    for name in NAMES:
        pixels = cv2.imread(str(DOCUMENTED / f"{name}.webp"))
        assert pixels is not None
        # No place is a blank page.
        assert pixels.std() > 5, name


def test_what_the_documentation_shows_is_there() -> None:
    shown = {name for page in DOCUMENTED.parent.glob("*.md") for name in _NAMED.findall(page.read_text("utf-8"))}
    assert len(shown) >= 8
    assert shown <= NAMES
