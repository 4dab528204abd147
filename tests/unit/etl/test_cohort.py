from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.annotations.annotation_sample import draw_annotation_sample
from etl.cohorts.cohort import CohortSummary, build_cohort
from etl.cohorts.fold_assignment import assign_parts, part_of, split_of
from warehouse_schema.errors import ArgumentError, CohortError
from warehouse_schema.store import Store
from warehouse_schema.tables.annotation import CONSENSUS_BOXES, IMAGE_READINGS
from warehouse_schema.tables.imaging import ANNOTATIONS, IMAGE_LINKS, IMAGE_PIXELS, IMAGES
from warehouse_schema.tables.labels import ANNOTATION_WORKLIST, COHORT, COHORT_FLOW, IMAGE_LABELS

FINDINGS = ("rib_fracture", "clavicle_fracture")
Film = dict[str, Any]


def _film(image_id: str, labels: str, patient: str | None = None, **changes: Any) -> Film:
    """A film by its two labels: + positive, - negative, ? uncertain, x excluded, . none."""
    return {
        "image_id": image_id,
        "patient": patient or f"P{image_id}",
        "labels": labels,
        "boxed": "",
        "is_linked": True,
        "day": 1,
        "source": "small",
        "is_frontal": True,
        **changes,
    }


@pytest.fixture
def fill(
    store: Store, put: Callable[..., None], make_image: Callable[..., Film]
) -> Callable[[list[Film]], None]:
    """Fills the tables that the cohort reads."""
    words = {"+": "positive", "-": "negative", "?": "uncertain", "x": "excluded"}

    def run(films: list[Film]) -> None:
        put(
            IMAGES,
            [
                make_image(
                    film["image_id"],
                    film["patient"],
                    source=film["source"],
                    published_split=film.get("published_split"),
                    acquired_datetime=datetime(2015, 1, film["day"], tzinfo=UTC),
                    is_frontal_chest=film["is_frontal"],
                    selection_reason="view PA" if film["is_frontal"] else "modality: MR is not CR",
                )
                for film in films
            ],
        )
        put(
            IMAGE_LINKS,
            [
                {
                    "image_id": film["image_id"],
                    "encounter_id": "E",
                    "rank": 1,
                    "is_chosen": True,
                    "reason": "contains",
                    "distance_hours": 0.0,
                }
                for film in films
                if film["is_linked"]
            ],
        )
        put(
            IMAGE_PIXELS,
            [
                {
                    "image_id": film["image_id"],
                    "transform_hash": "t",
                    "shard_name": "s",
                    "scale": 1.0,
                    "pixel_sha256": "p",
                    **dict.fromkeys(
                        (
                            "shard_row",
                            "size_px",
                            "pad_left_px",
                            "pad_top_px",
                            "valid_width_px",
                            "valid_height_px",
                        ),
                        1,
                    ),
                }
                for film in films
            ],
        )
        put(
            IMAGE_LABELS,
            [
                {
                    "image_id": film["image_id"],
                    "finding": finding,
                    "label": words[mark],
                    "reason": "r",
                    "score": 0.0,
                    "n_evidence": 1,
                    "is_conflict": False,
                    "definition_hash": "d",
                }
                for film in films
                for finding, mark in zip(FINDINGS, film["labels"], strict=True)
                if mark != "."
            ],
        )
        put(
            ANNOTATIONS,
            [
                {
                    "annotation_id": f"B{film['image_id']}",
                    "image_id": film["image_id"],
                    "finding": film["boxed"],
                    "x_px": 1.0,
                    "y_px": 1.0,
                    "width_px": 5.0,
                    "height_px": 5.0,
                    "tool": "coco",
                    "status": film.get("status", "drawn"),
                    "is_clipped": False,
                }
                for film in films
                if film["boxed"]
            ],
        )

    return run


def _enough() -> list[Film]:
    """The least that a cohort needs besides the film under test."""
    return [_film("z1", "+-"), _film("z2", "-+"), _film("z3", "--")]


def _build(store: Store, **changes: Any) -> CohortSummary:
    return build_cohort(store=store, findings=FINDINGS, seed=7, **changes)


@pytest.mark.parametrize(
    ("film", "subset", "reason"),
    [
        (_film("a", "+-", boxed="rib_fracture"), "R", None),
        (_film("a", "++", boxed="clavicle_fracture"), "R", None),
        (_film("a", "+-", boxed="clavicle_fracture"), "P", None),
        (_film("a", "+-", boxed="rib_fracture", status="rejected"), "P", None),
        (_film("a", "+-"), "P", None),
        (_film("a", "+?"), "P", None),
        (_film("a", "+x"), "P", None),
        (_film("a", "+."), "P", None),
        (_film("a", "--"), "N", None),
        (_film("a", "--", boxed="rib_fracture"), "N", None),
        (_film("a", "-?"), "excluded", "a finding is uncertain and none is positive"),
        (_film("a", "x?"), "excluded", "a finding is excluded and none is positive"),
        (_film("a", "-."), "excluded", "a finding has no label"),
        (_film("a", "+-", is_linked=False), "excluded", "no encounter near the film"),
        (_film("a", "+-", is_frontal=False), "excluded", "not a frontal chest film: modality"),
        (_film("a", "+-", is_linked=False, source="nih_chestxray14"), "P", None),
    ],
)
def test_each_image_gets_its_subset_or_its_reason(
    *,
    store: Store,
    fill: Callable[[list[Film]], None],
    film: Film,
    subset: str,
    reason: str | None,
) -> None:
    fill([film, *_enough()])
    _build(store)
    rows = store.read(COHORT, where={"image_id": "a"}).to_pylist()
    assert {(row["subset"], row["exclusion_reason"]) for row in rows} == {(subset, reason)}
    assert [row["fold"] for row in rows] == [0, 1, 2, 3, 4]


def test_a_box_counts_where_its_readers_agree(
    store: Store, fill: Callable[[list[Film]], None], put: Callable[..., None]
) -> None:
    fill([_film("a", "+-", boxed="rib_fracture"), *_enough()])
    _build(store)
    (box,) = store.read(CONSENSUS_BOXES).to_pylist()
    (drawn,) = store.read(ANNOTATIONS).to_pylist()
    names = ("image_id", "finding", "x_px", "y_px", "width_px", "height_px")
    assert [box[name] for name in names] == [drawn[name] for name in names]
    assert box["consensus_id"] == drawn["annotation_id"]
    reading = {"reading_id": "L", "image_id": "a", "reader_id": "R-b", "tool": "coco"}
    put(IMAGE_READINGS, [{**reading, "n_boxes": 0, "n_refused": 0, "file_sha256": "f"}])
    _build(store)
    assert store.read(CONSENSUS_BOXES).num_rows == 0
    subsets = store.read(COHORT, where={"image_id": "a"})["subset"].to_pylist()
    assert set(subsets) == {"P"}


def test_the_earliest_linked_frontal_film_stands_for_a_patient_whatever_its_label(
    store: Store, fill: Callable[[list[Film]], None]
) -> None:
    films = [
        _film("a1", "+-", "P", day=1, is_linked=False),
        _film("a2", "-+", "P", day=2, is_frontal=False),
        _film("a3", "--", "P", day=3),
        _film("a4", "++", "P", day=4),
    ]
    fill([*films, *_enough()])
    _build(store)
    kept = store.read(COHORT, where={"fold": 0, "patient_id": "P"}).to_pylist()
    assert [row["image_id"] for row in kept if row["subset"] != "excluded"] == ["a3"]
    _build(store, is_one_film_per_patient=False)
    kept = store.read(COHORT, where={"fold": 0, "patient_id": "P"}).to_pylist()
    assert [row["image_id"] for row in kept if row["subset"] != "excluded"] == ["a3", "a4"]


def test_the_attrition_adds_up(store: Store, fill: Callable[[list[Film]], None]) -> None:
    fill(
        [
            *_enough(),
            _film("a", "??"),
            _film("b", "--", is_linked=False),
            _film("c", "+-", "Pz1", day=9),
        ]
    )
    _build(store)
    flow = store.read(COHORT_FLOW).to_pylist()
    kept = {row["step_number"]: row["n_kept"] for row in flow}
    dropped: Counter[int] = Counter()
    for row in flow:
        dropped[row["step_number"]] += row["n_dropped"]
    assert [kept[number] for number in sorted(kept)] == [6, 6, 6, 5, 4, 3]
    assert all(kept[number - 1] - kept[number] == dropped[number] for number in range(2, 7))


def _many(n: int) -> list[Film]:
    kinds = ["+-", "-+", "++", "--", "--", "--", "--"]
    return [
        _film(f"i{n:03}", kinds[n % 7], boxed="rib_fracture" if n % 14 == 0 else "")
        for n in range(n)
    ]


def test_patients_stay_in_one_split_and_every_image_is_tested_once(
    store: Store, fill: Callable[[list[Film]], None]
) -> None:
    films = [
        {**film, "patient": f"P{number // 2}", "source": "nih_chestxray14"}
        for number, film in enumerate(_many(140))
    ]
    fill(films)
    _build(store)
    rows = store.read(COHORT).to_pylist()
    splits = defaultdict(set)
    for row in rows:
        splits[row["fold"], row["patient_id"]].add(row["split"])
    assert all(len(found) == 1 for found in splits.values())
    tested = Counter(row["image_id"] for row in rows if row["split"] == "test")
    assert set(tested.values()) == {1}
    assert len(tested) == 140


@pytest.mark.parametrize("has_published_test", [True, False])
def test_an_external_source_is_tested_on_in_every_fold(
    store: Store, fill: Callable[[list[Film]], None], *, has_published_test: bool
) -> None:
    splits = ("train", "test") if has_published_test else (None, None)
    external = [
        _film(
            f"e{number}",
            "+-" if number % 4 < 2 else "--",
            # Patient PE0 has a film in either published part.
            f"PE{number // 2 if number < 2 else number}",
            source="vindr_cxr",
            published_split=splits[number % 2],
        )
        for number in range(20)
    ]
    films = _many(70)
    fill(films)
    _build(store)
    before = {
        (row["fold"], row["image_id"]): row["split"] for row in store.read(COHORT).to_pylist()
    }
    fill([*films, *external])
    _build(store, external_test_sources=["vindr_cxr"])
    rows = store.read(COHORT).to_pylist()
    always = {f"e{n}" for n in range(20) if n % 2 or not has_published_test} | {"e0"}
    found = defaultdict(set)
    for row in rows:
        found[row["image_id"]].add(row["split"])
    assert {name for name in always if found[name] == {"test"}} == always
    others = {film["image_id"] for film in external} - always
    assert all(found[name] != {"test"} for name in others)
    assert all(row["subset"] != "excluded" for row in rows)
    if not has_published_test:
        inside = {(row["fold"], row["image_id"]): row["split"] for row in rows}
        assert {key: inside[key] for key in before} == before
    earlier = {(row["fold"], row["image_id"]): row["split"] for row in rows}
    _build(store, external_test_sources=["vindr_cxr"])
    again = {(row["fold"], row["image_id"]): row["split"] for row in store.read(COHORT).to_pylist()}
    assert again == earlier


def test_an_external_source_without_images_is_one_clear_line(
    store: Store, fill: Callable[[list[Film]], None]
) -> None:
    fill(_many(14))
    with pytest.raises(CohortError, match="no images of 'padchest'; there are images of small"):
        _build(store, external_test_sources=["padchest"])


def test_strata_are_balanced_over_folds_and_splits(
    store: Store, fill: Callable[[list[Film]], None]
) -> None:
    fill(_many(350))
    _build(store)
    counts: Counter[tuple[int, str, str]] = Counter()
    for row in store.read(COHORT).to_pylist():
        counts[row["fold"], row["subset"], row["split"]] += 1
    for subset, n in (("R", 25), ("P", 125), ("N", 200)):
        for split, share in (("train", 0.7), ("validation", 0.1), ("test", 0.2)):
            # Every finding combination is a stratum and may be off by one in each part.
            assert all(abs(counts[fold, subset, split] - n * share) <= 4 for fold in range(5))


def test_a_rebuilt_cohort_moves_nobody_when_patients_come_and_labels_change(
    store: Store, fill: Callable[[list[Film]], None]
) -> None:
    films = _many(70)
    fill(films)
    _build(store)
    first = {(row["fold"], row["image_id"]): row["split"] for row in store.read(COHORT).to_pylist()}
    flipped = [{**film, "labels": film["labels"][::-1]} for film in films]
    fill(
        [
            *flipped,
            *(
                {**film, "image_id": f"j{film['image_id']}", "patient": f"Q{film['patient']}"}
                for film in films
            ),
        ]
    )
    _build(store)
    second = {
        (row["fold"], row["image_id"]): row["split"] for row in store.read(COHORT).to_pylist()
    }
    assert len(second) == 2 * len(first)
    assert all(second[key] == split for key, split in first.items())


@pytest.mark.parametrize(
    ("films", "message"),
    [
        ([], "run `ribline label` first"),
        ([_film("a", "??")], "the cohort is empty \\(a finding is uncertain"),
        ([_film("a", "+-"), _film("b", "--")], "clavicle_fracture has no positive image among 2"),
        ([_film("a", "++")], "no image is negative"),
    ],
)
def test_an_unusable_cohort_is_one_clear_line(
    store: Store, fill: Callable[[list[Film]], None], films: list[Film], message: str
) -> None:
    fill(films)
    before = store.manifest().version
    with pytest.raises((CohortError, ArgumentError), match=message):
        _build(store)
    assert store.manifest().version == before


def test_an_unknown_finding_lists_those_that_are_labelled(
    store: Store, fill: Callable[[list[Film]], None]
) -> None:
    fill(_enough())
    with pytest.raises(ArgumentError, match="gout; image_labels holds clavicle_fracture, rib"):
        build_cohort(store=store, findings=["gout"], seed=0)


@given(
    st.dictionaries(st.text("abcdef", min_size=1, max_size=4), st.sampled_from("RPN"), max_size=60),
    st.integers(0, 3),
    st.integers(3, 6),
)
def test_parts_differ_by_at_most_one_patient_a_stratum(
    strata: dict[str, str], seed: int, n_folds: int
) -> None:
    ones = dict.fromkeys(strata, 1)
    parts = assign_parts(strata, n_images=ones, seed=seed, n_folds=n_folds, kept={})
    assert set(parts) == set(strata)
    for stratum in set(strata.values()):
        counts = Counter(parts[each] for each in strata if strata[each] == stratum)
        sizes = [counts[part] for part in range(2 * n_folds)]
        assert max(sizes) - min(sizes) <= 1
    again = assign_parts(
        dict(reversed(strata.items())), n_images=ones, seed=seed, n_folds=n_folds, kept={}
    )
    assert again == parts


@pytest.mark.parametrize("n_folds", [3, 5, 10])
def test_a_part_is_known_by_its_splits(n_folds: int) -> None:
    for part in range(2 * n_folds):
        splits = {fold: split_of(part, fold=fold, n_folds=n_folds) for fold in range(n_folds)}
        assert list(splits.values()).count("test") == 1
        assert part_of(splits, n_folds=n_folds) == part


def test_the_worklist_is_a_seeded_draw_of_positive_index_films(
    store: Store, fill: Callable[[list[Film]], None]
) -> None:
    fill([*_many(70), _film("later", "++", "Pi000", day=20)])
    assert draw_annotation_sample(store=store, n_images=10, seed=3) == 10
    first = store.read(ANNOTATION_WORKLIST)
    assert sorted(first["order_number"].to_pylist()) == list(range(1, 11))
    positives = {film["image_id"] for film in _many(70) if "+" in film["labels"]}
    assert set(first["image_id"].to_pylist()) <= positives
    draw_annotation_sample(store=store, n_images=10, seed=3)
    assert store.read(ANNOTATION_WORKLIST) == first
    draw_annotation_sample(store=store, n_images=10, seed=4)
    assert store.read(ANNOTATION_WORKLIST) != first
    assert draw_annotation_sample(store=store, n_images=999, seed=3) == len(positives)


def test_a_worklist_needs_positives(store: Store, fill: Callable[[list[Film]], None]) -> None:
    fill([_film("a", "--")])
    with pytest.raises(CohortError, match="no index film is positive"):
        draw_annotation_sample(store=store, n_images=5, seed=0)
    with pytest.raises(ArgumentError, match="n_images is 0"):
        draw_annotation_sample(store=store, n_images=0, seed=0)
