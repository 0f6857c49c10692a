"""Vectors made comparable."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recallm.errors import OddVectorError
from recallm.scoring import normalise, similarity

floats = st.floats(allow_nan=False, allow_infinity=False)
vectors = st.lists(floats, min_size=1, max_size=8).filter(any)
moderate = st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=3).filter(lambda vector: max(map(abs, vector)) > 1e-3)


@given(vectors)
def test_every_vector_with_a_direction_becomes_a_unit_vector(vector: list[float]) -> None:
    """A vector has length 1 after `normalise`, however large or small its components are."""
    unit = normalise(vector)
    assert unit.dtype == np.float32
    assert unit.shape == (len(vector),)
    assert math.isclose(float(np.linalg.norm(unit.astype(np.float64))), 1.0, abs_tol=1e-6)


@given(moderate, st.floats(1e-3, 1e3))
def test_length_does_not_count(vector: list[float], factor: float) -> None:
    """A vector and its multiple have similarity 1, and -1 with the opposite."""
    unit = normalise(vector)
    assert math.isclose(similarity(unit, normalise([factor * each for each in vector])), 1.0, abs_tol=1e-6)
    assert math.isclose(similarity(unit, normalise([-each for each in vector])), -1.0, abs_tol=1e-6)


@given(moderate, moderate)
def test_similarity_is_the_cosine(one: list[float], other: list[float]) -> None:
    """Similarity is symmetric, and is what the definition of the cosine gives."""
    expected = sum(a * b for a, b in zip(one, other, strict=True)) / (math.hypot(*one) * math.hypot(*other))
    found = similarity(normalise(one), normalise(other))
    assert math.isclose(found, expected, abs_tol=1e-6)
    assert found == similarity(normalise(other), normalise(one))


@pytest.mark.parametrize(
    "vector",
    [
        [3, 4],
        (3.0, 4.0),
        np.array([3.0, 4.0]),
        np.array([3, 4], dtype=np.int8),
        np.array([3, 4], dtype=np.float16),
        np.array([3.0, 0.0, 4.0, 0.0])[::2],
        [3e300, 4e300],
        [3e-320, 4e-320],
    ],
)
def test_any_sequence_of_numbers_is_an_embedding(vector: Any) -> None:
    """Lists, tuples and arrays of any real dtype and order give the same unit vector."""
    assert normalise(vector).tolist() == pytest.approx([0.6, 0.8], abs=1e-4)


@pytest.mark.parametrize(
    "vector",
    [
        [],
        [0.0, 0.0],
        [float("nan"), 1.0],
        [1.0, float("nan")],
        [float("inf"), 1.0],
        [-float("inf"), 1.0],
        [[1.0, 2.0]],
        [[1.0], [1.0, 2.0]],
        1.0,
        None,
        "text",
        ["a", "b"],
        [None, 1.0],
        [10**400, 1],
        np.zeros(3),
        np.ones((1, 3)),
        {"a": 1.0},
        object(),
    ],
)
def test_what_is_no_vector_is_refused(vector: Any) -> None:
    """What is empty, ragged, flat, without direction, infinite or not of numbers is refused."""
    with pytest.raises(OddVectorError, match="the embedder returned"):
        normalise(vector)


def test_another_dimension_is_refused() -> None:
    """Vectors of different dimensions have no similarity, and the message names both shapes."""
    with pytest.raises(OddVectorError, match=r"\(2,\).*\(3,\)"):
        similarity(normalise([1.0, 2.0]), normalise([1.0, 2.0, 3.0]))


def test_what_is_refused_is_named_by_its_type() -> None:
    """The message names the type of what is refused, and not its value, which may hold a prompt."""
    with pytest.raises(OddVectorError, match="returned a str that is not a vector"):
        normalise("a prompt")  # type: ignore[arg-type]  # what is refused is the point


def test_similarities_are_summed_in_double_precision() -> None:
    """The sum of the products does not depend on the rounding of float32."""
    one, other = normalise([0.1] * 1000), normalise([0.1] * 999 + [0.1001])
    exact = sum(float(a) * float(b) for a, b in zip(one, other, strict=True))
    assert similarity(one, other) == pytest.approx(exact, abs=1e-12)


def test_the_result_is_a_read_only_copy() -> None:
    """What is stored cannot be changed through what the embedder returned."""
    source = np.array([1.0, 0.0], dtype=np.float32)
    unit = normalise(source)
    source[0] = 5.0
    assert unit.tolist() == [1.0, 0.0]
    with pytest.raises(ValueError, match="read-only"):
        unit[0] = 5.0
