"""Chart review: the sample's weights, the file, and measures weighted back to the population."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_hospital import blank

from nlp_labeling.label_quality import import_review
from nlp_labeling.review_sample import allocate, draw_review_sample
from nlp_labeling.review_verdicts import ReviewFile, read_review_file, write_review_file
from nlp_labeling.weighted_share import Unit, weighted_share
from warehouse_schema.errors import ArgumentError, InputError
from warehouse_schema.home import Home
from warehouse_schema.store import Store
from warehouse_schema.tables.labels import IMAGE_LABELS, LABEL_EVIDENCE, LABEL_QUALITY

N_POSITIVE, N_NEGATIVE, N_UNCERTAIN = 40, 400, 10


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """40 positives by code and report, 400 negatives, 10 uncertain labels of one finding."""
    kinds = [
        *[("positive", "film_and_code_agree", "chest_film_report")] * N_POSITIVE,
        *[("negative", "denied_by_report", None)] * N_NEGATIVE,
        *[("uncertain", "only_uncertain", None)] * N_UNCERTAIN,
    ]
    labels, evidence = [], []
    for number, (label, reason, tier) in enumerate(kinds):
        head = {"image_id": f"i{number:03d}", "finding": "rib_fracture"}
        labels.append(blank(IMAGE_LABELS, **head, label=label, reason=reason, visibility_tier=tier))
        kind = "code" if label == "positive" and number % 2 else "chest_film_report"
        row = {"evidence_type": kind, "polarity": label, "rule_id": f"rule-{kind}"}
        evidence.append(blank(LABEL_EVIDENCE, **head, **row, evidence_id=f"e{number}"))
    store = Store(Home(tmp_path / "home"))
    with store.commit(stage="label") as commit:
        commit.replace(IMAGE_LABELS, pa.Table.from_pylist(labels, schema=IMAGE_LABELS.schema))
        commit.replace(LABEL_EVIDENCE, pa.Table.from_pylist(evidence, schema=LABEL_EVIDENCE.schema))
    return store


def review(store: Store, verdict_of: dict[str, str], n: int) -> dict[tuple[str, str, str], dict]:
    """Measures by scope, name and metric, where every label has the verdict named for it."""
    sample = draw_review_sample(store=store, n=n, seed=3, version=1)
    verdicts = {one.key: verdict_of[one.label["label"]] for one in sample}
    import_review(store=store, review=ReviewFile(verdicts=verdicts, version=1, n=n, seed=3))
    rows = store.read(LABEL_QUALITY).to_pylist()
    return {(row["scope"], row["name"], row["metric"]): row for row in rows}


@given(st.lists(st.integers(1, 500), min_size=1, max_size=12), st.integers(1, 300))
def test_allocation_spends_all_and_never_more_than_there_is(sizes: list[int], n: int) -> None:
    if n < len(sizes):
        with pytest.raises(ArgumentError, match="--n"):
            allocate(sizes, n)
        return
    taken = allocate(sizes, n)
    assert sum(taken) == min(n, sum(sizes))
    assert all(1 <= got <= size for got, size in zip(taken, sizes, strict=True))
    if n >= 2 * len(sizes):
        assert all(got >= min(2, size) for got, size in zip(taken, sizes, strict=True))


def test_weights_add_up_to_the_population_and_the_draw_repeats(store: Store) -> None:
    sample = draw_review_sample(store=store, n=60, seed=5)
    assert len({one.key for one in sample}) == 60
    assert sum(one.weight for one in sample) == pytest.approx(450)
    again = draw_review_sample(store=store, n=60, seed=5)
    assert [one.key for one in again] == [one.key for one in sample]
    other = draw_review_sample(store=store, n=60, seed=6)
    assert [one.key for one in other] != [one.key for one in sample]
    labels = Counter(one.label["label"] for one in sample)
    assert labels["positive"] > 60 * N_POSITIVE / 450


def test_a_perfect_labeller_is_perfect(store: Store) -> None:
    told = review(
        store, {"positive": "present", "negative": "absent", "uncertain": "uncertain"}, 60
    )
    for metric in ("sensitivity", "specificity", "ppv", "npv"):
        row = told["label", "label", metric]
        assert row["value"] == 1.0
        assert 0.5 < row["ci_low"] < row["ci_high"] == 1.0
    assert told["label", "label", "ppv"]["n_represented"] == pytest.approx(N_POSITIVE)
    assert told["label", "label", "npv"]["n_represented"] == pytest.approx(N_NEGATIVE)
    # Half of the positives have a code: the other half is missed by codes alone.
    assert told["source", "code", "sensitivity"]["value"] == pytest.approx(0.5)
    assert told["source", "code", "ppv"]["value"] == 1.0
    assert ("combination_row", "only_uncertain", "ppv") not in told
    assert told["combination_row", "denied_by_report", "npv"]["value"] == 1.0
    assert told["evidence_rule", "rule-code", "ppv"]["value"] == 1.0


def test_measures_of_a_whole_review_are_the_populations(store: Store) -> None:
    told = review(store, {"positive": "absent", "negative": "absent", "uncertain": "present"}, 450)
    row = told["label", "label", "specificity"]
    exact = N_NEGATIVE / (N_NEGATIVE + N_POSITIVE)
    assert (row["value"], row["ci_low"], row["ci_high"]) == pytest.approx((exact, exact, exact))
    assert told["label", "label", "ppv"]["value"] == 0.0
    assert ("label", "label", "sensitivity") not in told


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    sizes, shares, taken = (50, 500, 2000), (0.9, 0.4, 0.1), (20, 30, 40)
    populations = [
        np.arange(size) < round(size * share) for size, share in zip(sizes, shares, strict=True)
    ]
    truth = sum(one.sum() for one in populations) / sum(sizes)
    values, n_covered, n_draws = [], 0, 300
    for _ in range(n_draws):
        units = [
            Unit(stratum=str(k), n_stratum=sizes[k], is_in_domain=True, is_hit=bool(hit))
            for k, population in enumerate(populations)
            for hit in generator.choice(population, taken[k], replace=False)
        ]
        share = weighted_share(units)
        assert share.value is not None
        assert share.ci_low is not None
        assert share.ci_high is not None
        values.append(share.value)
        n_covered += share.ci_low <= truth <= share.ci_high
    assert np.mean(values) == pytest.approx(truth, abs=0.01)
    assert n_covered / n_draws > 0.93


def test_an_empty_domain_has_no_share() -> None:
    share = weighted_share([Unit(stratum="a", n_stratum=9, is_in_domain=False, is_hit=False)])
    assert (share.value, share.ci_low, share.n_reviewed) == (None, None, 0)


def test_the_file_is_blind_and_comes_back(store: Store, tmp_path: Path) -> None:
    sample = draw_review_sample(store=store, n=20, seed=1)
    path = tmp_path / "review.csv"
    write_review_file(path, sample, version=1, n=20, seed=1)
    text = path.read_text()
    assert "positive" not in text
    assert "denied_by_report" not in text
    back = read_review_file(path)
    assert list(back.verdicts) == [one.key for one in sample]
    assert (back.version, back.n, back.seed) == (1, 20, 1)
    with pytest.raises(ArgumentError, match="exists and may hold verdicts"):
        write_review_file(path, sample, version=1, n=20, seed=1)
    with pytest.raises(InputError, match="no row has a verdict"):
        import_review(store=store, review=back)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[0].remove("verdict"), "lacks the column verdict"),
        (lambda rows: rows[2].__setitem__(6, "maybe"), "line 3 has an unknown verdict"),
        (lambda rows: rows.append(rows[1]), "line 12 repeats an image"),
        (lambda rows: rows[1].__setitem__(5, "2"), "holds rows of 2 samples"),
        (lambda rows: rows.__delitem__(slice(1, None)), "holds rows of 0 samples"),
    ],
)
def test_a_spoilt_file_is_refused(store: Store, tmp_path: Path, change, message: str) -> None:
    path = tmp_path / "review.csv"
    sample = draw_review_sample(store=store, n=10, seed=1)
    write_review_file(path, sample, version=1, n=10, seed=1)
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    change(rows)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    with pytest.raises(InputError, match=message):
        read_review_file(path)


def test_a_row_that_was_not_drawn_is_refused(store: Store) -> None:
    verdicts = {("nobody", "rib_fracture"): "present"}
    with pytest.raises(InputError, match="line 2"):
        import_review(store=store, review=ReviewFile(verdicts=verdicts, version=1, n=10, seed=1))


def test_without_labels_there_is_no_sample(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="no labels yet"):
        draw_review_sample(store=Store(Home(tmp_path)), n=10, seed=0)
