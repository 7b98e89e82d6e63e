"""Colours that can be read on one another: contrast as WCAG 2.2 has it (1.4.3). Pure."""

import re
from dataclasses import dataclass

READABLE = 4.5
"""The least contrast of text (WCAG 2.2, 1.4.3, level AA)."""
STEPS = 50


class InvalidColour(ValueError):
    """What is no colour."""


@dataclass(frozen=True, slots=True)
class Colour:
    """A colour of sRGB, each part from 0 to 255."""

    red: int
    green: int
    blue: int

    @classmethod
    def parse(cls, text: str) -> "Colour":
        """From #rrggbb. Raises InvalidColour."""
        if not re.fullmatch("#[0-9A-Fa-f]{6}", text):
            raise InvalidColour(f"{text!r} is no colour: write it as in #0b6477.")
        return cls(*bytes.fromhex(text[1:]))

    def __str__(self) -> str:
        return f"#{self.red:02x}{self.green:02x}{self.blue:02x}"

    @property
    def luminance(self) -> float:
        """Relative luminance, from 0 (black) to 1 (white)."""
        red, green, blue = (_linear(part / 255) for part in (self.red, self.green, self.blue))
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    def contrast(self, other: "Colour") -> float:
        """The contrast ratio, from 1 to 21."""
        darker, lighter = sorted((self.luminance, other.luminance))
        return (lighter + 0.05) / (darker + 0.05)

    def mixed(self, other: "Colour", share: float) -> "Colour":
        """So much of the other in it, from 0 to 1."""
        pairs = zip(
            (self.red, self.green, self.blue), (other.red, other.green, other.blue), strict=True
        )
        return Colour(*(round(ours + (theirs - ours) * share) for ours, theirs in pairs))

    def readable_on(self, *grounds: "Colour") -> "Colour":
        """The nearest shade of it that can be read on all of the grounds, which are much alike."""
        shades = (self.mixed(grounds[0].opposite, step / STEPS) for step in range(STEPS + 1))
        return next(
            shade
            for shade in shades
            if all(shade.contrast(ground) >= READABLE for ground in grounds)
        )

    @property
    def opposite(self) -> "Colour":
        """Black or white, whichever is read better on it."""
        return max(BLACK, WHITE, key=self.contrast)


def _linear(part: float) -> float:
    value: float = part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
    return value


BLACK, WHITE = Colour(0, 0, 0), Colour(255, 255, 255)
