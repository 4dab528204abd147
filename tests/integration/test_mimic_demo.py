"""The MIMIC-III demo, a real and dirty export: 129 admissions, 1,761 code rows, nothing lost."""

import csv
import os
from pathlib import Path

import pytest

from etl.public_datasets.mimic_demo import load_mimic_demo
from etl.records.extraction import extract_records
from etl.records.site_mapping import load_site_mapping
from nlp_labeling.code_listing import list_codes
from nlp_labeling.definition import load_definitions
from warehouse_schema.errors import InputError
from warehouse_schema.home import Home
from warehouse_schema.store import Store
from warehouse_schema.tables.records import DIAGNOSES, ENCOUNTERS, PATIENTS

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("RIBLINE_SHARED_DATA", ROOT.parent / "shared" / "data"))
FOLDER = DATA / "mimic_iii_demo"
KEY = "0123456789abcdef"
WHY = {
    "80102": "another bone: 801 base of skull",
    "80125": "another bone: 801 base of skull",
    "8020": "another bone: 802 face bones",
    "8024": "another bone: 802 face bones",
    "8028": "another bone: 802 face bones",
    "80375": "another bone: 803 other and unqualified skull fractures",
    "80501": "another bone: 805 vertebral column without spinal cord injury",
    "80502": "another bone: 805 vertebral column without spinal cord injury",
    "8052": "another bone: 805 vertebral column without spinal cord injury",
    "80601": "another bone: 806 vertebral column with spinal cord injury",
    "81201": "another bone: 812 humerus",
    "81249": "another bone: 812 humerus",
    "82021": "another bone: 820 neck of femur",
    "82101": "another bone: 821 other and unspecified parts of femur",
}

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="RIBLINE_SHARED_DATA has no folder mimic_iii_demo"
)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("mimic")
    return load_mimic_demo(folder=FOLDER, database_path=folder / "mimic.sqlite")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(Home(tmp_path / "home"))


def test_every_row_is_read(store: Store, url: str) -> None:
    summary = extract_records(
        store=store,
        database_url=url,
        site_mapping="mimic_iii",
        keyword_pattern="(?i)fracture",
        pseudonym_key=KEY,
    )
    assert (summary.n_patients, summary.n_encounters, summary.n_diagnoses) == (100, 129, 1761)
    assert (summary.n_notes_read, summary.n_quarantined) == (0, 0)
    with (FOLDER / "DIAGNOSES_ICD.csv").open(newline="") as file:
        published = sorted(row["ICD9_CODE"] for row in csv.DictReader(file))
    assert sorted(store.read(DIAGNOSES)["diagnosis_code"].to_pylist()) == published
    assert not [code for code in published if code.startswith(("8070", "8071", "8074", "810"))]


def test_no_code_is_a_rib_or_clavicle_fracture_and_each_fracture_tells_why(
    store: Store, url: str
) -> None:
    extract_records(
        store=store,
        database_url=url,
        site_mapping="mimic_iii",
        keyword_pattern="x",
        pseudonym_key=KEY,
    )
    definitions = load_definitions()
    listed = list_codes(store=store, definitions=definitions, branch="800-829").to_pylist()
    assert sum(row["n_rows"] for row in listed) == 14
    assert not any(row["is_evidence"] for row in listed)
    assert {row["finding"] for row in listed} == {"clavicle_fracture, rib_fracture"}
    assert {row["diagnosis_code"]: row["why"] for row in listed} == WHY
    everything = list_codes(store=store, definitions=definitions).to_pylist()
    assert not any(row["is_evidence"] for row in everything)
    assert len(everything) > len(listed)


def test_stays_keep_their_length_and_ages_make_sense(store: Store, url: str) -> None:
    extract_records(
        store=store,
        database_url=url,
        site_mapping="mimic_iii",
        keyword_pattern="x",
        pseudonym_key=KEY,
    )
    stays = store.read(ENCOUNTERS).to_pylist()
    days = [(each["end_datetime"] - each["start_datetime"]).days for each in stays]
    assert min(days) >= 0
    assert max(days) < 200
    births = {each["patient_id"]: each for each in store.read(PATIENTS).to_pylist()}
    for stay in stays:
        patient = births[stay["patient_id"]]
        if not patient["is_over_89"]:
            years = (stay["start_datetime"] - patient["birth_datetime"]).days / 365.25
            assert 0 <= years < 91
    # MIMIC-III gives those over 89 a birth 300 years before.
    assert sum(each["is_over_89"] for each in births.values()) == 9


def test_every_unparsable_row_is_counted(store: Store, url: str) -> None:
    """A mapping that knows the database's dates alone reads none of the re-saved ones."""
    mapping = load_site_mapping("mimic_iii").model_copy(
        update={"datetime_formats": ("%Y-%m-%d %H:%M:%S",)}
    )
    summary = extract_records(
        store=store,
        database_url=url,
        site_mapping=mapping,
        keyword_pattern="x",
        pseudonym_key=KEY,
    )
    assert summary.n_patients == 100
    births = "birth date is no date in the mapping's formats: left out"
    assert summary.quarantine_reasons[births] == 92
    assert summary.n_quarantined == 92 + 129 + 1761
    assert summary.n_encounters == summary.n_diagnoses == 0


def test_a_folder_without_the_files_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"PATIENTS\.csv is missing"):
        load_mimic_demo(folder=tmp_path, database_path=tmp_path / "mimic.sqlite")
    assert list(tmp_path.iterdir()) == []
