"""Codes of findings in DICOM results (SNOMED CT; PS3.16 section 8.1), and of what is said of them.

A finding without a code here, one of a hospital's own or of a public data set, is coded in the
private scheme 99RIBLINE by its name, which the object itself identifies (PS3.16 section 8.2).
"""

from __future__ import annotations

import hashlib
import re

from highdicom.sr import CodedConcept

PRIVATE_SCHEME = "99RIBLINE"
FINDINGS = {
    "rib_fracture": ("33737001", "Fracture of rib"),
    "clavicle_fracture": ("58150001", "Fracture of clavicle"),
    "Pneumonia": ("233604007", "Pneumonia"),
    "Pneumothorax": ("36118008", "Pneumothorax"),
}
MAX_CODE_BYTES = 16
MAX_MEANING_BYTES = 64


def finding_code(finding: str) -> CodedConcept:
    """The coded concept of a finding."""
    if finding in FINDINGS:
        value, meaning = FINDINGS[finding]
        return CodedConcept(value=value, scheme_designator="SCT", meaning=meaning)
    return private_code(finding, finding_name(finding))


def private_code(word: str, meaning: str) -> CodedConcept:
    """A concept of our own scheme."""
    value = re.sub(r"[^A-Z0-9]", "", word.upper())
    if not 0 < len(value) <= MAX_CODE_BYTES:
        # Cut short, two names could become one.
        value = value[:8] + hashlib.sha256(word.encode()).hexdigest()[:8].upper()
    return CodedConcept(
        value=value, scheme_designator=PRIVATE_SCHEME, meaning=meaning[:MAX_MEANING_BYTES]
    )


def finding_name(finding: str) -> str:
    """``rib_fracture`` as "Rib fracture"."""
    text = finding.replace("_", " ")
    return text[:1].upper() + text[1:]
