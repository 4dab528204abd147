"""Label mining: diagnosis codes and clinical notes to image-level labels with their evidence.

``pipeline`` and ``label_notes`` are the two doors for people, ``mine_mentions`` and
``label_images`` those for flows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nlp_labeling.keywords import keyword_pattern
from nlp_labeling.note_files import label_notes

if TYPE_CHECKING:
    from spacy.language import Language

__all__ = ["keyword_pattern", "label_notes", "pipeline"]


def pipeline(findings: Sequence[str] | None = None) -> Language:
    """The spaCy pipeline of some findings; see ``nlp_labeling.spacy_pipeline``.

    spaCy takes seconds to import, so it is only imported here.
    """
    from nlp_labeling.spacy_pipeline import pipeline as build

    return build(findings)
