"""What a sentence speaks of: findings, the sites they are ascribed to, and which pairs are ours.

A finding belongs to the site that stands directly before it ("left clavicle and rib fractures"),
directly behind it ("fractures of the right 3rd to 6th ribs"), else to the nearest one in the
sentence. A site that is another bone or a device wins in the same way, and the pair is dropped.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from nlp_labeling.definition import Definition
from nlp_labeling.rule import RuleSet, expand_phrases, phrase_key, phrase_pattern

OTHER = "other"
MINIMUM_EDIT_LENGTH = 8
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_TOKEN = re.compile(r"[a-z0-9]+|#")
_WORD = re.compile(r"[a-z]{6,14}")
_ADJECTIVAL = re.compile(r"(?:ed|broken)$")
_ENTRY_END = re.compile(r"[,;/|]\s*(?:[a-z]+\s+){0,2}$")
_HEADING_END = re.compile(r"\s*:|\s+-\s")
_BULLET = re.compile(r"^[\s*>#=_-]*(?:\(?\d{1,2}[.)]\s*)?")
_VERB = re.compile(r"(?:is|are|appears?|remains?|looks?|seems?)\b")
_CALLED = re.compile(
    r"\s*(?:(?:is|are|appears?|remains?|looks?|seems?)\s+)?(?:(?!not\b|no\b)[a-z-]+,?\s+){0,3}(?:and|but)\s+"
    r"(?:otherwise\s+|grossly\s+)?"
)
_MODIFIED = re.compile(
    r"\s*(?:abutting|adjacent|overlying|underlying|deep|beneath|near|around|surrounding|in|of|on|at|along|"
    r"under|within|seen|included|imaged|that|which|covered)\b[^,;:.]{0,60}"
)
_SEEN = re.compile(
    r"\s*(?:is|are|was|were)\s+(?:not\s+)?(?:\w+ly\s+)?(?:seen|identified|noted|visuali[sz]ed|evident|present|"
    r"demonstrated|appreciated|detected|found|suspected|apparent|excluded)\b"
)
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
_BARE_WORD = re.compile(
    r"(?<![a-z])(?:normal|negative|unremarkable|nad)(?=\s*(?:[.;,]|$))", re.MULTILINE
)
_BARE_NORMAL = re.compile(r"\A\W*(?:normal|negative|unremarkable|nad)\W*\Z")
_OPENING = re.compile(
    r"(?:^|[:,;(>*-]|\b(?:is|are|shows?|with|demonstrates?))\s*(?:an?\s+|the\s+)?$"
)
_OF = re.compile(
    r"\s*(?:seen\s+|noted\s+|identified\s+)?(?:of|in|involving|to|at|within|about|affecting)\b"
)
_LONGEST_HEADING = 60
_LONGEST_GAP = 90
_LOOSE_GAP = 140


@dataclass(frozen=True, slots=True)
class Anchor:
    """A finding or site word in a sentence; ``names`` are the definitions it serves."""

    start: int
    end: int
    kind: str
    names: frozenset[str]
    term: str
    is_weak: bool = False
    edit: str = ""
    rule_id: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """One finding at one site: the pair of anchors and how they were joined."""

    name: str
    finding: Anchor
    site: Anchor
    relation: str

    @property
    def start(self) -> int:
        """First character of the pair."""
        return min(self.finding.start, self.site.start)

    @property
    def end(self) -> int:
        """One past the last character of the pair."""
        return max(self.finding.end, self.site.end)


class TargetFinder:
    """Finds targets in folded sentences, for a set of definitions."""

    def __init__(self, definitions: Sequence[Definition], rules: RuleSet) -> None:
        self._lexicon: dict[str, Anchor] = {}
        self._fill_lexicon(definitions, rules)
        self._anchors = re.compile(phrase_pattern(self._lexicon))
        self._variants = edit_variants(self._lexicon)
        ours = [term for term, entry in self._lexicon.items() if entry.names]
        first_words = {token for term in ours for token in _TOKEN.findall(term)[:1]}
        self._hit_words = first_words | self._variants.keys()
        self._free_hits = re.compile(phrase_pattern(t for t in ours if not t.isascii()))
        self._not_before = {
            definition.name: re.compile(
                rf"\s*-?\s*(?:{phrase_pattern(definition.site_not_before)})"
            )
            for definition in definitions
            if definition.site_not_before
        }
        self._normal = {
            definition.name for definition in definitions if definition.is_normal_site_negative
        }
        self._view = re.compile(rf"\s*-?\s*(?:{phrase_pattern(rules.words['view'])})")
        filler = phrase_pattern(rules.words["filler"])
        number = r"\d{1,2}(?:st|nd|rd|th)?(?![a-z0-9])"
        step = rf"\s+|{filler}|{number}|[-~/().:]|\[\*\*|x{{4,}}|_+"
        self._filler = re.compile(rf"(?:{step}|,(?=\s*(?:and\s+|or\s+)?\d))*+")
        self._right_filler = re.compile(rf"(?:{step}|,)*+")
        joints = phrase_pattern(rules.words["coordination"])
        marks = r"\([-+?]{1,2}\)"
        self._coordination = re.compile(rf"(?:{marks}|{step}|{joints})*+")
        self._joint = re.compile(joints)
        neighbours = phrase_pattern(expand_phrases(rules.words["neighbour"]))
        self._beside = re.compile(rf"(?:{joints}|{step}|{neighbours})*+")
        self._neighbour = re.compile(neighbours)
        predicate = phrase_pattern(rules.words["predicate"])
        self._stated = re.compile(rf"(?:{step}|{predicate}|{joints})*+")
        self._predicate = re.compile(rf"\s*(?:{phrase_pattern(rules.words['predicate'])})")
        past = expand_phrases(rules.words["past_injury"])
        self._past_injury = re.compile(phrase_pattern(past))
        self._injury = re.compile(phrase_pattern([*past, *expand_phrases(rules.words["injury"])]))
        self._normal_exam = re.compile(phrase_pattern(expand_phrases(rules.words["normal_exam"])))
        normal = rules.of("normal_site")
        self._normal_rule = {phrase: rule.id for rule in normal for phrase in rule.phrases}
        self._normal_phrase = re.compile(
            rf"(?:{phrase_pattern(self._normal_rule)})(?!\s+(?:[a-z]+\s+)?varia)"
        )

    def hits(self, text: str) -> list[int]:
        """Where a folded note may name a finding, a site or a complete term, misspelt or not."""
        places: list[int] = []
        for word in self._hit_words.intersection(_TOKEN.findall(text)):
            place = text.find(word)
            while place >= 0:
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
        targets.extend(self._normal_targets(sentence, sites, anchors))
        targets.extend(self._injury_targets(sentence, sites, anchors))
        return sorted(set(targets), key=lambda t: (t.start, t.end, t.name, t.relation))

    def anchors(self, sentence: str) -> list[Anchor]:
        """Every finding, site, other site and excluded modifier, misspelt ones included."""
        found = []
        for match in self._anchors.finditer(sentence):
            entry = self._lexicon[phrase_key(match.group())]
            if self._is_not_anatomy(sentence, entry, match.start(), match.end()):
                continue
            found.append(_at(entry, match))
        if self._variants:
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
            for match in self._anchors.finditer(title)
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
        is_plain = self._coordination.fullmatch(rest) is not None
        return sites if is_plain and not self.hits_finding(head) else []

    def verdict_places(self, note: str) -> list[int]:
        """Where a note denies any injury or calls the examination normal."""
        patterns = (self._injury, self._normal_exam, _BARE_WORD)
        return [match.start() for one in patterns for match in one.finditer(note)]

    def verdicts(self, sentence: str, names: Sequence[str]) -> list[Target]:
        """ "No bony injury", "normal study": what a report on one bone says of its fracture."""
        targets = []
        patterns = (
            (self._injury, "injury"),
            (self._normal_exam, "normal"),
            (_BARE_NORMAL, "normal"),
        )
        for pattern, relation in patterns:
            for match in pattern.finditer(sentence):
                place = Anchor(
                    match.start(), match.end(), "finding", frozenset(names), match.group()
                )
                targets.extend(Target(name, place, place, relation) for name in names)
        return targets

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

    def is_filler(self, gap: str) -> bool:
        """Whether nothing in a gap separates two words of one noun phrase."""
        return len(gap) <= _LONGEST_GAP and self._filler.fullmatch(gap) is not None

    def is_loose_filler(self, gap: str) -> bool:
        """As ``is_filler``, commas allowed."""
        return len(gap) <= _LONGEST_GAP and self._right_filler.fullmatch(gap) is not None

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
            and self.is_loose_filler(sentence[anchor.end : finding.start])
            for anchor in anchors
        )

    def _sites_of(
        self, sentence: str, finding: Anchor, sites: Sequence[Anchor], findings: Sequence[Anchor]
    ) -> list[tuple[str, Anchor]]:
        left = [site for site in sites if site.end <= finding.start]
        right = [site for site in sites if site.start >= finding.end]
        if right and self._is_next_heading(sentence, finding, right[0]):
            right = []
        is_adjectival = _ADJECTIVAL.search(finding.term) is not None
        compound: list[Anchor] = []
        if left and self.is_filler(sentence[left[-1].end : finding.start]):
            compound = self._expand_left(sentence, left, findings)
        behind: list[Anchor] = []
        is_heading = bool(compound) and ":" in sentence[left[-1].end : finding.start]
        if right:
            gap = sentence[finding.end : right[0].start]
            is_close = len(gap) <= _LONGEST_GAP and self._right_filler.fullmatch(gap)
            has_link = re.search(r"\b(?:of|in|involving|at|along|through|to|affecting|on)\b|:", gap)
            if is_close and (has_link or not compound or is_heading):
                owns = not self._is_claimed(sentence, right[0], findings)
                if owns or has_link or is_adjectival:
                    behind = self._expand_right(sentence, right, findings)
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

    def _is_claimed(self, sentence: str, site: Anchor, findings: Sequence[Anchor]) -> bool:
        """Whether a later finding stands directly behind the site and so owns it."""
        following = [other for other in findings if other.start >= site.end]
        if not following:
            return False
        return self.is_filler(sentence[site.end : following[0].start])

    def _is_taken(self, sentence: str, site: Anchor, findings: Sequence[Anchor]) -> bool:
        """Whether an earlier finding stands directly before the site: "fracture of the rib"."""
        earlier = [other for other in findings if other.end <= site.start]
        return bool(earlier) and self.is_loose_filler(sentence[earlier[-1].end : site.start])

    def _expand_left(
        self, sentence: str, left: Sequence[Anchor], findings: Sequence[Anchor]
    ) -> list[Anchor]:
        chosen = [left[-1]]
        for site in reversed(left[:-1]):
            gap = sentence[site.end : chosen[-1].start]
            if not self._is_coordinated(gap) or not self._is_plain(site, chosen[-1]):
                break
            if self._is_taken(sentence, site, findings):
                break
            chosen.append(site)
        return chosen

    def _expand_right(
        self, sentence: str, right: Sequence[Anchor], findings: Sequence[Anchor]
    ) -> list[Anchor]:
        chosen = [right[0]]
        for site in right[1:]:
            gap = sentence[chosen[-1].end : site.start]
            if not self._is_coordinated(gap):
                break
            is_told = self._predicate.match(sentence, site.end) is not None
            if is_told and not _SEEN.match(sentence, site.end):
                break
            if self._is_claimed(sentence, site, findings):
                break
            chosen.append(site)
        return chosen

    def _is_plain(self, site: Anchor, beside: Anchor) -> bool:
        """Bones are enumerated with bones; a device in a list is not what broke."""
        return site.rule_id != "other-device" or beside.rule_id == "other-device"

    def _is_coordinated(self, gap: str) -> bool:
        return (
            len(gap) <= _LONGEST_GAP
            and self._joint.search(gap) is not None
            and self._coordination.fullmatch(gap) is not None
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
            chosen = self._expand_left(sentence, left, findings)
        elif site in right:
            chosen = self._expand_right(sentence, right, findings)
        return [(relation, one) for one in chosen]

    def _normal_targets(
        self, sentence: str, sites: Sequence[Anchor], anchors: Sequence[Anchor]
    ) -> list[Target]:
        """ "The ribs and clavicles are intact" denies a fracture without naming one."""
        targets: list[Target] = []
        for match in self._normal_phrase.finditer(sentence):
            called = self._called(sentence, match, sites, anchors)
            rule_id = self._normal_rule[phrase_key(match.group())]
            denial = Anchor(
                match.start(), match.end(), "normal", frozenset(), match.group(), rule_id=rule_id
            )
            targets.extend(self._denied(denial, called, "normal"))
        return targets

    def _called(
        self,
        sentence: str,
        match: re.Match[str],
        sites: Sequence[Anchor],
        anchors: Sequence[Anchor],
    ) -> list[Anchor]:
        """The sites that a "normal" speaks of: "ribs are normal", "normal heart, lungs and ribs"."""
        before = [site for site in sites if site.end <= match.start()]
        if before and not any(before[-1].end <= a.start < match.start() for a in anchors):
            if self._is_called(sentence, before[-1], match, anchors):
                return self._expand_left(sentence, before, ())
            return []
        after = [site for site in sites if site.start >= match.end()]
        findings = [anchor for anchor in anchors if anchor.kind == "finding"]
        if not after or _OPENING.search(sentence[: match.start()]) is None:
            return []
        gap = sentence[match.end() : after[0].start]
        if len(gap) > _LONGEST_GAP or self._beside.fullmatch(gap) is None:
            return []
        if self._is_claimed(sentence, after[0], findings) or ":" in gap:
            return []
        return self._expand_right(sentence, after, findings)

    def _injury_targets(
        self, sentence: str, sites: Sequence[Anchor], anchors: Sequence[Anchor]
    ) -> list[Target]:
        """ "No abnormality of the ribs" denies a fracture, "old rib trauma" tells of one."""
        findings = [anchor for anchor in anchors if anchor.kind == "finding"]
        targets: list[Target] = []
        for match in self._injury.finditer(sentence) if sites else ():
            injury = Anchor(match.start(), match.end(), "finding", frozenset(), match.group())
            left = [site for site in sites if site.end <= match.start()]
            right = [site for site in sites if site.start >= match.end()]
            if any(left and left[-1].end <= one.start < match.start() for one in findings):
                left = []
            if left and self._stated.fullmatch(sentence, left[-1].end, match.start()):
                chosen = self._expand_left(sentence, left, findings)
            elif right and _OF.match(sentence, match.end()):
                gap = sentence[match.end() : right[0].start]
                is_near = self.is_loose_filler(gap) or self._beside.fullmatch(gap)
                chosen = self._expand_right(sentence, right, findings) if is_near else []
            else:
                continue
            is_trauma = self._past_injury.fullmatch(match.group()) is not None
            targets.extend(self._denied(injury, chosen, "trauma" if is_trauma else "injury"))
        return targets

    def _denied(self, denial: Anchor, sites: Sequence[Anchor], relation: str) -> list[Target]:
        return [
            Target(name, denial, site, relation)
            for site in sites
            for name in sorted(site.names & self._normal)
            if not site.is_weak
        ]

    def _is_called(
        self, sentence: str, site: Anchor, match: re.Match[str], anchors: Sequence[Anchor]
    ) -> bool:
        """Whether a "normal" behind a site speaks of it, or of its neighbours and of it."""
        gap = sentence[site.end : match.start()]
        if self.is_filler(gap) or _CALLED.fullmatch(gap):
            return True
        if _VERB.match(match.group()) and (gap.strip() == "," or _MODIFIED.fullmatch(gap)):
            return True
        findings = [anchor for anchor in anchors if anchor.kind == "finding"]
        return (
            len(gap) <= _LONGEST_GAP
            and self._joint.match(gap.lstrip()) is not None
            and self._neighbour.search(gap) is not None
            and self._beside.fullmatch(gap) is not None
            and not self._is_taken(sentence, site, findings)
        )


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


def edit_variants(terms: Sequence[str] | dict[str, Anchor]) -> dict[str, str]:
    """Every word one edit (insert, delete, replace, swap neighbours) away from a long term.

    A word that is itself a term is left out, and so is one that two terms share.
    """
    variants: dict[str, str] = {}
    for term in terms:
        entry = terms[term] if isinstance(terms, dict) else None
        if len(term) < MINIMUM_EDIT_LENGTH or not (term.isascii() and term.isalpha()):
            continue
        if entry is not None and (entry.kind == "excluded" or not entry.names or entry.is_weak):
            continue
        for variant in _one_edit(term):
            variants.setdefault(variant, term)
    for term in terms:
        variants.pop(term, None)
    return variants


def describe_edit(found: str, term: str) -> str:
    """The one edit that leads from a term to what was written, as ``kind@offset``."""
    place = next(
        (i for i, (a, b) in enumerate(zip(found, term, strict=False)) if a != b),
        min(len(found), len(term)),
    )
    if len(found) > len(term):
        return f"insert@{place}"
    if len(found) < len(term):
        return f"delete@{place}"
    is_swap = found[place : place + 2] == term[place : place + 2][::-1]
    return f"swap@{place}" if is_swap else f"replace@{place}"


def _one_edit(word: str) -> set[str]:
    splits = [(word[:place], word[place:]) for place in range(len(word) + 1)]
    deleted = {head + tail[1:] for head, tail in splits if tail}
    swapped = {head + tail[1] + tail[0] + tail[2:] for head, tail in splits if len(tail) > 1}
    replaced = {head + c + tail[1:] for head, tail in splits if tail for c in _LETTERS}
    inserted = {head + c + tail for head, tail in splits for c in _LETTERS}
    return (deleted | swapped | replaced | inserted) - {word}
