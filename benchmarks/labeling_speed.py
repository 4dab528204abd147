"""Notes a second and core: Ribline's labeler against EDS-NLP, negspacy and medSpaCy.

Run: ``python benchmarks/labeling_speed.py [--json] [--notes N] [--peers DIR] [--file-notes N]``.
Each peer runs in a virtual environment of its own under DIR (default: ribline-peers in the user's
cache folder), made with uv or venv at the first run and kept; one that cannot be installed is
reported as such. Speeds are by process time, so that a busy machine slows all alike; the load is
told. Targets: 3 times EDS-NLP on notes with a keyword, 200,000 notes a second on notes without
one, 1.7 times with two processes, memory that does not grow (``--file-notes 1000000`` for the long
form). Finishes within five minutes.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
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
    """Our own speed in one process, sentences met before told from memory or read anew."""
    from nlp_labeling.mentions import labeler
    from nlp_labeling.note_files import label_texts

    hits, plain = make_notes(n_keyword, has_keyword=True), make_notes(n_plain, has_keyword=False)
    label_texts(hits[:50])
    begin = time.process_time()
    found = label_texts(hits)
    keyword_seconds = time.process_time() - begin
    labels = labeler()
    with labels.without_memory():
        begin = time.process_time()
        label_texts(hits)
        uncached_seconds = time.process_time() - begin
    # Plain notes are repeated: making so many different ones would take longer than reading them.
    many = plain * max(1, 200_000 // len(plain))
    begin = time.process_time()
    label_texts(many)
    plain_seconds = time.process_time() - begin
    return {
        "keyword_notes_per_second": round(len(hits) / keyword_seconds, 1),
        "keyword_notes_per_second_uncached": round(len(hits) / uncached_seconds, 1),
        "plain_notes_per_second": round(len(many) / plain_seconds, 1),
        "n_mentions": sum(len(mentions or ()) for mentions in found),
        "words_per_note": round(sum(len(note.split()) for note in hits) / len(hits), 1),
    }


def write_notes(path: Path, n_notes: int, keyword_share: float) -> None:
    """A jsonl file of notes, written as they are made."""
    with path.open("w", encoding="utf-8") as lines:
        for first in range(0, n_notes, 1_000):
            n_hits = round(1_000 * keyword_share)
            texts = make_notes(n_hits, has_keyword=True, seed=first + 1)
            texts += make_notes(1_000 - n_hits, has_keyword=False, seed=first + 2)
            for order, text in enumerate(texts[: n_notes - first], start=first):
                lines.write(json.dumps({"note_id": str(order), "text": text}) + "\n")


def two_process_ratio(count: int, rounds: int = 3) -> float:
    """Gain of ``processes=2`` over one on a file of keyword notes by the clock, best of rounds."""
    from nlp_labeling import note_source
    from nlp_labeling.note_files import label_notes

    clock = {1: float("inf"), 2: float("inf")}
    size, note_source.BATCH_ROWS = note_source.BATCH_ROWS, max(250, count // 64)
    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / "notes.jsonl"
        write_notes(source, count, 1.0)
        for processes in (1, 2) * rounds:
            begin = time.perf_counter()
            label_notes(source, Path(name) / f"o{processes}.csv", processes=processes)
            clock[processes] = min(clock[processes], time.perf_counter() - begin)
    note_source.BATCH_ROWS = size
    return round(clock[1] / clock[2], 2)


def plain_loop_ratio(rounds: int = 3) -> float:
    """Gain of two processes over one on loops that share nothing: what the machine gives now."""
    clock = {1: float("inf"), 2: float("inf")}
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.map(_plain_loop, [1_000, 1_000])
        for processes in (1, 2) * rounds:
            begin = time.perf_counter()
            pool.map(_plain_loop, [4_000_000] * processes, chunksize=1)
            spent = (time.perf_counter() - begin) / processes
            clock[processes] = min(clock[processes], spent)
    return round(clock[1] / clock[2], 2)


def _plain_loop(count: int) -> int:
    total = 0
    for number in range(count):
        total += number % 7
    return total


class ResidentMemory:
    """A progress listener that notes the resident size after each batch, in MB."""

    def __init__(self) -> None:
        self.sizes: list[float] = []

    def start(self, stage: str, total: int | None) -> None:
        """Nothing to note."""

    def advance(self, n: int = 1, **figures: float | str) -> None:
        """Note the size."""
        n_pages = int(Path("/proc/self/statm").read_text().split()[1])
        self.sizes.append(n_pages * resource.getpagesize() / 2**20)

    def finish(self) -> None:
        """Nothing to note."""


def memory_figures(n_notes: int) -> dict[str, float]:
    """Resident size over a file, one note in ten with a keyword; in a process of its own.

    The process that has measured speed holds more already than a file needs, and would hide it.
    """
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_memory_figures, (n_notes,))


def _memory_figures(n_notes: int) -> dict[str, float]:
    from nlp_labeling import note_source
    from nlp_labeling.note_files import label_notes

    memory = ResidentMemory()
    note_source.BATCH_ROWS = 5_000
    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / "notes.jsonl"
        write_notes(source, n_notes, 0.1)
        begin = time.process_time()
        label_notes(source, Path(name) / "o.parquet", Path(name) / "s.csv", progress=memory)
        seconds = time.process_time() - begin
    quarter = memory.sizes[len(memory.sizes) // 4]
    return {
        "file_notes": n_notes,
        "file_notes_per_second": round(n_notes / seconds, 1),
        "resident_first_mb": round(memory.sizes[0], 1),
        "resident_quarter_mb": round(quarter, 1),
        "resident_last_mb": round(memory.sizes[-1], 1),
        "resident_most_mb": round(max(memory.sizes), 1),
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


def measure(n_notes: int, n_file_notes: int, peers: Path) -> dict[str, object]:
    """All figures and ratios."""
    load = os.getloadavg()[0]
    own = {
        **own_figures(n_notes, 4_000),
        "two_process_ratio": two_process_ratio(16 * n_notes),
        "two_process_ratio_of_plain_loops": plain_loop_ratio(),
        **memory_figures(n_file_notes),
    }
    compared: dict[str, object] = {}
    ratios: dict[str, float] = {}
    peers.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        notes = Path(name) / "notes.json"
        notes.write_text(json.dumps(make_notes(n_notes, has_keyword=True)), encoding="utf-8")
        for peer in PEERS:
            result = peer_figures(peer, peers, notes, seconds=6)
            compared[peer] = result
            if result.get("notes_per_second"):
                ratio = own["keyword_notes_per_second"] / result["notes_per_second"]  # type: ignore[operator]
                ratios[peer] = round(ratio, 2)
    return {
        "benchmark": "labeling_speed",
        "load_before": round(load, 2),
        "load_after": round(os.getloadavg()[0], 2),
        "ribline": own,
        "peers": compared,
        "ratios": ratios,
    }


def main() -> int:
    """Print the figures."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ribline-peers"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--notes", type=int, default=1_500, help="keyword-bearing notes")
    parser.add_argument("--file-notes", type=int, default=100_000, help="notes of the memory run")
    parser.add_argument("--peers", type=Path, default=cache, help="the peers' environments")
    options = parser.parse_args()
    figures = measure(options.notes, options.file_notes, options.peers)
    print(json.dumps(figures, indent=None if options.json else 2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
