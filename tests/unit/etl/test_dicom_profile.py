"""The confidentiality profile: what stays, what is replaced, and that nothing slips through."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from io import BytesIO

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.datadict import DicomDictionary, dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from etl.privacy.dicom_profile import FILM_DATES, Replacements, deidentify, profile_action
from etl.privacy.value_loggers import silent_value_loggers
from etl.pseudonym import Pseudonymizer

NAMES = Pseudonymizer(key="k" * 32, source="site")
REPLACEMENTS = Replacements(patient_id="P-1", shift_days=-40, uid=NAMES.uid)
CANARY = "CANARY"
# Table E.1-1 of PS3.15, as the standard prints it: attribute, action of the basic profile.
STANDARD = """
AccessionNumber Z · AcquisitionComments X · AcquisitionContextSequence Z · DetectorID D
AdmittingDiagnosesDescription X · BranchOfService X · CassetteID X · ConcatenationUID U
ConsultingPhysicianName Z · ContainerIdentifier D · ContentCreatorName D · ContentSequence D
DeviceSerialNumber D · DigitalSignaturesSequence X · ImageComments X · InstitutionName D
IssuerOfPatientID X · MedicalAlerts X · OperatorsName D · OtherPatientIDs X · PatientAge X
PatientBirthDate Z · PatientComments X · PatientID D · PatientName Z · PatientSex Z
PatientAddress X · PatientTelephoneNumbers X · ReferringPhysicianName Z · RequestedProcedureID X
SOPInstanceUID U · SeriesDescription X · StationName D · StudyDescription X · StudyID Z
StudyInstanceUID U · TextString X · IconImageSequence X · ProtocolName D
"""


def dataset(**tags: object) -> Dataset:
    made = Dataset()
    made.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    made.SOPInstanceUID = "1.2.3.4"
    for name, value in tags.items():
        setattr(made, name, value)
    return made


def cleaned(**tags: object) -> Dataset:
    made = dataset(**tags)
    deidentify(made, REPLACEMENTS)
    return made


@pytest.mark.parametrize("line", STANDARD.replace("\n", " · ").strip(" ·").split(" · "))
def test_the_librarys_table_is_the_standards(line: str) -> None:
    keyword, action = line.split()
    assert profile_action(tag_for_keyword(keyword)) == action


@pytest.mark.parametrize(
    ("keyword", "value", "expected"),
    [
        ("PatientName", "Wang^Mei", "P-1"),
        ("PatientID", "123", "P-1"),
        ("StudyDate", "20150307", "20150126"),
        ("AcquisitionDateTime", "20150307120000.5+0800", "20150126120000.5+0800"),
        ("StudyTime", "120000", "120000"),
        ("AccessionNumber", "A1", ""),
        ("PatientBirthDate", "19500101", ""),
        ("InstitutionName", "Some Hospital", "REMOVED"),
        ("ViewPosition", "PA", "PA"),
        ("BodyPartExamined", "CHEST", "CHEST"),
        ("Manufacturer", "Maker", "Maker"),
        ("WindowCenter", "2000", 2000),
        ("SOPClassUID", "1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.1"),
        ("SOPInstanceUID", "1.2.3.4", NAMES.uid("1.2.3.4")),
    ],
)
def test_what_stands_there_afterwards(keyword: str, value: str, expected: object) -> None:
    assert getattr(cleaned(**{keyword: value}), keyword) == expected


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PatientAge", "091Y"),
        ("PatientAddress", "Street 1"),
        ("WindowCenterWidthExplanation", "for Wang Mei"),
        ("PatientDeathDateInAlternativeCalendar", "X"),
        ("LossyImageCompressionMethod", "Wang Mei, 1950"),
        ("StudyDate", "Wang"),
        ("StudyTime", "of Wang"),
        ("DateOfManufacture", "20100101"),
        ("IconImageSequence", [Dataset()]),
    ],
)
def test_what_is_gone_afterwards(keyword: str, value: object) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert keyword not in cleaned(**{keyword: value})


def test_uids_are_replaced_alike_wherever_they_stand() -> None:
    inner = dataset(ReferencedSOPInstanceUID="1.2.3.4")
    film = cleaned(DerivationCodeSequence=[inner], IrradiationEventUID=["1.2.3.4", "1.2.3.5"])
    assert film.DerivationCodeSequence[0].ReferencedSOPInstanceUID == film.SOPInstanceUID
    assert list(film.IrradiationEventUID) == [NAMES.uid("1.2.3.4"), NAMES.uid("1.2.3.5")]
    assert film.SOPInstanceUID.is_valid
    assert film.SOPInstanceUID != Pseudonymizer(key="j" * 32, source="site").uid("1.2.3.4")


def test_the_method_is_stated() -> None:
    film = cleaned()
    codes = [item.CodeValue for item in film.DeidentificationMethodCodeSequence]
    assert codes == ["113100", "113107"]
    assert film.PatientIdentityRemoved == "YES"
    assert film.LongitudinalTemporalInformationModified == "MODIFIED"
    assert len(film.DeidentificationMethod) <= 64


def test_words_of_a_local_scheme_go_and_those_of_a_standard_stay() -> None:
    def code(scheme: str) -> Dataset:
        return dataset(CodeValue="1", CodingSchemeDesignator=scheme, CodeMeaning="Chest of Wang")

    film = cleaned(ViewCodeSequence=[code("SCT"), code("99LOCAL")])
    words = [item.CodeMeaning for item in film.ViewCodeSequence]
    assert words == ["Chest of Wang", "REMOVED"]


def test_private_curve_and_overlay_groups_go_at_every_level() -> None:
    item = dataset(CodeValue="1")
    item.private_block(0x0019, "VENDOR", create=True).add_new(1, "LO", CANARY)
    film = dataset(ViewCodeSequence=[item])
    film.private_block(0x0009, "VENDOR", create=True).add_new(1, "SQ", [dataset(StudyID=CANARY)])
    film.add_new(0x60000022, "LO", CANARY)
    film.add_new(0x60003000, "OW", b"\0\1")
    film.add_new(0x50000022, "LO", CANARY)
    deidentify(film, REPLACEMENTS)
    assert {tag.group for tag in film.keys()} <= {0x0008, 0x0010, 0x0012, 0x0028, 0x0054}  # noqa: SIM118
    assert CANARY not in str(film)


NUMBERS = {"AT", "FD", "FL", "SL", "SS", "SV", "UL", "US", "UV"}
TEXTS = ("AE", "AS", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT")
SAID_BY_STANDARD = {
    *("CodeValue", "CodingSchemeDesignator", "CodingSchemeVersion", "CodeMeaning"),
    *("Manufacturer", "ManufacturerModelName", "SoftwareVersions", "RescaleType"),
    *("ModalityLUTType", "SpecificCharacterSet"),
}


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_no_text_attribute_of_the_whole_dictionary_lets_a_name_through(depth: int) -> None:
    """Every public text attribute that pydicom knows, filled with a name, at three depths."""
    film = dataset()
    for tag, (vr, _, _, _, keyword) in DicomDictionary.items():
        if vr in TEXTS and tag >> 16 > 8 and keyword and keyword not in SAID_BY_STANDARD:
            film.add(pydicom.DataElement(tag, vr, "Wang Mei", validation_mode=0))
    for _ in range(depth):
        film = dataset(DerivationCodeSequence=Sequence([film]))
    deidentify(film, REPLACEMENTS)
    assert "Wang" not in str(film)


def test_no_date_but_the_films_own_is_kept_and_those_are_shifted() -> None:
    film = dataset()
    for tag, (vr, _, _, _, keyword) in DicomDictionary.items():
        if vr in {"DA", "DT"} and keyword and tag >> 16 > 2:
            film.add(pydicom.DataElement(tag, vr, "20150307"))
    deidentify(film, REPLACEMENTS)
    assert "20150307" not in str(film)
    shifted = {element.tag for element in film if element.value == "20150126"}
    assert shifted == {tag for tag in FILM_DATES if dictionary_VR(tag) in {"DA", "DT"}}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            sorted(t for t, entry in DicomDictionary.items() if entry[4] and t > 1 << 19)
        ),
        min_size=1,
        max_size=12,
        unique=True,
    ),
    st.binary(min_size=1, max_size=24),
)
def test_an_unreadable_value_is_no_way_through(tags: list[int], junk: bytes) -> None:
    """Raw bytes under any tag but numbers': cleaned or gone, and the film can be written."""
    marked = junk + b"Wang^Mei"
    film = dataset()
    for tag in tags:
        vr = dictionary_VR(tag).split(" ")[0]
        if vr not in NUMBERS | {"SQ", "UI"} and tag not in {0x7FE00010, 0x00283006}:
            film[tag] = pydicom.dataelem.RawDataElement(
                pydicom.tag.Tag(tag), vr, len(marked), marked, 0, False, True
            )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with silent_value_loggers():
            deidentify(film, REPLACEMENTS)
        for name in SAID_BY_STANDARD & set(film.dir()):
            delattr(film, name)
        buffer = BytesIO()
        film.file_meta = pydicom.dataset.FileMetaDataset()
        film.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        film.save_as(buffer, enforce_file_format=True)
    assert b"Wang" not in buffer.getvalue()


def test_a_real_film_keeps_its_geometry(make_film: Callable[..., Dataset]) -> None:
    film = make_film(PixelSpacing=["0.2", "0.2"], PatientComments="x")
    deidentify(film, REPLACEMENTS)
    assert list(film.PixelSpacing) == [0.2, 0.2]
    assert film.Rows == 160
    assert "PixelData" in film
