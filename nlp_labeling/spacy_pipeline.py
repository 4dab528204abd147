"""The labeler as a spaCy pipeline: a Doc with sections, sentences, mention spans and attributes.

It reads with the same code as the bulk path; spaCy gives the tokens, the span groups and displaCy.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import spacy
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.util import compile_infix_regex, compile_prefix_regex, compile_suffix_regex

from nlp_labeling.definition import load_definitions
from nlp_labeling.mention import Mention
from nlp_labeling.mentions import Labeler, labeler
from nlp_labeling.note_text import fold_note

MENTION_GROUP = "mentions"
SECTION_GROUP = "sections"
CUE_GROUP = "cues"
COMPONENT = "ribline_mentions"
_BREAKS = [r"[()\[\]/+\-?:;,#~]", r"[\u3000-\u303f\u3400-\u9fff\uff00-\uffef]"]


def pipeline(findings: Sequence[str] | None = None) -> Language:
    """A spaCy pipeline that marks the mentions of some findings (all defined ones for None).

    ``doc.spans["mentions"]``, ``["cues"]`` and ``["sections"]`` point into the text as given;
    ``span._.mention`` is the full record, ``span._.assertion``, ``acuity``, ``temporality``,
    ``laterality``, ``finding_name`` and ``rule_ids`` its parts, ``doc._.mentions`` all of them.

    Raises:
        ConfigurationError: a finding has no definition.
    """
    _register_extensions()
    chosen = None if findings is None else list(findings)
    labeler(load_definitions(chosen))
    nlp = spacy.blank("en")
    _tokenize_like_notes(nlp)
    nlp.add_pipe(COMPONENT, config={"findings": chosen})
    return nlp


@Language.factory(COMPONENT, default_config={"findings": None})
def _component(nlp: Language, name: str, findings: list[str] | None) -> MentionComponent:
    return MentionComponent(labeler(load_definitions(findings)))


class MentionComponent:
    """Sets sentence starts, sections, cues and mentions on a Doc."""

    def __init__(self, labels: Labeler) -> None:
        self._labeler = labels

    def __call__(self, doc: Doc) -> Doc:
        """Annotate ``doc`` in place."""
        text = doc.text
        mentions = self._labeler.mentions(text)
        self._mark_sections(doc, text)
        spans, cues = [], []
        for mention in mentions:
            span = _span(doc, mention.start, mention.end, mention.finding)
            span._.mention = mention
            spans.append(span)
            if mention.cue_start >= 0:
                cues.append(_span(doc, mention.cue_start, mention.cue_end, mention.assertion))
        doc.spans[MENTION_GROUP] = spans
        doc.spans[CUE_GROUP] = cues
        doc._.mentions = tuple(mentions)
        return doc

    def _mark_sections(self, doc: Doc, text: str) -> None:
        note = fold_note(text)
        starts: set[int] = set()
        spans = []
        for sentence in self._labeler.segmenter.sentences(note.folded):
            start, end = note.source_span(sentence.start, sentence.end)
            span = _span(doc, start, end, sentence.section)
            starts.add(span.start)
            spans.append(span)
        for token in doc:
            token.is_sent_start = token.i == 0 or token.i in starts
        doc.spans[SECTION_GROUP] = spans


def _span(doc: Doc, start: int, end: int, label: str) -> Span:
    span = doc.char_span(start, end, label=label, alignment_mode="expand")
    if span is None:
        raise AssertionError(f"no tokens at characters {start} to {end}")
    return span


def _register_extensions() -> None:
    if Span.has_extension("mention"):
        return
    Span.set_extension("mention", default=None)
    Doc.set_extension("mentions", default=())
    parts = ("assertion", "temporality", "acuity", "laterality", "rule_ids", "section")
    for part in (*parts, "experiencer", "is_hypothetical", "displacement", "rib_numbers"):
        Span.set_extension(part, getter=_part(part))
    Span.set_extension("finding_name", getter=_part("finding"))


def _part(name: str) -> Any:
    def read(span: Span) -> Any:
        mention: Mention | None = span._.mention
        return None if mention is None else getattr(mention, name)

    return read


def _tokenize_like_notes(nlp: Language) -> None:
    """Break tokens at brackets, slashes and every CJK character, so that spans fit."""
    tokenizer: Any = nlp.tokenizer
    defaults: Any = nlp.Defaults
    tokenizer.prefix_search = compile_prefix_regex([*defaults.prefixes, *_BREAKS]).search
    tokenizer.suffix_search = compile_suffix_regex([*defaults.suffixes, *_BREAKS]).search
    tokenizer.infix_finditer = compile_infix_regex([*defaults.infixes, *_BREAKS]).finditer
    tokenizer.token_match = re.compile(r"(?!)").match
    tokenizer.url_match = None
