"""How well the hospital's records tell the truth: every rate of error in one place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RecordQuality:
    """Probabilities. Orders of magnitude after the literature, not fitted to any hospital.

    Plain films show about half of CT-proven rib fractures and fracture codes have a positive
    predictive value of 66 to 91 % (PMID 37363939); here films are drawn with mostly visible
    fractures, so the reports are better than that.
    """

    film_seen_evident: float = 0.985  # reported from the plain film, by the most evident fracture
    film_seen_moderate: float = 0.94
    film_seen_subtle: float = 0.72
    film_seen_occult: float = 0.03
    film_hedged: float = 0.06  # of those seen, worded as uncertain
    film_false_alarm: float = 0.0015  # "present" without a fracture
    film_false_doubt: float = 0.015  # "possible" without a fracture
    film_absent_named: float = 0.35  # a report without a fracture says so in words
    old_reported: float = 0.8
    report_missing: float = 0.02
    report_preliminary: float = 0.12  # a resident's version precedes the signed one
    preliminary_missed: float = 0.15  # of those, the resident missed the fracture
    report_wrong_patient: float = 0.002  # amended later: the first version was another patient's
    report_retracted: float = 0.001
    addendum_after_ct: float = 0.3  # film missed it, CT saw it
    indication_suspects: float = 0.22  # "r/o rib fracture" in the indication

    ct_if_positive: float = 0.4
    ct_if_negative: float = 0.1
    ct_seen: float = 0.98
    known_otherwise: float = 0.35  # film missed it, no CT: found at the bedside or later

    physician_note_missing: float = 0.03
    physician_states: float = 0.93
    physician_hedges: float = 0.04
    physician_names_absent: float = 0.25
    physician_doubts: float = 0.03  # "r/o rib fx" without any fracture
    discharge_missing: float = 0.03
    discharge_states: float = 0.96

    code_missing: float = 0.07  # known, and not coded in the emergency visit
    code_missing_inpatient: float = 0.04
    code_rule_out: float = 0.008  # negative with an injured chest, coded to justify the film
    code_wrong: float = 0.0015  # negative, plain error
    code_as_initial: float = 0.15  # a follow-up coded as if the injury were new
    code_history: float = 0.25  # an old fracture coded as history or late effect
    code_copied: float = 0.01  # a later visit repeats the fracture code
    code_without_dot: float = 0.3
    code_without_padding: float = 0.02
    code_lower_case: float = 0.01
    code_padded: float = 0.01  # blanks at the end

    history_told: float = 0.4  # an old fracture mentioned as history
    history_false: float = 0.006
    family_told: float = 0.008
    hypothetical_told: float = 0.06
    distractor_told: float = 0.04
    misspelt: float = 0.03
    upper_case: float = 0.04
    wrapped: float = 0.05

    image_missing: float = 0.02  # reported, and not in the archive
    image_second: float = 0.08
    image_lateral: float = 0.05
    image_abdomen: float = 0.025
    image_follow_up: float = 0.12
    image_unrelated: float = 0.12
    image_unknown_patient: float = 0.004  # filed under a temporary chart number

    def film_seen(self, severity: str) -> float:
        """How often a plain film's reader reports a fracture of this severity."""
        return float(getattr(self, f"film_seen_{severity}"))
