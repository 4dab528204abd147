"""Which sites of a sentence belong together, and which finding has a claim on one."""

from __future__ import annotations

import re
from collections.abc import Sequence

from nlp_labeling.anchors import Anchor
from nlp_labeling.rule import RuleSet, phrase_pattern

LONGEST_GAP = 90
_SEEN = re.compile(
    r"\s*(?:is|are|was|were)\s+(?:not\s+)?(?:\w+ly\s+)?(?:seen|identified|noted|"
    r"visuali[sz]ed|evident|present|demonstrated|appreciated|detected|found|suspected|apparent|excluded)\b"
)


class SiteLists:
    """Reads the gaps between sites and findings with the word lists of a rule set."""

    def __init__(self, rules: RuleSet) -> None:
        filler = phrase_pattern(rules.words["filler"])
        number = r"\d{1,2}(?:st|nd|rd|th)?(?![a-z0-9])"
        self.step = rf"\s+|{filler}|{number}|[-~/().:]|\[\*\*|x{{4,}}|_+"
        self.joints = phrase_pattern(rules.words["coordination"])
        self._filler = re.compile(rf"(?:{self.step}|,(?=\s*(?:and\s+|or\s+)?\d))*+")
        self._loose_filler = re.compile(rf"(?:{self.step}|,)*+")
        marks = r"\([-+?]{1,2}\)"
        self._coordination = re.compile(rf"(?:{marks}|{self.step}|{self.joints})*+")
        self._joint = re.compile(self.joints)
        self._predicate = re.compile(rf"\s*(?:{phrase_pattern(rules.words['predicate'])})")

    def is_enumeration(self, gap: str) -> bool:
        """Whether a gap holds nothing but filler and conjunctions."""
        return self._coordination.fullmatch(gap) is not None

    def is_joined(self, gap: str) -> bool:
        """Whether a gap begins with a conjunction."""
        return self._joint.match(gap.lstrip()) is not None

    def is_filler(self, gap: str) -> bool:
        """Whether nothing in a gap separates two words of one noun phrase."""
        return len(gap) <= LONGEST_GAP and self._filler.fullmatch(gap) is not None

    def is_loose_filler(self, gap: str) -> bool:
        """As ``is_filler``, commas allowed."""
        return len(gap) <= LONGEST_GAP and self._loose_filler.fullmatch(gap) is not None

    def is_claimed(self, sentence: str, site: Anchor, findings: Sequence[Anchor]) -> bool:
        """Whether a later finding stands directly behind the site and so owns it."""
        following = [other for other in findings if other.start >= site.end]
        if not following:
            return False
        return self.is_filler(sentence[site.end : following[0].start])

    def is_taken(self, sentence: str, site: Anchor, findings: Sequence[Anchor]) -> bool:
        """Whether an earlier finding stands directly before the site: "fracture of the rib"."""
        earlier = [other for other in findings if other.end <= site.start]
        return bool(earlier) and self.is_loose_filler(sentence[earlier[-1].end : site.start])

    def expand_left(
        self, sentence: str, left: Sequence[Anchor], findings: Sequence[Anchor]
    ) -> list[Anchor]:
        """The last of some sites and those enumerated with it: "left clavicle and rib"."""
        chosen = [left[-1]]
        for site in reversed(left[:-1]):
            gap = sentence[site.end : chosen[-1].start]
            if not self.is_coordinated(gap) or not self._is_plain(site, chosen[-1]):
                break
            if self.is_taken(sentence, site, findings):
                break
            chosen.append(site)
        return chosen

    def expand_right(
        self, sentence: str, right: Sequence[Anchor], findings: Sequence[Anchor]
    ) -> list[Anchor]:
        """The first of some sites and those enumerated with it, as far as nothing claims them."""
        chosen = [right[0]]
        for site in right[1:]:
            gap = sentence[chosen[-1].end : site.start]
            if not self.is_coordinated(gap):
                break
            is_told = self._predicate.match(sentence, site.end) is not None
            if is_told and not _SEEN.match(sentence, site.end):
                break
            if self.is_claimed(sentence, site, findings):
                break
            chosen.append(site)
        return chosen

    def _is_plain(self, site: Anchor, beside: Anchor) -> bool:
        """Bones are enumerated with bones; a device in a list is not what broke."""
        return site.rule_id != "other-device" or beside.rule_id == "other-device"

    def is_coordinated(self, gap: str) -> bool:
        """Whether a gap joins two sites to one enumeration."""
        return (
            len(gap) <= LONGEST_GAP
            and self._joint.search(gap) is not None
            and self._coordination.fullmatch(gap) is not None
        )
