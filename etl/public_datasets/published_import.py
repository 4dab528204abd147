"""What every labelled data set's import has in common: its start, its one commit, its summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from etl.pseudonym import Pseudonymizer
from etl.public_datasets.published_films import PublishedFilm, PublishedImages
from etl.public_datasets.published_labels import PublishedBoxes, PublishedLabels
from etl.quarantine import QuarantineList
from warehouse_schema.progress import Progress
from warehouse_schema.store import Store

STAGE = "import-public"


@dataclass(frozen=True, kw_only=True)
class ImportSummary:
    """What one import found.

    Attributes:
        n_images: Films.
        n_patients: Their patients.
        n_frontal: Frontal chest films, which are cached.
        n_decoded: Films decoded now; the others were cached already.
        n_positive: Labels that are positive.
        n_negative: Labels that are negative.
        n_uncertain: Labels that are uncertain or excluded.
        n_boxes: Boxes of all findings.
        n_quarantined: Rows and files set aside.
        quarantine_reasons: How many for each reason.
    """

    n_images: int
    n_patients: int
    n_frontal: int
    n_decoded: int
    n_positive: int
    n_negative: int
    n_uncertain: int
    n_boxes: int
    n_quarantined: int
    quarantine_reasons: Mapping[str, int] = field(default_factory=dict)


class PublishedImport:
    """One import of a labelled data set, published by one commit at its end.

    Args:
        store: The store.
        source: The data set's name in the warehouse.
        pseudonym_key: Secret of the pseudonyms.
        size_px: Side of the square cached film.
        definition_hash: Hash of the labelling rule and the published tables.
    """

    def __init__(
        self,
        *,
        store: Store,
        source: str,
        pseudonym_key: bytes | str,
        size_px: int,
        definition_hash: str,
    ) -> None:
        self._store = store
        self._size_px = size_px
        self.names = Pseudonymizer(key=pseudonym_key, source=source)
        self.quarantine = QuarantineList(stage=STAGE, source=source)
        self.images = PublishedImages(
            store=store, names=self.names, quarantine=self.quarantine, size_px=size_px
        )
        self.labels = PublishedLabels(definition_hash=definition_hash)
        self.boxes = PublishedBoxes(quarantine=self.quarantine, tool=source)

    def read_films(
        self, films: Sequence[PublishedFilm], *, n_processes: int, progress: Progress
    ) -> None:
        """Read the films; ``images`` then holds those that can be used."""
        progress.start(STAGE, len(films))
        self.images.read(films, n_processes=n_processes, progress=progress)
        progress.finish()

    def publish(self, findings: Sequence[str]) -> ImportSummary:
        """Write everything in one commit."""
        configuration = {
            "source": self.names.source,
            "findings": list(findings),
            "size_px": self._size_px,
        }
        with self._store.commit(stage=STAGE, configuration=configuration) as commit:
            self.images.write(commit)
            for table, rows in (*self.labels.tables(), *self.boxes.tables()):
                commit.upsert(table, pa.Table.from_pylist(rows, schema=table.schema))
            self.quarantine.replace_in(commit)
        images = self.images.images.values()
        return ImportSummary(
            n_images=len(images),
            n_patients=len({image["patient_id"] for image in images}),
            n_frontal=sum(image["is_frontal_chest"] for image in images),
            n_decoded=self.images.n_decoded,
            n_positive=self.labels.count("positive"),
            n_negative=self.labels.count("negative"),
            n_uncertain=self.labels.count("uncertain") + self.labels.count("excluded"),
            n_boxes=len(self.boxes),
            n_quarantined=len(self.quarantine),
            quarantine_reasons=self.quarantine.reasons,
        )
