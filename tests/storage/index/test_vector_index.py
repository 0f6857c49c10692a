"""The vector index gives the answers of a float64 brute force, whatever is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.exact_search import assert_bounds_are_in_use, assert_exact, brute, filled, small_sizes
from support.examples import examples
from support.unit_rows import SHAPES, clustered_rows, low_rank_rows, random_rows, unit

from recallm.storage.index.vector_index import VectorIndex, unit_row

if TYPE_CHECKING:
    from numpy.typing import NDArray

pytestmark = pytest.mark.once


def assert_searches_equal_brute_force(shape: str, dim: int, n: int) -> None:
    """Searches among rows of a shape are exact, for queries near and far, at any threshold."""
    rng = np.random.default_rng(dim + n)
    rows = SHAPES[shape](rng, n, dim)
    index = filled(rows)
    stored = {f"{number:06d}": row for number, row in enumerate(rows)}
    queries = np.concatenate((rows[:3], unit(rows[3:5] + 0.1 * random_rows(rng, 2, dim)), random_rows(rng, 2, dim)))

    for query in queries:
        cosines = brute(stored, query)
        for threshold in (-1.0, 0.3, 0.7, 0.85, 0.92, 0.97, 1.0):
            for limit in (1, 16):
                assert_exact(index.search(query, threshold, limit=limit), cosines, threshold, limit)
        assert_exact(index.search(query, -1.0, limit=4), cosines, -1.0, 4)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("dim", "n"), [(2, 900), (3, 5), (48, 1_400), (64, 900), (384, 700), (768, 420)])
@pytest.mark.usefixtures("small")
def test_search_equals_brute_force(shape: str, dim: int, n: int) -> None:
    """The best rows at or above any threshold are found, with and without bounds, in one block and many."""
    assert_searches_equal_brute_force(shape, dim, n)


@pytest.mark.untraced
@pytest.mark.parametrize(
    ("shape", "dim", "n"), [("duplicated", 48, 66_500), ("clustered", 384, 9_000), ("low rank", 1536, 2_600)]
)
def test_search_equals_brute_force_at_full_size(shape: str, dim: int, n: int) -> None:
    """With pieces and blocks of their usual sizes, the best rows at or above any threshold are found."""
    assert_searches_equal_brute_force(shape, dim, n)


@pytest.mark.parametrize("dim", [64, 384])
def test_bounds_are_in_use_on_large_clustered_partitions(dim: int) -> None:
    """From some 400,000 numbers on, clustered rows are searched by bounds at the usual thresholds."""
    assert_bounds_are_in_use(filled(clustered_rows(np.random.default_rng(1), 400_000 // dim + 3000, dim)))


@pytest.mark.parametrize("n", [40, 700, 1_100])
def test_rows_begin_a_cache_line(n: int) -> None:
    """The rows of all but the smallest partitions begin where processors read them fastest."""
    index = filled(random_rows(np.random.default_rng(1), n, 384))
    assert index._blocks[0].rows.ctypes.data % 64 == 0


@pytest.mark.parametrize(("dim", "n"), [(48, 1_400), (64, 900), (384, 700)])
@pytest.mark.usefixtures("small")
def test_small_sizes_cross_every_boundary(dim: int, n: int) -> None:
    """The few rows of these tests fill several blocks of several pieces, and are searched by bounds."""
    index = filled(clustered_rows(np.random.default_rng(1), n, dim))
    assert len(index._blocks) > 2
    assert len(index._blocks[0].tables) == 4
    assert_bounds_are_in_use(index)


@pytest.mark.parametrize("threshold", [0.7, 0.85, 0.92])
@pytest.mark.parametrize("n", [300, 900])
@pytest.mark.usefixtures("small")
def test_rows_within_a_millionth_of_the_threshold_fall_on_their_side(threshold: float, n: int) -> None:
    """A row just above the threshold is found and one just below is not, through every float32 sieve."""
    rng = np.random.default_rng(7)
    dim = 384
    rows = clustered_rows(rng, n, dim)
    query = rows[n // 2]
    wide = query.astype(np.float64)
    chosen = rng.permutation(n)[:200]
    chosen = chosen[chosen != n // 2]
    for number, offset in zip(chosen, rng.uniform(-1e-6, 1e-6, len(chosen)), strict=True):
        across = rng.standard_normal(dim)
        across -= (across @ wide) * wide / (wide @ wide)
        across /= np.linalg.norm(across)
        cosine = threshold + offset
        rows[number] = (cosine * wide / np.linalg.norm(wide) + np.sqrt(1 - cosine**2) * across).astype(np.float32)
    index = filled(rows)
    cosines = brute({f"{number:06d}": row for number, row in enumerate(rows)}, query)
    close = [cosine for cosine in cosines.values if abs(cosine - threshold) < 2e-6]
    assert min(close) < threshold < max(close)

    found = index.search(query, threshold, limit=n)

    assert_exact(found, cosines, threshold, n)
    exactly = found[-1][1]
    assert [key for key, _ in index.search(query, exactly, limit=n)] == [key for key, _ in found]
    assert len(index.search(query, np.nextafter(exactly, 2.0), limit=n)) < len(found)


@pytest.mark.parametrize("limit", [5, 50])
@pytest.mark.usefixtures("small")
def test_a_thousand_equal_rows_tie_by_key(limit: int) -> None:
    """Equal rows have equal similarities wherever they are stored, so that their keys alone order them."""
    rng = np.random.default_rng(3)
    rows = np.concatenate((clustered_rows(rng, 400, 384), np.repeat(random_rows(rng, 1, 384), 1_000, axis=0)))
    order = rng.permutation(len(rows))
    index = VectorIndex(384)
    for number in order:
        index.put(f"{number:06d}", rows[number])

    found = index.search(rows[-1], 0.9, limit=limit)

    assert [key for key, _ in found] == [f"{number:06d}" for number in range(400, 400 + limit)]
    assert len({similarity for _, similarity in found}) == 1


@examples(0.6)
@given(
    dim=st.integers(1, 24),
    seed=st.integers(0, 2**32 - 1),
    steps=st.lists(st.tuples(st.sampled_from("pppdr"), st.integers(0, 40), st.integers(0, 6)), max_size=120),
    threshold=st.floats(-1, 1),
    limit=st.integers(1, 5),
)
def test_any_history_of_writes_leaves_the_rows_written_last(
    dim: int, seed: int, steps: list[tuple[str, int, int]], threshold: float, limit: int
) -> None:
    """After appends, replacements and deletes in any order, the index answers as a dict of last writes."""
    rows = random_rows(np.random.default_rng(seed), 7, dim)
    # Forty rows fill five blocks of two pieces.
    with small_sizes(_PIECE_ROWS=4, _BLOCK_PIECES=2, _SCORED_UNDER_LOCK=12):
        index, model = VectorIndex(dim), dict[str, "NDArray[np.float32]"]()
        for action, name, which in steps:
            key = str(name)
            if action == "d":
                assert index.discard(key) == (model.pop(key, None) is not None)
            else:
                index.put(key, rows[which])
                model[key] = rows[which]

        found = index.search(rows[0], threshold, limit=limit)

    assert len(index) == len(model)
    assert_exact(found, brute(model, rows[0]), threshold, limit)


@pytest.mark.parametrize("dim", [64, 384])
@pytest.mark.usefixtures("small")
def test_churn_across_blocks_and_relearning_stays_exact(dim: int) -> None:
    """Growing, replacing and shrinking through blocks, learning and relearning never lose or invent a row."""
    rng = np.random.default_rng(11)
    pool = np.concatenate((clustered_rows(rng, 600, dim), low_rank_rows(rng, 300, dim)))
    index, model = VectorIndex(dim), dict[str, "NDArray[np.float32]"]()
    target = 2_000
    for grow in (0.95, 0.5, 0.05):
        for step in range(target):
            key = str(rng.integers(0, target))
            if rng.random() < grow:
                row = pool[rng.integers(0, len(pool))]
                index.put(key, row)
                model[key] = row
            else:
                assert index.discard(key) == (model.pop(key, None) is not None)
            if step % (target // 6) == 0:
                query = unit(pool[rng.integers(0, len(pool))] + 0.05 * random_rows(rng, 1, dim))[0]
                cosines = brute(model, query)
                for threshold in (0.7, 0.92):
                    assert_exact(index.search(query, threshold), cosines, threshold, 16)
    for key in list(model):
        assert index.discard(key)
    assert len(index) == 0
    assert index.search(pool[0], 0.0) == []
    assert index._blocks == []


@pytest.mark.parametrize("n", [5, 900])
@pytest.mark.usefixtures("small")
def test_queries_of_any_layout_and_width_are_taken(n: int) -> None:
    """Strided, reversed, float64 and list queries give what their contiguous float32 copy gives."""
    rng = np.random.default_rng(2)
    rows = clustered_rows(rng, n, 384)
    index = filled(rows)
    query = rows[1]
    doubled = np.zeros(768, np.float32)
    doubled[::2] = query
    fortran = np.asfortranarray(rows)

    expected = index.search(query, 0.5)

    assert index.search(doubled[::2], 0.5) == expected
    assert index.search(query[::-1].copy()[::-1], 0.5) == expected
    assert index.search(fortran[1], 0.5) == expected
    assert index.search(query.astype(np.float64), 0.5) == expected
    assert index.search(query.tolist(), 0.5) == expected


def test_stored_rows_are_copies() -> None:
    """Changing an array after putting it does not change the index."""
    row = np.array([1, 0], np.float32)
    index = VectorIndex(2)
    index.put("a", row)

    row[:] = (0, 1)

    assert index.search(np.array([1, 0]), 0.9) == [("a", 1.0)]


@pytest.mark.parametrize(
    "vector",
    [
        np.ones(3, np.float32),
        np.zeros(2, np.float32),
        np.array([np.nan, 1.0]),
        np.array([np.inf, 0.0]),
        np.array([1.0, 0.1]),
        np.ones((2, 1)),
        np.float32(1.0),
    ],
)
def test_a_vector_that_is_not_a_unit_vector_of_the_right_shape_is_refused(
    vector: NDArray[np.float32],
) -> None:
    """Every entrance refuses it and leaves the index as it was."""
    index = VectorIndex(2)
    with pytest.raises(ValueError, match="vector"):
        index.put("a", vector)
    with pytest.raises(ValueError, match="vector"):
        index.search(vector, 0.9)
    with pytest.raises(ValueError, match="vector"):
        unit_row(vector, 2)
    assert len(index) == 0


@pytest.mark.parametrize("dim", [0, -1, 2.0, "2", True])
def test_a_dim_that_is_not_a_positive_integer_is_refused(dim: int) -> None:
    """The message shows what was given."""
    with pytest.raises(ValueError, match="dim="):
        VectorIndex(dim)


def test_odd_limits_and_thresholds() -> None:
    """A limit below one and a NaN threshold are refused; a threshold beyond all cosines finds all or none."""
    index = VectorIndex(2)
    query = np.array([1, 0], np.float32)
    index.put("a", query)
    with pytest.raises(ValueError, match="limit=0"):
        index.search(query, 0.5, limit=0)
    with pytest.raises(ValueError, match="threshold=nan"):
        index.search(query, float("nan"))
    assert index.search(query, float("inf")) == []
    assert index.search(query, 1.5) == []
    assert index.search(-query, float("-inf")) == [("a", -1.0)]


@pytest.mark.parametrize("dim", [48, 384])
@pytest.mark.usefixtures("small")
def test_searches_are_exact_while_axes_are_learnt(dim: int) -> None:
    """A block may have pieces with bounds under new axes, under old ones and without bounds at the same time."""
    rng = np.random.default_rng(19)
    rows = clustered_rows(rng, 1_400, dim)
    index, model = VectorIndex(dim), dict[str, "NDArray[np.float32]"]()
    learning = 0
    for number, row in enumerate(rows):
        key = str(number % 700)
        index.put(key, row)
        model[key] = row
        if index._chore is not None:
            learning += 1
            query = rows[int(rng.integers(0, len(rows)))]
            cosines = brute(model, query)
            for threshold in (0.5, 0.85):
                assert_exact(index.search(query, threshold), cosines, threshold, 16)
    assert learning > 50
    assert_bounds_are_in_use(index)


def test_the_row_of_a_key_is_returned_as_it_was_put() -> None:
    """A stored vector can be read back, as a copy, after others have been removed; of an unknown key there is none."""
    index = VectorIndex(3)
    rows = {name: np.eye(3, dtype=np.float32)[place] for place, name in enumerate("abc")}
    for name, row in rows.items():
        index.put(name, row)
    index.discard("a")
    assert index.vector("a") is None
    for name in "bc":
        found = index.vector(name)
        assert found is not None
        assert found.tolist() == rows[name].tolist()
        found[:] = 0.0
    assert index.search(rows["c"], 0.9) == [("c", 1.0)]
