"""What a sentence speaks of: findings, the sites they are ascribed to, and which pairs are ours.

A finding belongs to the site that stands directly before it ("left clavicle and rib fractures"),
directly behind it ("fractures of the right 3rd to 6th ribs"), else to the nearest one in the
sentence. A site that is another bone or a device wins in the same way, and the pair is dropped.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence

from nlp_labeling.anchors import Anchor, Target, edit_variants
from nlp_labeling.definition import Definition
from nlp_labeling.phrases import Phrases
from nlp_labeling.rule import RuleSet, phrase_key, phrase_pattern
from nlp_labeling.site_lists import SiteLists
from nlp_labeling.site_verdicts import SiteVerdicts

OTHER = "other"
_TOKEN = re.compile(r"[a-z0-9]+|#")
_ALPHANUMERIC = frozenset(string.ascii_lowercase + string.digits)
_ONLY_TOKENS = "".join(chr(code) if chr(code) in _ALPHANUMERIC else " " for code in range(128))
_WORD = re.compile(r"(?<![a-z0-9])[a-z]{6,14}(?![a-z0-9])")
_ADJECTIVAL = ("ed", "broken")
_LINK = re.compile(r"\b(?:of|in|involving|at|along|through|to|affecting|on)\b|:")
_ENTRY_END = re.compile(r"[,;/|]\s*(?:[a-z]+\s+){0,2}$")
_HEADING_END = re.compile(r"\s*:|\s+-\s")
_BULLET = re.compile(r"^[\s*>#=_-]*(?:\(?\d{1,2}[.)]\s*)?")
_TELLS = re.compile(
    r":|\b(?:shows?|showed|demonstrates?|reveals?|no|without|negative|positive|normal)\b|未|無|沒|顯示|可見|有"
)
_ADVICE = re.compile(
    r"\b(?:recommend\w*|advise\w*|suggest\w*|consider|obtain\w*|could|may|if|needed|exclude)\b|建議"
)
_FIXATION = re.compile(
    r"\s+(?:(?:and|&)\s+\w+\s+)?(?:fixation|fixated|fixing|osteosynthesis|construct|stabili[sz]ation|"
    r"transfix\w*|travers\w*|spanning|bridging|across)\b"
)
_LONGEST_HEADING = 60
_LOOSE_GAP = 140


class TargetFinder:
    """Finds targets in folded sentences, for a set of definitions."""

    def __init__(self, definitions: Sequence[Definition], rules: RuleSet) -> None:
        self._lexicon: dict[str, Anchor] = {}
        self._fill_lexicon(definitions, rules)
        self._phrases = Phrases(self._lexicon)
        self._variants = edit_variants(self._lexicon)
        ours = [term for term, entry in self._lexicon.items() if entry.names]
        first_words = {token for term in ours for token in _TOKEN.findall(term)[:1]}
        self._hit_words = first_words | self._variants.keys()
        self._term = re.compile(phrase_pattern(t for t in ours if t.isascii()))
        self._free_hits = re.compile(phrase_pattern(t for t in ours if not t.isascii()))
        self._not_before = {
            definition.name: re.compile(
                rf"\s*-?\s*(?:{phrase_pattern(definition.site_not_before)})"
            )
            for definition in definitions
            if definition.site_not_before
        }
        self._view = re.compile(rf"\s*-?\s*(?:{phrase_pattern(rules.words['view'])})")
        self.lists = SiteLists(rules)
        self.site_verdicts = SiteVerdicts(definitions, rules, self.lists)

    def hits(self, text: str) -> list[int]:
        """Where a folded note may name a finding, a site or a complete term, misspelt or not."""
        places: list[int] = []
        for word in self._hit_words.intersection(_words(text)):
            is_edited = word in self._variants
            place = text.find(word)
            while place >= 0:
                if is_edited or self._term.match(text, place):
                    places.append(place)
                place = text.find(word, place + 1)
        if not text.isascii():
            places.extend(match.start() for match in self._free_hits.finditer(text))
        return sorted(places)

    def find(self, sentence: str, anchors: Sequence[Anchor]) -> list[Target]:
        """All targets of a folded sentence, in order; ``anchors`` are those of the sentence."""
        sites = [anchor for anchor in anchors if anchor.kind == "site"]
        findings = [anchor for anchor in anchors if anchor.kind == "finding"]
        targets: list[Target] = []
        for finding in findings:
            if self._is_excluded(sentence, finding, anchors):
                continue
            for relation, site in self._sites_of(sentence, finding, sites, findings):
                targets.extend(
                    Target(name, finding, site, relation)
                    for name in sorted(site.names & finding.names)
                    if not (site.is_weak and finding.is_weak)
                )
        targets.extend(
            Target(name, anchor, anchor, "complete")
            for anchor in anchors
            if anchor.kind == "complete"
            for name in sorted(anchor.names)
        )
        if sites:
            targets.extend(self.site_verdicts.normal_targets(sentence, sites, anchors))
            targets.extend(self.site_verdicts.injury_targets(sentence, sites, anchors))
        if len(targets) < 2:
            return targets
        return sorted(dict.fromkeys(targets), key=lambda t: (t.start, t.end, t.name, t.relation))

    def anchors(self, sentence: str) -> list[Anchor]:
        """Every finding, site, other site and excluded modifier, misspelt ones included."""
        found = []
        for match in self._phrases.finditer(sentence):
            entry = self._lexicon[phrase_key(match.group())]
            if self._is_not_anatomy(sentence, entry, match.start(), match.end()):
                continue
            found.append(_at(entry, match))
        if not self._variants.keys().isdisjoint(_WORD.findall(sentence)):
            for match in _WORD.finditer(sentence):
                term = self._variants.get(match.group())
                if term is not None:
                    entry = self._lexicon[term]
                    if self._is_not_anatomy(sentence, entry, match.start(), match.end()):
                        continue
                    found.append(_at(entry, match, match.group()))
            found.sort(key=lambda anchor: anchor.start)
        return found

    def site_terms(self) -> list[str]:
        """Every term that names a site of ours."""
        return [
            term
            for term, entry in self._lexicon.items()
            if entry.kind == "site" and entry.names and not entry.is_weak
        ]

    def hits_finding(self, text: str) -> bool:
        """Whether a text holds a finding word."""
        return any(anchor.kind == "finding" for anchor in self.anchors(text))

    def title_sites(self, title: str) -> list[Anchor]:
        """The bones in an examination's title, where "ribs" may well stand before "series"."""
        found = (
            _at(self._lexicon[phrase_key(match.group())], match)
            for match in self._phrases.finditer(title)
        )
        return [a for a in found if a.kind == "site" and a.rule_id != "other-device"]

    def heading_sites(self, sentence: str) -> list[Anchor]:
        """The bones of a heading such as "Ribs:" or "Left clavicle and scapula:", else none."""
        head, colon, _ = sentence.partition(":")
        if not colon or len(head) > _LONGEST_HEADING:
            return []
        sites = self.title_sites(head)
        rest = _BULLET.sub("", head)
        for site in sites:
            rest = rest.replace(head[site.start : site.end], " ")
        is_plain = self.lists.is_enumeration(rest)
        return sites if is_plain and not self.hits_finding(head) else []

    def exam_names(self, sentence: str, finding: Anchor) -> tuple[str, ...]:
        """Findings at the bones of a film that a sentence tells of: "rib series shows no"."""
        names: set[str] = set()
        for site in self.title_sites(sentence[: finding.start]):
            is_film = self._view.match(sentence, site.end) is not None
            if is_film and _TELLS.search(sentence, site.end, finding.start):
                names |= site.names
        return tuple(sorted(names)) if not _ADVICE.search(sentence) else ()

    def is_silent_on_sites(self, anchors: Sequence[Anchor]) -> bool:
        """Whether a sentence names a finding and nothing that it could belong to."""
        return any(a.kind == "finding" and not a.is_weak for a in anchors) and all(
            a.kind == "finding" for a in anchors
        )

    def _fill_lexicon(self, definitions: Sequence[Definition], rules: RuleSet) -> None:
        for category in ("other_site", "excluded_modifier"):
            kind = "site" if category == "other_site" else "excluded"
            for rule in rules.of(category):
                for phrase in rule.phrases:
                    self._lexicon[phrase] = Anchor(0, 0, kind, frozenset(), phrase, rule_id=rule.id)
        fields = (
            ("finding", "finding", False),
            ("finding_weak", "finding", True),
            ("site", "site", False),
            ("site_weak", "site", True),
            ("complete", "complete", False),
        )
        for definition in definitions:
            for field, kind, is_weak in fields:
                for term in getattr(definition, field):
                    known = self._lexicon.get(term)
                    names = frozenset([definition.name])
                    if known and known.kind == kind:
                        names |= known.names
                    self._lexicon[term] = Anchor(0, 0, kind, names, term, is_weak)

    def _is_not_anatomy(self, sentence: str, entry: Anchor, start: int, end: int) -> bool:
        if entry.term == "#":
            following = sentence[end : end + 1]
            before = sentence[:start].rstrip()[-4:]
            return following.isdigit() or before.endswith(("no.", "mrn", "acc"))
        if entry.rule_id == "other-device":
            return _FIXATION.match(sentence, end) is not None
        if entry.kind != "site" or not entry.names:
            return False
        return any(
            pattern.match(sentence, end) is not None
            for name in entry.names
            if (pattern := self._not_before.get(name)) is not None
        )

    def _is_excluded(self, sentence: str, finding: Anchor, anchors: Sequence[Anchor]) -> bool:
        return any(
            anchor.kind == "excluded"
            and anchor.end <= finding.start
            and self.lists.is_loose_filler(sentence[anchor.end : finding.start])
            for anchor in anchors
        )

    def _sites_of(
        self, sentence: str, finding: Anchor, sites: Sequence[Anchor], findings: Sequence[Anchor]
    ) -> list[tuple[str, Anchor]]:
        left = [site for site in sites if site.end <= finding.start]
        right = [site for site in sites if site.start >= finding.end]
        if right and self._is_next_heading(sentence, finding, right[0]):
            right = []
        is_adjectival = finding.term.endswith(_ADJECTIVAL)
        compound: list[Anchor] = []
        if left and self.lists.is_filler(sentence[left[-1].end : finding.start]):
            compound = self.lists.expand_left(sentence, left, findings)
        behind: list[Anchor] = []
        is_heading = bool(compound) and ":" in sentence[left[-1].end : finding.start]
        if right:
            gap = sentence[finding.end : right[0].start]
            is_close = self.lists.is_loose_filler(gap)
            has_link = _LINK.search(gap)
            if is_close and (has_link or not compound or is_heading):
                owns = not self.lists.is_claimed(sentence, right[0], findings)
                if owns or has_link or is_adjectival:
                    behind = self.lists.expand_right(sentence, right, findings)
        if is_heading and behind:
            compound = []
        if compound or behind:
            return [("compound", site) for site in compound] + [("behind", site) for site in behind]
        return self._nearest(sentence, finding, left, right, findings)

    def _is_next_heading(self, sentence: str, finding: Anchor, site: Anchor) -> bool:
        """Whether a site opens the next entry: "ribs: no fracture, clavicles: normal"."""
        return (
            _ENTRY_END.search(sentence, finding.end, site.start) is not None
            and _HEADING_END.match(sentence, site.end) is not None
        )

    def _nearest(
        self,
        sentence: str,
        finding: Anchor,
        left: Sequence[Anchor],
        right: Sequence[Anchor],
        findings: Sequence[Anchor],
    ) -> list[tuple[str, Anchor]]:
        candidates = []
        for site in [*left[-1:], *right[:1]]:
            low, high = min(site.end, finding.end), max(site.start, finding.start)
            gap = high - low
            crossed = any(
                low <= other.start < high and not other.is_weak
                for other in findings
                if other is not finding
            )
            if gap <= _LOOSE_GAP:
                candidates.append((crossed, gap + (0 if site in left else 10), site))
        if not candidates:
            return []
        crossed, _, site = min(candidates, key=lambda entry: entry[:2])
        relation = "borrowed" if crossed else "nearest"
        chosen = [site]
        if site in left:
            chosen = self.lists.expand_left(sentence, left, findings)
        elif site in right:
            chosen = self.lists.expand_right(sentence, right, findings)
        return [(relation, one) for one in chosen]


def _words(text: str) -> list[str]:
    """The runs of letters and digits of a folded note, and its number signs."""
    if text.isascii() and "#" not in text:
        return text.translate(_ONLY_TOKENS).split()
    return _TOKEN.findall(text)


def _at(entry: Anchor, match: re.Match[str], edit: str = "") -> Anchor:
    return Anchor(
        match.start(),
        match.end(),
        entry.kind,
        entry.names,
        entry.term,
        entry.is_weak,
        edit,
        entry.rule_id,
    )
