"""The vector index gives the answers of a float64 brute force, whatever is stored and whoever else writes."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recallm.storage.index.bounds import SLACK, Axes, learn_axes
from recallm.storage.index.vector_index import VectorIndex

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

ROUNDING = 1e-12


def unit(rows: NDArray[np.floating]) -> NDArray[np.float32]:
    """Rows divided by their norms, in float32."""
    wide = np.atleast_2d(np.asarray(rows, np.float64))
    units: NDArray[np.float32] = (wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float32)
    return units


def filled(rows: NDArray[np.float32]) -> VectorIndex:
    """An index of these rows, keyed by their number."""
    index = VectorIndex(rows.shape[1])
    for number, row in enumerate(rows):
        index.put(f"{number:06d}", row)
    return index


def brute(rows: dict[str, NDArray[np.float32]], query: NDArray[np.float32]) -> dict[str, float]:
    """Every key's float64 cosine, computed independently of the index."""
    matrix = np.array(list(rows.values()), np.float64).reshape(-1, len(query))
    return dict(zip(rows, (matrix @ query.astype(np.float64)).tolist(), strict=True))


def assert_exact(found: list[tuple[str, float]], cosines: dict[str, float], threshold: float, limit: int) -> None:
    """The found rows are the best `limit` at or above the threshold, to float64 rounding."""
    keys = [key for key, _ in found]
    assert len(set(keys)) == len(keys)
    assert found == sorted(found, key=lambda row: (-row[1], row[0]))
    for key, similarity in found:
        assert similarity == pytest.approx(cosines[key], abs=ROUNDING)
        assert similarity >= threshold
    sure = sum(cosine >= threshold + ROUNDING for cosine in cosines.values())
    possible = sum(cosine >= threshold - ROUNDING for cosine in cosines.values())
    assert min(sure, limit) <= len(found) <= min(possible, limit)
    lowest = found[-1][1] if len(found) == limit else threshold
    for key, cosine in cosines.items():
        assert key in keys or cosine <= lowest + ROUNDING


def random_rows(rng: np.random.Generator, n: int, dim: int) -> NDArray[np.float32]:
    """Directions spread evenly."""
    return unit(rng.standard_normal((n, dim)))


def clustered_rows(rng: np.random.Generator, n: int, dim: int) -> NDArray[np.float32]:
    """Tight groups around shared centres on a few leading directions."""
    centres = rng.standard_normal((max(2, n // 40), dim)) * np.geomspace(1.0, 0.02, dim)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    noise = rng.standard_normal((n, dim)) * (0.25 / np.sqrt(dim))
    return unit(centres[rng.integers(0, len(centres), n)] + noise)


def duplicated_rows(rng: np.random.Generator, n: int, dim: int) -> NDArray[np.float32]:
    """Half the rows equal, the others clustered."""
    rows = clustered_rows(rng, n, dim)
    rows[rng.permutation(n)[: n // 2]] = rows[0]
    return rows


def anisotropic_rows(rng: np.random.Generator, n: int, dim: int) -> NDArray[np.float32]:
    """A narrow cone: every pair is alike."""
    return unit(rng.standard_normal((n, dim)) * 0.6 / np.sqrt(dim) + unit(rng.standard_normal(dim)))


def low_rank_rows(rng: np.random.Generator, n: int, dim: int) -> NDArray[np.float32]:
    """Rows in a subspace of a few dimensions, where residual norms vanish."""
    rank = max(1, min(5, dim - 1))
    return unit(rng.standard_normal((n, rank)) @ rng.standard_normal((rank, dim)))


SHAPES: dict[str, Callable[[np.random.Generator, int, int], NDArray[np.float32]]] = {
    "random": random_rows,
    "clustered": clustered_rows,
    "duplicated": duplicated_rows,
    "anisotropic": anisotropic_rows,
    "low rank": low_rank_rows,
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("dim", "n"), [(2, 900), (3, 5), (48, 70_000), (64, 18_000), (384, 9_000), (1536, 2_600)])
def test_search_equals_brute_force(shape: str, dim: int, n: int) -> None:
    """The best rows at or above any threshold are found, with and without bounds, in one block and many."""
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


@pytest.mark.parametrize("dim", [64, 384])
def test_bounds_are_in_use_on_large_clustered_partitions(dim: int) -> None:
    """The cases above would prove little if bounds were never used; at the usual thresholds they are."""
    index = filled(clustered_rows(np.random.default_rng(1), (1 << 20) // dim + 3000, dim))

    axes = index._axes

    assert axes is not None
    assert axes.head_at(0.92) > 0
    pieces = -(-len(index) // index._piece_rows)
    tables = [table for block in index._blocks for table in block.tables][:pieces]
    assert all(table is not None and table.axes is axes for table in tables)


@pytest.mark.parametrize("threshold", [0.7, 0.85, 0.92])
@pytest.mark.parametrize("n", [300, 9_000])
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
    close = [cosine for cosine in cosines.values() if abs(cosine - threshold) < 2e-6]
    assert min(close) < threshold < max(close)

    found = index.search(query, threshold, limit=n)

    assert_exact(found, cosines, threshold, n)
    exactly = found[-1][1]
    assert [key for key, _ in index.search(query, exactly, limit=n)] == [key for key, _ in found]
    assert len(index.search(query, np.nextafter(exactly, 2.0), limit=n)) < len(found)


def test_ten_thousand_equal_rows_tie_by_key() -> None:
    """Equal rows have equal similarities wherever they are stored, so that their keys alone order them."""
    rng = np.random.default_rng(3)
    rows = np.concatenate((clustered_rows(rng, 4_000, 384), np.repeat(random_rows(rng, 1, 384), 10_000, axis=0)))
    order = rng.permutation(len(rows))
    index = VectorIndex(384)
    for number in order:
        index.put(f"{number:06d}", rows[number])

    found = index.search(rows[-1], 0.9, limit=50)

    assert [key for key, _ in found] == [f"{number:06d}" for number in range(4_000, 4_050)]
    assert len({similarity for _, similarity in found}) == 1


@settings(max_examples=60, deadline=None)
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
def test_churn_across_blocks_and_relearning_stays_exact(dim: int) -> None:
    """Growing, replacing and shrinking through blocks, learning and relearning never lose or invent a row."""
    rng = np.random.default_rng(11)
    pool = np.concatenate((clustered_rows(rng, 6_000, dim), low_rank_rows(rng, 3_000, dim)))
    index, model = VectorIndex(dim), dict[str, "NDArray[np.float32]"]()
    target = (1 << 20) // dim + 6_000
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
                cosines = brute(model, query) if model else {}
                for threshold in (0.7, 0.92):
                    assert_exact(index.search(query, threshold), cosines, threshold, 16)
    for key in list(model):
        assert index.discard(key)
    assert len(index) == 0
    assert index.search(pool[0], 0.0) == []
    assert index._blocks == []


@pytest.mark.parametrize("n", [5, 9_000])
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
        index.check(vector)
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


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dim", [33, 64, 384])
def test_every_bound_is_at_least_the_cosine(shape: str, dim: int) -> None:
    """At every prefix the float32 bound, with its slack, is not under the float64 cosine."""
    rng = np.random.default_rng(dim)
    rows = SHAPES[shape](rng, 1_500, dim)
    ends = (9, 17) if dim < 64 else (17, 26, 52)
    spread = np.zeros((dim, ends[-1]))
    axes_at = np.delete(np.arange(ends[-1]), np.subtract(ends, 1))
    leading = np.linalg.svd(rows[:800].astype(np.float64), full_matrices=False)[2].T
    spread[:, axes_at[: leading.shape[1]]] = leading[:, : len(axes_at)]
    axes = Axes(spread, ends, (0,) * 101)
    table = axes.table(rows)
    assert np.allclose(table[5], axes.table_row(rows[5]), atol=2e-6)
    queries = np.concatenate((rows[-20:], random_rows(rng, 20, dim)))

    for query in queries:
        cosines = rows.astype(np.float64) @ query.astype(np.float64)
        for head in ends[:-1]:
            first, rest = axes.weights(query, head)
            loose = table[:, :head] @ first
            tight = loose + axes.split(table)[1] @ rest
            for bounds in (loose, tight):
                assert (bounds.astype(np.float64) + SLACK - 2.0**-24 >= cosines).all()
            assert (tight <= loose + SLACK).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_learnt_axes_are_orthonormal_and_prefer_fewer_for_stricter_thresholds(shape: str) -> None:
    """Whatever the sample, the axes are orthonormal (or zero) to 1e-12, which the bounds rest on."""
    learning = learn_axes(SHAPES[shape](np.random.default_rng(5), 1_200, 384), 0.85)
    axes: Axes | None = None
    try:
        while True:
            next(learning)
    except StopIteration as finished:
        axes = finished.value
    if shape == "random":
        # Nothing leads in evenly spread directions; bounds pay at the strictest thresholds at most.
        assert axes is None or axes.head_at(0.7) == 0
        return
    assert axes is not None
    used = axes.spread[:, np.delete(np.arange(axes.ends[-1]), np.subtract(axes.ends, 1))]
    products = used.T @ used
    kept = np.diag(products) > 0.5
    assert np.abs(products - np.diag(kept.astype(float))).max() < 1e-12
    assert kept.sum() >= (5 if shape == "low rank" else used.shape[1])
    assert axes.head_at(-0.5) == 0
    assert axes.head_at(0.99) <= axes.ends[-1]


def test_readers_never_see_a_wrong_row_while_writers_move_them() -> None:
    """Under deletes, replacements and appends, each answer holds every standing row and true cosines only."""
    rng = np.random.default_rng(13)
    dim = 384
    standing = clustered_rows(rng, 5_000, dim)
    moving = clustered_rows(rng, 3_000, dim)
    index = VectorIndex(dim)
    for number in range(5_000):
        index.put(f"m{number % 3_000}", moving[number % 3_000])
        index.put(f"s{number}", standing[number])
    vectors = {f"s{n}": row for n, row in enumerate(standing)} | {f"m{n}": row for n, row in enumerate(moving)}
    failures: list[str] = []
    done = threading.Event()
    searched = [0] * 3

    def read(seed: int) -> None:
        local = np.random.default_rng(seed)
        try:
            while not done.is_set():
                number = int(local.integers(0, 5_000))
                threshold = float(local.choice([0.7, 0.85, 0.99]))
                found = index.search(standing[number], threshold, limit=400)
                searched[seed] += 1
                if f"s{number}" not in dict(found):
                    failures.append(f"s{number} is missing at {threshold}")
                for key, similarity in found:
                    true = float(vectors[key].astype(np.float64) @ standing[number].astype(np.float64))
                    if abs(true - similarity) > ROUNDING or similarity < threshold:
                        failures.append(f"{key} has {similarity}, not {true}")
        except Exception as error:  # noqa: BLE001 - reported by the main thread
            failures.append(repr(error))

    def write() -> None:
        local = np.random.default_rng(99)
        for _ in range(15_000):
            number = int(local.integers(0, 3_000))
            if not index.discard(f"m{number}") or local.random() < 0.5:
                index.put(f"m{number}", moving[number])
            if local.random() < 0.2:
                again = int(local.integers(0, 5_000))
                index.put(f"s{again}", standing[again])
        done.set()

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(3)] + [threading.Thread(target=write)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert min(searched) > 0
