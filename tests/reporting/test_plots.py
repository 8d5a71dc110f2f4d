import re

import numpy as np
import pytest

from kbig.errors import UsageError
from kbig.reporting import plots
from kbig.reporting.svg import PALETTE
from kbig.reporting.tables import Bytes
from kbig.reporting.tables import Seconds
from tests.reporting.drawing import filled
from tests.reporting.drawing import lines
from tests.reporting.drawing import points
from tests.reporting.drawing import texts


def test_a_curve_has_its_values_to_scale():
    (line,) = lines(plots.curves({"loss": [4, 1, 2]}, "Loss"), PALETTE[0])
    x, y = line.T
    assert x[2] - x[1] == pytest.approx(x[1] - x[0])
    # Upwards on the page is towards zero.
    assert (y[1] - y[0]) / (y[1] - y[2]) == pytest.approx((4 - 1) / (2 - 1))


def test_a_logarithmic_curve_has_equal_factors_equally_far_apart():
    drawing = plots.curves({"loss": [100, 10, 1]}, "Loss", log=True)
    y = lines(drawing, PALETTE[0])[0][:, 1]
    assert y[1] - y[0] == pytest.approx(y[2] - y[1])
    assert {"1", "10", "100"} <= set(texts(drawing))


def test_a_logarithmic_axis_names_more_than_decades_when_there_are_few():
    drawing = plots.curves({"loss": [9, 1.5]}, "Loss", log=True)
    assert {"2", "5"} <= set(texts(drawing))


def test_positions_are_to_scale_when_given():
    drawing = plots.curves({"loss": [1, 2, 1]}, "Loss", x=[0, 10, 40])
    x = lines(drawing, PALETTE[0])[0][:, 0]
    assert (x[2] - x[1]) / (x[1] - x[0]) == pytest.approx(3)


def test_validation_shares_the_color_of_training_and_is_dashed():
    history = {
        "loss": [3, 2, 1],
        "accuracy": [0, 1, 0],
        "val_loss": [3, 3, 2],
    }
    drawing = plots.curves(history, "Both")
    colors = [len(lines(drawing, color)) for color in PALETTE[:3]]
    assert colors == [2, 1, 0]
    dashed = re.findall(r"clip-path[^>]*dasharray[^>]*stroke: (#\w+)", drawing)
    assert dashed == [PALETTE[0]]
    assert {"loss", "accuracy", "val_loss"} <= set(texts(drawing))


def test_long_curves_are_thinned_and_keep_their_peak():
    loss = np.ones(50_000)
    loss[31_234] = 9
    drawing = plots.curves({"loss": loss}, "Loss", x_label="step")
    (line,) = lines(drawing, PALETTE[0])
    assert len(line) <= 600
    x, y = line.T
    share = (x[y.argmin()] - x[0]) / (x[-1] - x[0])
    assert share == pytest.approx(31_234 / 49_999, abs=1e-4)


def test_names_out_of_data_are_shown_as_they_are():
    name = "_a$\\frac{b$ <i>日本\n🎉"
    shown = "_a$\\frac{b$ <i>日本 🎉"
    assert shown in texts(plots.curves({name: [1, 2]}, name, y_label=name))
    assert shown in texts(plots.bars([name], [1], name))
    long = plots.bars(["w" * 2000], [1], "Long")
    assert "w" * 21 + "…" in texts(long)


def test_a_forecast_starts_where_the_past_ends():
    drawing = plots.forecast(
        [1, 2, 3], [4, 5], {"lstm": [4, 4], "naive": [3, 3]}, "°C", "Sea"
    )
    past, target = lines(drawing, "currentColor")
    step = past[1, 0] - past[0, 0]
    assert target[0, 0] - past[-1, 0] == pytest.approx(step)
    (lstm,) = lines(drawing, PALETTE[0])
    (naive,) = lines(drawing, PALETTE[1])
    np.testing.assert_allclose(lstm[:, 0], target[:, 0])
    assert lstm[0, 1] == pytest.approx(target[0, 1])
    assert naive[0, 1] == pytest.approx(past[2, 1])
    assert {"past", "target", "lstm", "naive", "°C"} <= set(texts(drawing))


def test_a_horizon_of_one_step_is_seen():
    drawing = plots.forecast([1, 2], [3], {"lstm": [4]}, "°C", "Sea")
    for color in ("currentColor", PALETTE[0]):
        # One on the plot and one in the legend.
        assert len(re.findall(rf"<use [^>]*fill: {color}", drawing)) == 2
    curve = plots.curves({"loss": [1]}, "One epoch")
    assert len(re.findall(rf"<use [^>]*fill: {PALETTE[0]}", curve)) == 2


def test_bars_are_as_long_as_their_values_and_keep_their_order():
    drawing = plots.bars(
        ["float32", "int8", "none"],
        [Bytes(90_000_000), Bytes(22_500_000), Bytes(0)],
        "Size",
    )
    widths = [np.ptp(points(bar)[:, 0]) for bar in filled(drawing, PALETTE[0])]
    assert widths[1] / widths[0] == pytest.approx(0.25, abs=1e-6)
    assert widths[2] == 0
    tops = [points(bar)[:, 1].min() for bar in filled(drawing, PALETTE[0])]
    assert tops == sorted(tops)
    assert texts(drawing) == [
        "float32",
        "int8",
        "none",
        "90 MB",
        "22.5 MB",
        "0 B",
    ]


def test_the_unit_of_bars_comes_from_the_caller_or_the_value():
    assert "12,000 tokens/s" in texts(
        plots.bars(["a"], [12000], "Speed", unit="tokens/s")
    )
    assert "27.1 ms" in texts(plots.bars(["a"], [Seconds(0.0271)], "Latency"))


@pytest.mark.parametrize(
    "draw, message",
    [
        (lambda: plots.curves({}, "t"), "at least one curve"),
        (lambda: plots.curves({"a": [1, 0]}, "t", log=True), r"min\(a\)=0.0"),
        (
            lambda: plots.curves({"a": [1, 2]}, "t", x=[0, float("inf")]),
            r"x\[1\]=inf",
        ),
        (lambda: plots.forecast([], [1], {}, "", "t"), r"past of shape \(0,\)"),
        (
            lambda: plots.forecast([1], [1, 2], {"m": [1]}, "", "t"),
            r"predictions\['m'\]\)=1",
        ),
        (lambda: plots.bars([], [], "t"), "values of shape"),
        (lambda: plots.bars(["a"], [1, 2], "t"), r"len\(names\)=1"),
        (lambda: plots.bars(["a"], [-1], "t"), "no value may be negative"),
        (lambda: plots.bars(["a"], [None], "t"), r"values\[0\]=nan"),
    ],
)
def test_what_cannot_be_drawn_is_refused(draw, message):
    with pytest.raises(UsageError, match=message):
        draw()
