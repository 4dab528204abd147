"""One scored film to its files: picture, DICOM objects and JSON."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from io import BytesIO
from typing import Any

from pydicom.dataset import Dataset

from etl.films.dicom_header import UnusableFileError
from etl.privacy.value_loggers import silent_value_loggers
from etl.pseudonym import Pseudonymizer
from etl.results.clinical_film import ClinicalReading
from etl.results.map_regions import MapGeometry, SourceRegion, find_regions, is_reached, rule_text
from etl.results.overlay import Picture, draw_result, encode_png
from etl.results.presentation_state import build_presentation_state
from etl.results.result_identity import RESEARCH, RESULT_VERSION, ResultIdentity, sha256_of
from etl.results.secondary_capture import build_secondary_capture
from etl.results.source_reference import source_reference
from etl.results.structured_report import build_report
from warehouse_schema.film_scores import FilmScores, OperatingPoint, ScoringRun

OVERLAY = "overlay.png"
SECONDARY_CAPTURE = "secondary_capture.dcm"
PRESENTATION_STATE = "presentation_state.dcm"
REPORT = "report.dcm"
DICOM_NAMES = (SECONDARY_CAPTURE, PRESENTATION_STATE, REPORT)


@dataclass(frozen=True, kw_only=True)
class FilmResult:
    """Everything that is said of one film.

    Attributes:
        image_id: Pseudonym of the film.
        reading: The film as read.
        scores: Scores, and maps where the run has them.
        regions: Boxes in source pixels; None where there are no maps or no thresholds.
        operating_point: The thresholds.
        run: The run that scored it.
        code_version: Code that writes the result.
    """

    image_id: str
    reading: ClinicalReading
    scores: FilmScores
    regions: tuple[SourceRegion, ...] | None
    operating_point: OperatingPoint
    run: ScoringRun
    code_version: str

    @property
    def digest(self) -> str:
        """SHA-256 over the film and all that is said of it: the same for the same."""
        said = repr((self.scores.scores, self.regions, self.operating_point, self.run))
        maps = [] if self.scores.maps is None else [m.tobytes() for m in self.scores.maps.values()]
        version = f"{RESULT_VERSION} {self.code_version}"
        return sha256_of(version, self.reading.source_sha256, said, *maps)

    def summary(self, written: datetime) -> dict[str, Any]:
        """The result as plain values, without identifiers of the source."""
        facts = self.reading.facts
        assert facts is not None
        assert self.reading.selection is not None
        return {
            "image_id": self.image_id,
            "run_id": self.run.run_id,
            "method": self.run.method,
            "code_version": self.code_version,
            "checkpoint_sha256": self.run.checkpoint_sha256,
            "source_sha256": self.reading.source_sha256,
            "digest": self.digest,
            "written_datetime": written.isoformat(),
            "notice": RESEARCH,
            "is_synthetic": facts.is_synthetic,
            "selection_reason": self.reading.selection.reason,
            "rows_px": facts.rows_px,
            "columns_px": facts.columns_px,
            "operating_point": self.operating_point.name,
            "rule": None if self.regions is None else rule_text(),
            "findings": [self._finding(finding) for finding in self.scores.scores],
        }

    def _finding(self, finding: str) -> dict[str, Any]:
        score = self.scores.scores[finding]
        threshold = self.operating_point.thresholds.get(finding)
        regions = None
        if self.regions is not None and threshold is not None:
            regions = [asdict(each) for each in self.regions if each.finding == finding]
        return {
            "finding": finding,
            "score": score,
            "threshold": threshold,
            "is_positive": None if threshold is None else is_reached(score, threshold),
            "regions": regions,
        }


def map_geometry(reading: ClinicalReading, scores: FilmScores) -> MapGeometry:
    """Where a film's maps lie on it."""
    assert scores.maps is not None
    assert reading.geometry is not None
    assert reading.facts is not None
    return MapGeometry(
        film=reading.geometry,
        map_size_px=next(iter(scores.maps.values())).shape[0],
        rows_px=reading.facts.rows_px,
        columns_px=reading.facts.columns_px,
    )


def find_boxes(
    reading: ClinicalReading, scores: FilmScores, operating_point: OperatingPoint
) -> tuple[SourceRegion, ...] | None:
    """Boxes of all findings, by ``map_regions``; None without maps or without any threshold."""
    thresholds = operating_point.thresholds
    if scores.maps is None or all(thresholds.get(finding) is None for finding in scores.maps):
        return None
    geometry = map_geometry(reading, scores)
    return tuple(
        geometry.source_region(finding, region)
        for finding, score_map in scores.maps.items()
        if (threshold := thresholds.get(finding)) is not None
        for region in find_regions(score_map, threshold=threshold)
    )


def result_files(
    result: FilmResult, content: bytes, *, names: Pseudonymizer, written: datetime
) -> tuple[dict[str, bytes], str | None]:
    """The film's files, and why there are no DICOM objects among them where there are none.

    Args:
        result: The result.
        content: The source file.
        names: Gives the UIDs.
        written: Now, in the site's time zone.
    """
    picture = None if result.scores.maps is None else _draw(result)
    files = {} if picture is None else {OVERLAY: encode_png(picture)}
    identity = ResultIdentity(
        run=result.run,
        names=names,
        digest=result.digest,
        code_version=result.code_version,
        written=written,
    )
    assert result.reading.selection is not None
    is_chest = bool(result.reading.selection.is_frontal_chest)
    faults = []
    # highdicom quotes names that it finds odd.
    with silent_value_loggers(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            reference = source_reference(content, is_chest=is_chest)
        except UnusableFileError as error:
            return files, str(error)
        except Exception:  # noqa: BLE001 - a damaged header raises anything, and may quote itself
            return files, "no DICOM result: the header is damaged"
        for name, build in _builders(result, reference, picture, identity).items():
            try:
                files[name] = _encoded(build())
            except Exception:  # noqa: BLE001 - as above
                faults.append(f"no {name}: the header is damaged")
    return files, "; ".join(faults) or None


def _draw(result: FilmResult) -> Picture:
    reading = result.reading
    assert reading.picture is not None
    assert reading.picture_geometry is not None
    assert reading.facts is not None
    return draw_result(
        reading.picture,
        reading.picture_geometry,
        map_geometry=map_geometry(reading, result.scores),
        scores=result.scores,
        regions=result.regions or (),
        operating_point=result.operating_point,
        run=result.run,
        is_synthetic=reading.facts.is_synthetic,
    )


def _builders(
    result: FilmResult, reference: Dataset, picture: Picture | None, identity: ResultIdentity
) -> dict[str, Callable[[], Dataset]]:
    """What makes each DICOM object that this result has."""
    regions = result.regions or ()
    builders: dict[str, Callable[[], Dataset]] = {
        REPORT: partial(
            build_report,
            reference,
            scores=result.scores.scores,
            regions=regions,
            operating_point=result.operating_point,
            identity=identity,
        )
    }
    if picture is not None:
        builders[SECONDARY_CAPTURE] = partial(
            build_secondary_capture, reference, picture, identity=identity
        )
    if result.regions is not None:
        builders[PRESENTATION_STATE] = partial(
            build_presentation_state, reference, regions=regions, identity=identity
        )
    return builders


def _encoded(dataset: Dataset) -> bytes:
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
