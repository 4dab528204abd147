"""``docs/labeling_rules.md``: the combination rule, the definitions and all rules."""

from __future__ import annotations

from nlp_labeling.combination import RULE
from nlp_labeling.definition import Definition, load_definitions
from nlp_labeling.rule import CATEGORIES, Rule, load_rules

_SHOWN_PHRASES = 12


def rules_page() -> str:
    """The page as Markdown."""
    parts = [
        "# Labelling rules",
        "Generated from `nlp_labeling/definitions` and `nlp_labeling/rules` by "
        "`python docs/generate.py`; do not edit. `code_sets.md` lists every code.",
        "## Combination of evidence",
        "The first row that fits decides.",
        "| row | label | where a positive was seen |\n|---|---|---|\n"
        + "\n".join(f"| {reason} | {label} | {tier or ''} |" for reason, _, label, tier in RULE),
    ]
    parts.extend(_definition(definition) for definition in load_definitions())
    rules = load_rules()
    for category in CATEGORIES:
        chosen = rules.of(category)
        if chosen:
            parts.append(f"## Rules: {category}")
            parts.extend(_rule(rule) for rule in chosen)
    return "\n\n".join(parts) + "\n"


def _definition(definition: Definition) -> str:
    lines = [
        f"## {definition.title} (`{definition.name}`, version {definition.version})",
        "",
        f"Window: {definition.linkage.hours_before_study} hours before to "
        f"{definition.linkage.hours_after_study} hours after the film; negative once the encounter "
        f"has been closed for {definition.linkage.closed_days_before_negative} days.",
        "",
        "| vocabulary | branch | means |",
        "|---|---|---|",
    ]
    for vocabulary, code_set in definition.codes.items():
        lines.extend(f"| {vocabulary} | {e.code} | {e.status} |" for e in code_set.include)
        lines.extend(
            f"| {vocabulary} | {e.code} | kept out: {e.reason.replace('_', ' ')} |"
            for e in code_set.exclude
        )
    return "\n".join(lines)


def _rule(rule: Rule) -> str:
    phrases = ", ".join(f"`{phrase}`" for phrase in rule.phrases[:_SHOWN_PHRASES])
    more = len(rule.phrases) - _SHOWN_PHRASES
    scope = [rule.direction] if rule.category not in ("section", "other_site") else []
    scope += [f"at most {rule.max_words} words"] if rule.max_words else []
    scope += [f"ends at {' '.join(rule.stops_at)}"] if rule.stops_at else []
    lines = [f"### `{rule.id}`", ""]
    lines += [f"Scope: {', '.join(scope)}.", ""] if scope else []
    lines += [f"{phrases}{f' and {more} more' if more > 0 else ''}", ""]
    lines += [rule.why, ""] if rule.why else []
    lines += [f"- fires: {_quoted(example)}" for example in rule.positive]
    lines += [f"- does not: {_quoted(example)}" for example in rule.negative]
    return "\n".join(lines)


def _quoted(example: str) -> str:
    return f'"{example}"'.replace("\n", " / ")
