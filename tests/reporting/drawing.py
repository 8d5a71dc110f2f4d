"""Reads the shapes of a drawing back."""

import re
from xml.etree import ElementTree

import numpy as np

NAMESPACE = "{http://www.w3.org/2000/svg}"


def texts(drawing: str) -> list[str]:
    root = ElementTree.fromstring(drawing)
    return [element.text for element in root.iter(f"{NAMESPACE}text")]


def lines(drawing: str, color: str, width: str = "2") -> list[np.ndarray]:
    """The (n, 2) points of each drawn line of a colour."""
    return [
        points(path)
        for path in ElementTree.fromstring(drawing).iter(f"{NAMESPACE}path")
        if f"stroke: {color}" in path.get("style", "")
        and f"stroke-width: {width}" in path.get("style", "")
        and path.get("clip-path")
    ]


def filled(drawing: str, color: str) -> list[ElementTree.Element]:
    return [
        path
        for path in ElementTree.fromstring(drawing).iter(f"{NAMESPACE}path")
        if f"fill: {color}" in path.get("style", "")
    ]


def points(path: ElementTree.Element) -> np.ndarray:
    numbers = re.findall(r"-?\d+(?:\.\d+)?", path.get("d"))
    return np.array(numbers, "float64").reshape(-1, 2)
