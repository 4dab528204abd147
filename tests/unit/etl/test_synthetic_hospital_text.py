"""Words, codes and pixels of the synthetic hospital, one piece at a time."""

from __future__ import annotations

import gzip
import itertools
import os
import re
from datetime import date
from pathlib import Path

import numpy as np
import pydicom
import pytest

from etl.synthetic_hospital.coding import clavicle_code, rib_code
from etl.synthetic_hospital.conditions import load_diseases, load_injuries
from etl.synthetic_hospital.dicom import stored_values, write_instance
from etl.synthetic_hospital.film import Film
from etl.synthetic_hospital.film_request import FINDINGS, FractureRequest
from etl.synthetic_hospital.fracture_words import say_fracture
from etl.synthetic_hospital.imaging import SCANNERS, PlannedInstance
from etl.synthetic_hospital.note_writer import visit_context
from etl.synthetic_hospital.people import chart_number
from etl.synthetic_hospital.phrasebook import load_phrasebook
from etl.synthetic_hospital.population import (
    Proportions,
    assign_groups,
    is_positive_group,
    paper_proportions,
)
from etl.synthetic_hospital.record_quality import RecordQuality
from etl.synthetic_hospital.records import PatientRecords, make_patient

SHARED_DATA = Path(os.environ.get("RIBLINE_SHARED_DATA", "../shared/data"))
NO_ERRORS = RecordQuality(
    film_seen_evident=1.0,
    film_seen_moderate=1.0,
    film_seen_subtle=1.0,
    film_seen_occult=1.0,
    film_hedged=0.0,
    film_false_alarm=0.0,
    film_false_doubt=0.0,
    report_missing=0.0,
    report_preliminary=0.0,
    report_wrong_patient=0.0,
    report_retracted=0.0,
    physician_note_missing=0.0,
    code_missing=0.0,
    code_missing_inpatient=0.0,
    code_rule_out=0.0,
    code_wrong=0.0,
    misspelt=0.0,
)


def patient(group: str, *, index: int = 0, quality: RecordQuality = NO_ERRORS) -> PatientRecords:
    return make_patient(seed=9, patient_index=index, group=group, quality=quality)


def rib(number: int, side: str = "left", severity: str = "evident") -> FractureRequest:
    return FractureRequest(finding="rib_fracture", side=side, rib_number=number, severity=severity)


def test_every_phrase_can_be_said() -> None:
    records = patient("both")
    rng = np.random.default_rng(0)
    context = visit_context(
        rng, person=records.person, truth=records.truth, visit=records.visits[0]
    )
    places = ("ribs_ord", "ribs_num", "ribs_zh", "rib_noun", "how_en", "how_zh", "view")
    context |= dict.fromkeys(places, "x")
    book = load_phrasebook()
    for name, variants in book.lists.items():
        for _ in range(4 * len(variants)):
            said = book.say(rng, name, context)
            assert "{" not in said, name
            assert "}" not in said, name


def test_every_statement_has_words_in_every_style() -> None:
    book, rng = load_phrasebook(), np.random.default_rng(1)
    styles = ("report_en", "report_zh", "clinical_mx", "clinical_zh", "clinical_en")
    kinds = ("present", "absent", "uncertain", "old", "healing")
    context = {"part_en": "shaft", "part_zh": "", "year": "2001", "years_ago": "9"}
    for finding, kind, style in itertools.product(FINDINGS, kinds, styles):
        fractures = (rib(4), rib(5)) if finding == "rib_fracture" else ()
        for _ in range(30):
            said = say_fracture(
                rng,
                book,
                finding=finding,
                kind=kind,
                style=style,
                fractures=fractures,
                context=context,
            )
            site = "rib|肋|收住院" if finding == "rib_fracture" else "clavic|collarbone|鎖骨"
            assert re.search(site, said, re.IGNORECASE), said


@pytest.mark.parametrize(
    ("numbers", "forms"),
    [
        ((5,), {"5th"}),
        (
            (4, 5),
            {"4th and 5th", "4th, and 5th", "4th & 5th"},
        ),
        (
            (3, 4, 5),
            {
                "3rd-5th",
                "3rd to 5th",
                "3rd through 5th",
                "3rd, 4th and 5th",
                "3rd, 4th, and 5th",
                "3rd, 4th & 5th",
            },
        ),
    ],
)
def test_rib_numbers_are_said_as_they_are(numbers: tuple[int, ...], forms: set[str]) -> None:
    book, rng = load_phrasebook(), np.random.default_rng(2)
    heard = set()
    for _ in range(400):
        said = say_fracture(
            rng,
            book,
            finding="rib_fracture",
            kind="present",
            style="report_en",
            fractures=[rib(number) for number in numbers],
            context={},
        )
        assert "left" in said or re.search(r"\b(Lt|L't|L|lt\.)", said)
        heard |= {form for form in forms if form in said}
    assert heard == forms


@pytest.mark.parametrize("group", ["rib", "clavicle", "both"])
def test_faultless_records_tell_the_truth(group: str) -> None:
    for index in range(25):
        records = patient(group, index=index)
        index_visit = next(visit for visit in records.visits if visit.is_trauma)
        evidence = records.evidence(index_visit.visit_no)
        for finding in FINDINGS:
            is_broken = bool(records.truth.acute_of(finding))
            assert ("code" in evidence[finding]) == is_broken
            assert ("chest_film_report" in evidence[finding]) == is_broken


def test_faultless_records_of_the_unbroken_hold_no_evidence() -> None:
    for index in range(60):
        records = patient("none", index=index)
        for visit in records.visits:
            assert records.evidence(visit.visit_no) == dict.fromkeys(FINDINGS, ())


def test_films_show_what_was_broken_at_their_time() -> None:
    seen_old, seen_acute = 0, 0
    for index in range(120):
        records = patient("rib", index=index)
        trauma = {visit.visit_no for visit in records.visits if visit.is_trauma}
        purposes = {visit.visit_no: visit.purpose for visit in records.visits}
        for planned in records.instances:
            shown = [one for one in planned.film.fractures if one.finding == "rib_fracture"]
            if planned.visit_no in trauma:
                assert shown
                assert not any(one.is_old for one in shown)
                seen_acute += 1
            elif purposes[planned.visit_no] == "earlier":
                assert not shown
            else:
                assert shown
                assert all(one.is_old for one in shown)
                seen_old += 1
    assert seen_old > 0
    assert seen_acute > 100


def test_visits_follow_one_another() -> None:
    for index in range(60):
        records = patient("both", index=index)
        starts = [visit.start for visit in records.visits]
        assert starts == sorted(starts)
        for visit in records.visits:
            assert all(
                visit.start <= order.ordered_at < order.performed_at for order in visit.orders
            )
        for visit, note in records.notes:
            assert note.written_at >= visit.start
        assert 15 <= records.person.age_years(date(2016, 12, 31)) < 109


def test_groups_follow_the_shares_exactly() -> None:
    groups = assign_groups(Proportions(), 1000, seed=3)
    assert groups.count("rib") == 160
    assert groups.count("clavicle") == 140
    assert groups.count("both") == 60
    assert groups != sorted(groups)
    assert assign_groups(Proportions(), 1000, seed=3) == groups
    assert assign_groups(Proportions(), 1000, seed=4) != groups


@pytest.mark.parametrize("n_patients", [1, 97, 1000, 65_843])
def test_paper_prevalence(n_patients: int) -> None:
    groups = assign_groups(paper_proportions(), n_patients, seed=0)
    n_positive = sum(map(is_positive_group, groups))
    assert len(groups) == n_patients
    assert n_positive == int(n_patients * 6792 / 65_843 + 0.5)
    if n_patients == 65_843:
        assert (n_positive, n_patients - n_positive) == (6792, 59_051)
        assert round(n_positive * paper_proportions().boxed_share) == 808


def test_shares_above_one_are_refused() -> None:
    with pytest.raises(ValueError, match="exceed 1"):
        Proportions(rib=0.9, clavicle=0.3).group_shares()


def test_chart_numbers_are_unique() -> None:
    numbers = {chart_number(index, seed=7) for index in range(50_000)}
    assert len(numbers) == 50_000
    assert {len(number) for number in numbers} == {8}


def test_codes_exist_in_the_published_tables() -> None:
    folder = SHARED_DATA / "icd_tables"
    if not folder.is_dir():
        pytest.skip("RIBLINE_SHARED_DATA names no folder with icd_tables")
    with gzip.open(folder / "CMS32_DESC_LONG_DX.txt.gz", "rt", encoding="latin-1") as file:
        nine = {line.split()[0] for line in file}
    with gzip.open(folder / "icd10cm-codes-2024.txt.gz", "rt", encoding="latin-1") as file:
        ten = {line.split()[0] for line in file}
    # Billable in 2016, divided since.
    ten |= {"M545"}
    rng = np.random.default_rng(0)
    codes: dict[str, set[str]] = {"ICD9CM": set(), "ICD10CM": set()}
    for vocabulary, found in codes.items():
        for condition in (*load_injuries().values(), *load_diseases().values()):
            found.update(condition.codes[vocabulary])
        for n_broken, side in itertools.product(range(7), ("left", "right")):
            broken = [rib(3 + place, side) for place in range(n_broken)]
            clavicle = FractureRequest(
                finding="clavicle_fracture", side=side, rib_number=None, severity="moderate"
            )
            for _ in range(40):
                found.add(rib_code(rng, vocabulary, broken))
                found.add(clavicle_code(rng, vocabulary, [clavicle] * (n_broken > 0)))
    codes["ICD9CM"] |= {"V54.19", "V54.11", "V15.51", "905.1", "905.2"}
    codes["ICD10CM"] |= {"Z87.81", "S22.39XS", "S42.009S", "S22.41XD", "S42.021G"}
    assert {code.replace(".", "") for code in codes["ICD9CM"]} <= nine
    assert {code.replace(".", "") for code in codes["ICD10CM"]} <= ten


@pytest.mark.parametrize("scanner", SCANNERS, ids=lambda scanner: scanner.station)
@pytest.mark.parametrize("is_rle", [False, True])
def test_stored_pixels_come_back_bones_bright(
    tmp_path: Path, scanner: object, is_rle: bool
) -> None:
    planned = next(one for index in range(20) for one in patient("rib", index=index).instances)
    planned = PlannedInstance(**{**vars(planned), "scanner": scanner, "is_rle": is_rle})
    ramp = np.linspace(0, 4095, 64 * 48).astype(np.uint16).reshape(64, 48)
    film = Film(pixels=ramp, boxes=(), pixel_spacing_mm=0.7)
    write_instance(tmp_path / "one.dcm", planned, film)
    write_instance(tmp_path / "two.dcm", planned, film)
    assert (tmp_path / "one.dcm").read_bytes() == (tmp_path / "two.dcm").read_bytes()
    stored = pydicom.dcmread(tmp_path / "one.dcm")
    values = stored.pixel_array.astype(np.int64)
    assert stored.PhotometricInterpretation == planned.scanner.photometric
    if stored.PhotometricInterpretation == "MONOCHROME1":
        values = 2**stored.BitsStored - 1 - values
    assert np.array_equal(values >> (stored.BitsStored - 12), ramp)
    assert np.corrcoef(values.ravel(), ramp.ravel())[0, 1] > 0.999


def test_monochrome1_is_the_inverse_of_monochrome2() -> None:
    pixels = np.array([[0, 1, 2047, 4095]], dtype=np.uint16)
    for bits in (12, 13, 14, 15):
        two = stored_values(pixels, bits_stored=bits, photometric="MONOCHROME2")
        one = stored_values(pixels, bits_stored=bits, photometric="MONOCHROME1")
        assert np.array_equal(one.astype(int) + two.astype(int), np.full((1, 4), 2**bits - 1))


def test_hospital_varies_its_files() -> None:
    planned = [one for index in range(150) for one in patient("none", index=index).instances]
    assert {one.scanner.station for one in planned} == {one.station for one in SCANNERS}
    assert {one.film.projection for one in planned} == {"PA", "AP", "LATERAL", "ABDOMEN"}
    assert len({(one.film.rows_px, one.film.columns_px) for one in planned}) >= 5
    assert len({one.sop_instance_uid for one in planned}) == len(planned)
    assert len({one.film.seed for one in planned}) == len(planned)
