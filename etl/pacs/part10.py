"""A file as every route gives it: our own file meta information before the data set as sent.

A PACS writes its own name and version into the file meta information, and DIMSE sends none at all;
with ours the file, and so its hash, depends on the data set alone (DICOM PS3.10, section 7).
"""

from __future__ import annotations

from io import BytesIO

from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID

from etl.pacs.archive import ReceivedInstance, RefusedRequestError

PREAMBLE = bytes(128) + b"DICM"
GROUP_LENGTH = b"\x02\x00\x00\x00UL\x04\x00"
# UUID-derived (2.25): PS3.5, annex B.2.
IMPLEMENTATION_CLASS_UID = "2.25.142757417217893022735937014921043866213"
IMPLEMENTATION_VERSION = "RIBLINE_PULL_1"


def join_part10(instance: ReceivedInstance) -> bytes:
    """The content of a DICOM file (PS3.10)."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = UID(instance.sop_class_uid)
    meta.MediaStorageSOPInstanceUID = UID(instance.sop_instance_uid)
    meta.TransferSyntaxUID = UID(instance.transfer_syntax_uid)
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION
    buffer = DicomBytesIO()
    write_file_meta_info(buffer, meta)
    return PREAMBLE + buffer.getvalue() + instance.data_set


def split_part10(content: bytes) -> ReceivedInstance:
    """The instance in a file's content.

    Raises:
        RefusedRequestError: It is no DICOM file, or its file meta information is damaged.
    """
    start = 132 + len(GROUP_LENGTH)
    if content[128:start] != b"DICM" + GROUP_LENGTH:
        raise RefusedRequestError("the PACS sent something that is not a DICOM file")
    end = start + 4 + int.from_bytes(content[start : start + 4], "little")
    try:
        meta = read_dataset(BytesIO(content[132:end]), is_implicit_VR=False, is_little_endian=True)
        return ReceivedInstance(
            sop_class_uid=str(meta.MediaStorageSOPClassUID),
            sop_instance_uid=str(meta.MediaStorageSOPInstanceUID),
            transfer_syntax_uid=str(meta.TransferSyntaxUID),
            data_set=content[end:],
        )
    except Exception:  # noqa: BLE001 - a damaged header may raise anything in the parser
        raise RefusedRequestError("the PACS sent a damaged DICOM file") from None
