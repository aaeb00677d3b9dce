"""Ordination plots: the axes of scikit-learn, and every name as plain text."""

import io
from collections import Counter

import numpy as np
import pytest
from matplotlib.figure import Figure
from sklearn.decomposition import PCA

from aammodel.reports.ordination import COLORS, Ordination, draw_ordinations, pca, pcoa, plain_text
from tests.helpers.names import NAMES


def points(number: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(number, 5)).astype(np.float32)


def distances(number: int) -> np.ndarray:
    places = points(number).astype(np.float64)
    return np.abs(places[:, None] - places).sum(axis=2)


def two(number: int) -> list[Ordination]:
    return [pca(points(number), "a"), pcoa(distances(number), "b")]


def drawn(figure: Figure) -> list[str]:
    """Draw a figure, and return the texts of its legend: the title and the labels."""
    figure.savefig(io.BytesIO(), format="png")
    legend = figure.legends[0]
    return [legend.get_title().get_text(), *(text.get_text() for text in legend.get_texts())]


def test_axes_are_those_of_scikit_learn() -> None:
    found, model = pca(points(30), ""), PCA(2)
    expected = model.fit_transform(points(30).astype(np.float64))
    np.testing.assert_allclose(np.abs(found.coordinates), np.abs(expected), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(found.explained, model.explained_variance_ratio_, rtol=1e-6)
    # Principal coordinates of Euclidean distances are principal components (Gower 1966).
    places = points(30).astype(np.float64)
    found = pcoa(np.sqrt(((places[:, None] - places) ** 2).sum(axis=2)), "")
    np.testing.assert_allclose(np.abs(found.coordinates), np.abs(expected), atol=1e-6)
    np.testing.assert_allclose(found.explained, model.explained_variance_ratio_, rtol=1e-6)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_few_or_equal_samples_are_drawn(number: int) -> None:
    for ordinations in (two(number), [pca(np.ones((number, 5)), "a"), pcoa(np.zeros((number, number)), "b")]):
        assert all(np.isfinite(each.coordinates).all() for each in ordinations)
        draw_ordinations(ordinations).savefig(io.BytesIO(), format="png")
        draw_ordinations(ordinations, np.ones(number), "x").savefig(io.BytesIO(), format="png")
        draw_ordinations(ordinations, np.full(number, np.nan), "x").savefig(io.BytesIO(), format="png")
        values = np.array([None] * number, dtype=object)
        assert drawn(draw_ordinations(ordinations, values, "x")) == ["x", f"no value ({number})"]


def test_every_name_is_drawn_as_plain_text() -> None:
    for start in range(0, len(NAMES), 20):
        names = np.array([*NAMES[start : start + 20], None], dtype=object)
        figure = draw_ordinations(two(len(names)), names, str(names[0]))
        title, *labels = drawn(figure)
        assert title == plain_text(str(names[0]))
        expected = [f"{plain_text(name)} (1)" for name in sorted(filter(None, names))]
        assert labels == [*expected, "no value (1)"]
    assert plain_text("$x_1$") == "$x_1$"
    assert plain_text("_x") == "_x"
    assert plain_text("\u65e5\n") == "\\u65e5\\n"


def test_numbers_have_a_scale_with_the_name_as_plain_text() -> None:
    figure = draw_ordinations(two(6), np.array([1.0, np.nan, 3, 1e300, -1e300, np.inf]), "$a$")
    figure.savefig(io.BytesIO(), format="png")
    bar = figure.axes[-1]
    assert bar.yaxis.label.get_text() == "$a$"
    assert not bar.yaxis.label.get_parse_math()
    assert "no value (2)" in bar.get_title(loc="left")


def test_classes_differ_in_color_or_marker_and_rare_ones_are_joined() -> None:
    values = np.array([f"c{number:02d}" for number in range(30) for _ in range(31 - number)], dtype=object)
    labels = drawn(draw_ordinations(two(len(values)), values, "x"))[1:]
    counts = Counter(values)
    assert labels[:23] == [f"c{number:02d} ({counts[f'c{number:02d}']})" for number in range(23)]
    assert labels[23:] == [f"7 others ({sum(counts[f'c{n:02d}'] for n in range(23, 30))})"]
    handles = draw_ordinations(two(24), values[np.unique(values, return_index=True)[1]][:24], "x").legends[0]
    looks = {(line.get_markerfacecolor(), line.get_marker()) for line in handles.legend_handles}
    assert len(looks) == 24
    assert {color for color, _ in looks} == set(COLORS)
