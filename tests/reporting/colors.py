"""What the eye makes of colours, by the formulas of the literature."""

import itertools

import numpy as np

# Machado, Oliveira and Fernandes (2009), severity 1.
BLINDNESS = {
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
XYZ = np.array(
    [
        [0.4124, 0.3576, 0.1805],
        [0.2126, 0.7152, 0.0722],
        [0.0193, 0.1192, 0.9505],
    ]
)


def linear(color: str) -> np.ndarray:
    digits = color.removeprefix("#")
    if len(digits) == 3:
        digits = "".join(digit * 2 for digit in digits)
    channels = np.array([int(digits[i : i + 2], 16) for i in (0, 2, 4)]) / 255
    return np.where(
        channels <= 0.04045,
        channels / 12.92,
        ((channels + 0.055) / 1.055) ** 2.4,
    )


def contrast(first: str, second: str) -> float:
    """The contrast ratio of WCAG 2."""
    low, high = sorted(float(XYZ[1] @ linear(c)) for c in (first, second))
    return (high + 0.05) / (low + 0.05)


def least_difference(colors, blindness: str) -> float:
    """The least CIELAB distance of two colours, for people who see less."""
    seen = [
        _lab(np.clip(np.array(BLINDNESS[blindness]) @ linear(color), 0, 1))
        for color in colors
    ]
    return min(
        float(np.linalg.norm(first - second))
        for first, second in itertools.combinations(seen, 2)
    )


def _lab(rgb: np.ndarray) -> np.ndarray:
    x, y, z = np.cbrt(XYZ @ rgb / XYZ.sum(axis=1))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])
