"""Notes a second and core: Ribline's labeler against EDS-NLP, negspacy and medSpaCy.

Run: ``python benchmarks/labeling_speed.py [--json] [--notes N] [--peers DIR]``. Each peer runs in a
virtual environment of its own under DIR (default: a temporary folder, made with uv or venv and
removed afterwards); one that cannot be installed is reported as such. Targets: 3 times EDS-NLP on
notes with a keyword, 200,000 notes a second on notes without one. Finishes within five minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

OPENINGS = [
    "CHEST PA AND LATERAL.",
    "INDICATION: {age}-year-old with chest pain after a fall, rule out fracture.",
    "COMPARISON: Radiograph of {day} {month}.",
    "FINDINGS: The cardiomediastinal silhouette is within normal limits.",
    "The lungs are clear without focal consolidation, measuring {n} mm at the base.",
    "No pleural effusion or pneumothorax is seen on image {n}.",
    "There are degenerative changes of the thoracic spine at T{t}.",
    "The heart size is {size} and the aorta is tortuous.",
    "A line terminates {n} mm above the carina, unchanged since {day} {month}.",
    "Mild bibasilar atelectasis is present, {size} compared with before.",
    "The trachea is midline and the hila are {size}.",
]
HITS = [
    "There is a {size} fracture of the {side} {r}th rib, {n} mm displaced.",
    "No displaced rib fracture is identified on the {side}.",
    "Old healed {side} {r}th and {q}th rib fractures are again noted.",
    "A nondisplaced {side} clavicle fracture cannot be excluded, {n} mm lucency.",
    "IMPRESSION: Acute fractures of the {side} {r}th ribs, {n} in number.",
]
PEERS = {
    "eds_nlp": ["edsnlp==0.23.0"],
    "negspacy": ["negspacy==1.1.0", "spacy>=3.8,<3.9"],
    "medspacy": ["medspacy==1.3.1", "numpy<2"],
}
PEER_SCRIPT = r"""
import json, sys, time, warnings, logging
warnings.filterwarnings("ignore"); logging.disable(logging.CRITICAL)
name, path = sys.argv[1:3]
notes = json.load(open(path, encoding="utf-8"))
terms = ["rib fracture", "rib fractures", "clavicle fracture", "fracture", "fractures"]
terms += ["rib", "ribs", "clavicle"]
import spacy
if name == "eds_nlp":
    import edsnlp
    nlp = edsnlp.blank("eds")
    nlp.add_pipe("eds.sentences")
    config = {"terms": {"fracture": terms}, "attr": "LOWER"}
    nlp.add_pipe("eds.matcher", config=config)
    nlp.add_pipe("eds.negation", config={
        "pseudo": ["no change", "not only"],
        "preceding": ["no", "without", "no evidence of", "not", "denies"],
        "following": ["is not seen", "unlikely", "ruled out"], "verbs": [],
        "termination": ["but", "however"]})
elif name == "negspacy":
    from negspacy.negation import Negex
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    ruler = nlp.add_pipe("entity_ruler", config={"phrase_matcher_attr": "LOWER"})
    ruler.add_patterns([{"label": "FRACTURE", "pattern": term} for term in terms])
    nlp.add_pipe("negex", config={"ent_types": ["FRACTURE"]})
else:
    import medspacy
    from medspacy.ner import TargetRule
    nlp = medspacy.load()
    nlp.get_pipe("medspacy_target_matcher").add([TargetRule(term, "FRACTURE") for term in terms])
for doc in nlp.pipe(notes[:20]): pass
begin = time.process_time()
n = 0
limit = float(sys.argv[3])
for doc in nlp.pipe(notes):
    n += 1
    if time.process_time() - begin > limit: break
print(json.dumps({"notes_per_second": round(n / (time.process_time() - begin), 1), "n_notes": n}))
"""


def make_notes(count: int, *, has_keyword: bool, seed: int = 0) -> list[str]:
    """Radiology-like notes of about 99 words, each different in numbers and wording."""
    draw = random.Random(seed)
    months = ["January", "March", "May", "July", "October"]

    def fill(sentence: str) -> str:
        return sentence.format(
            age=draw.randint(18, 95),
            day=draw.randint(1, 28),
            month=draw.choice(months),
            n=draw.randint(1, 400),
            t=draw.randint(1, 12),
            size=draw.choice(["normal", "mildly enlarged", "stable", "subtle", "acute"]),
            side=draw.choice(["left", "right"]),
            r=draw.randint(4, 7),
            q=draw.randint(8, 11),
        )

    notes = []
    for _ in range(count):
        sentences = [fill(sentence) for sentence in OPENINGS]
        if has_keyword:
            sentences[draw.randint(4, 10)] = fill(draw.choice(HITS))
            sentences.append(fill(draw.choice(HITS)))
        notes.append("\n".join(sentences))
    return notes


def own_figures(n_keyword: int, n_plain: int) -> dict[str, object]:
    """Our own speed, one process, and what two processes give."""
    from nlp_labeling.note_files import label_texts

    hits, plain = make_notes(n_keyword, has_keyword=True), make_notes(n_plain, has_keyword=False)
    label_texts(hits[:50])
    begin = time.process_time()
    found = label_texts(hits)
    keyword_seconds = time.process_time() - begin
    # Plain notes are repeated: making so many different ones would take longer than reading them.
    many = plain * max(1, 200_000 // len(plain))
    begin = time.process_time()
    label_texts(many)
    plain_seconds = time.process_time() - begin
    return {
        "keyword_notes_per_second": round(len(hits) / keyword_seconds, 1),
        "plain_notes_per_second": round(len(many) / plain_seconds, 1),
        "n_mentions": sum(len(mentions or ()) for mentions in found),
        "words_per_note": round(sum(len(note.split()) for note in hits) / len(hits), 1),
    }


def two_process_ratio(count: int) -> dict[str, float]:
    """Wall-clock gain of ``processes=2`` over one on a file of keyword notes."""
    from nlp_labeling import note_files

    hits = make_notes(count, has_keyword=True, seed=1)
    seconds = {}
    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / "notes.jsonl"
        source.write_text(
            "".join(json.dumps({"note_id": str(i), "text": t}) + "\n" for i, t in enumerate(hits)),
            encoding="utf-8",
        )
        note_files.BATCH_ROWS = max(500, count // 16)
        for processes in (1, 2):
            begin = time.perf_counter()
            note_files.label_notes(source, Path(name) / f"o{processes}.csv", processes=processes)
            seconds[processes] = time.perf_counter() - begin
    return {"two_process_ratio": round(seconds[1] / seconds[2], 2)}


def memory_growth_mb(rounds: int) -> dict[str, float]:
    """Growth of the peak resident size over rounds of fresh notes, after the first."""
    from nlp_labeling.note_files import label_texts

    peaks = []
    for index in range(rounds):
        label_texts(make_notes(1_000, has_keyword=True, seed=100 + index))
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    return {
        "peak_growth_mb": round(peaks[-1] - peaks[rounds // 2], 1),
        "peak_mb": round(peaks[-1], 1),
    }


def peer_figures(name: str, folder: Path, notes: Path, seconds: float) -> dict[str, object]:
    """One peer in an environment of its own; says so where it does not install or run."""
    home = folder / name
    python = home / "bin" / "python"
    if not python.exists():
        uv = shutil.which(
            "uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        )
        make = (
            [uv, "venv", "-q", "--python", sys.executable] if uv else [sys.executable, "-m", "venv"]
        )
        fill = (
            [uv, "pip", "install", "-q", "--python", str(python)]
            if uv
            else [str(python), "-m", "pip", "install", "-q"]
        )
        for command in ([*make, str(home)], [*fill, *PEERS[name]]):
            try:
                subprocess.run(command, check=True, capture_output=True, timeout=60)
            except (subprocess.SubprocessError, OSError) as error:
                shutil.rmtree(home, ignore_errors=True)
                return {"installed": False, "why": f"{type(error).__name__} while installing"}
    try:
        done = subprocess.run(
            [str(python), "-c", PEER_SCRIPT, name, str(notes), str(seconds)],
            check=True,
            capture_output=True,
            text=True,
            timeout=80,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
    except subprocess.SubprocessError as error:
        detail = (getattr(error, "stderr", "") or "").strip().splitlines()[-1:]
        return {"installed": True, "why": f"{type(error).__name__}: {' '.join(detail)[:200]}"}
    return {"installed": True, **json.loads(done.stdout.strip().splitlines()[-1])}


def measure(n_notes: int, peers: Path | None) -> dict[str, object]:
    """All figures and ratios."""
    own = {**own_figures(n_notes, 4_000), **two_process_ratio(2 * n_notes), **memory_growth_mb(4)}
    figures: dict[str, object] = {
        "benchmark": "labeling_speed",
        "ribline": own,
        "peers": {},
        "ratios": {},
    }
    with tempfile.TemporaryDirectory() as name:
        notes = Path(name) / "notes.json"
        notes.write_text(json.dumps(make_notes(n_notes, has_keyword=True)), encoding="utf-8")
        for peer in PEERS:
            result = peer_figures(peer, peers or Path(name), notes, seconds=6)
            figures["peers"][peer] = result  # type: ignore[index]
            if result.get("notes_per_second"):
                ratio = own["keyword_notes_per_second"] / result["notes_per_second"]  # type: ignore[operator]
                figures["ratios"][peer] = round(ratio, 2)  # type: ignore[index]
    return figures


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--notes", type=int, default=1_500, help="keyword-bearing notes")
    parser.add_argument("--peers", type=Path, help="folder for the peers' environments, kept")
    options = parser.parse_args()
    figures = measure(options.notes, options.peers)
    print(json.dumps(figures, indent=None if options.json else 2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
