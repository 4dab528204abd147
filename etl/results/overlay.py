"""The picture of a result: the film, the heat map over it, boxes, and a strip that says what it is.

Heat runs from dark to bright (inferno), so that it reads in grey and to the colour-blind; findings
are told apart by the line of their boxes and by words, never by colour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from etl.films.film_pixels import FilmGeometry
from etl.results.finding_codes import finding_name
from etl.results.map_regions import MapGeometry, SourceRegion, is_reached, threshold_level
from etl.results.result_identity import RESEARCH
from warehouse_schema.film_scores import SCORE_MAX, FilmScores, OperatingPoint, ScoringRun

Picture = NDArray[np.uint8]
MAX_STRENGTH = 0.75
STRENGTH_PER_SCORE = 1.4
# Dashes of a finding's boxes in pixels, (drawn, left out); None is a whole line.
DASHES: tuple[tuple[int, int] | None, ...] = (None, (12, 8), (4, 6), (20, 6))
TEXT_PX = 18
LINE_PX = 26
MARGIN_PX = 14
MIN_WIDTH_PX = 720
WHITE, GREY, BLACK = (255, 255, 255), (200, 200, 200), (0, 0, 0)
SYNTHETIC = "SYNTHETIC film: no patient."


def draw_result(
    picture: NDArray[np.uint8],
    picture_geometry: FilmGeometry,
    *,
    map_geometry: MapGeometry,
    scores: FilmScores,
    regions: Sequence[SourceRegion],
    operating_point: OperatingPoint,
    run: ScoringRun,
    is_synthetic: bool,
) -> Picture:
    """Draw one film's result.

    Args:
        picture: The film, (size, size) uint8.
        picture_geometry: Its geometry.
        map_geometry: Where the score maps lie on the source film.
        scores: Scores and maps.
        regions: Boxes in source pixels.
        operating_point: The thresholds.
        run: The run that scored it.
        is_synthetic: True says so in the picture.

    Returns:
        (rows, columns, 3) uint8, RGB: the film without its padding, and the strip below it.
    """
    assert scores.maps is not None
    canvas = np.repeat(picture[..., None], 3, axis=2)
    on_picture = {
        finding: _warp(score_map, map_geometry, picture_geometry)
        for finding, score_map in scores.maps.items()
    }
    canvas = _heat(canvas, np.maximum.reduce(list(on_picture.values())))
    for finding, warped in on_picture.items():
        _contour(canvas, warped, operating_point.thresholds.get(finding))
    geometry = picture_geometry
    top, left = geometry.pad_top_px, geometry.pad_left_px
    film = canvas[top : top + geometry.valid_height_px, left : left + geometry.valid_width_px]
    dashes = {finding: DASHES[n % len(DASHES)] for n, finding in enumerate(run.findings)}
    boxed = _boxes(film, regions, geometry, dashes)
    # A narrow film gets black beside it, so that the words have room.
    boxed = np.pad(boxed, ((0, 0), (0, max(0, MIN_WIDTH_PX - boxed.shape[1])), (0, 0)))
    notes = [f"Ribline, run {run.run_id}", RESEARCH, *([SYNTHETIC] if is_synthetic else [])]
    told = {
        finding: _told(
            finding,
            score,
            threshold=operating_point.thresholds.get(finding),
            n_boxes=sum(each.finding == finding for each in regions),
        )
        for finding, score in scores.scores.items()
    }
    strip = _strip(boxed.shape[1], told, dashes, notes)
    return np.concatenate([boxed, strip])


def encode_png(picture: Picture) -> bytes:
    """The picture as a PNG file."""
    is_encoded, content = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    assert is_encoded
    return content.tobytes()


def _warp(
    score_map: NDArray[np.uint16], geometry: MapGeometry, picture: FilmGeometry
) -> NDArray[np.float32]:
    """A score map in the picture's frame, 0 to 1."""
    source_x, source_y = geometry.to_source(0.0, 0.0)
    step = geometry.film.size_px / geometry.map_size_px / geometry.film.scale
    zoom = step * picture.scale
    # Points on edges of pixels; OpenCV's lie on their centres.
    shift_x = source_x * picture.scale + picture.pad_left_px + zoom / 2 - 0.5
    shift_y = source_y * picture.scale + picture.pad_top_px + zoom / 2 - 0.5
    matrix = np.array([[zoom, 0.0, shift_x], [0.0, zoom, shift_y]])
    values = score_map.astype(np.float32) / SCORE_MAX
    warped = cv2.warpAffine(values, matrix, (picture.size_px,) * 2, flags=cv2.INTER_LINEAR)
    return np.asarray(warped, dtype=np.float32)


def _heat(canvas: Picture, scores: NDArray[np.float32]) -> Picture:
    colours = cv2.applyColorMap((scores * 255).round().astype(np.uint8), cv2.COLORMAP_INFERNO)
    strength = np.clip(scores * STRENGTH_PER_SCORE, 0.0, MAX_STRENGTH)[..., None]
    mixed = canvas * (1 - strength) + colours[..., ::-1] * strength
    return np.ascontiguousarray(mixed.round().astype(np.uint8))


def _contour(canvas: Picture, scores: NDArray[np.float32], threshold: float | None) -> None:
    if threshold is None or threshold_level(threshold) > SCORE_MAX:
        return
    is_called = (scores >= max(threshold, 1 / SCORE_MAX)).astype(np.uint8)
    outlines, _ = cv2.findContours(is_called, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(canvas, outlines, -1, WHITE, 1, cv2.LINE_AA)


def _boxes(
    film: Picture,
    regions: Sequence[SourceRegion],
    geometry: FilmGeometry,
    dashes: Mapping[str, tuple[int, int] | None],
) -> Picture:
    image = Image.fromarray(film)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(TEXT_PX)
    for region in regions:
        left, top = region.x_px * geometry.scale, region.y_px * geometry.scale
        right = left + region.width_px * geometry.scale
        bottom = top + region.height_px * geometry.scale
        frame = (left - 4, top - 4, right + 4, bottom + 4)
        draw.rectangle(frame, outline=BLACK, width=5)
        _dashed(draw, frame, dashes[region.finding])
        _tag(draw, frame, f"{finding_name(region.finding)} {region.score:.2f}", font, film.shape)
    return np.asarray(image)


def _dashed(
    draw: ImageDraw.ImageDraw,
    frame: tuple[float, float, float, float],
    dash: tuple[int, int] | None,
) -> None:
    left, top, right, bottom = (frame[0] + 1, frame[1] + 1, frame[2] - 2, frame[3] - 2)
    corners = ((left, top), (right, top), (right, bottom), (left, bottom), (left, top))
    for start, stop in pairwise(corners):
        _line(draw, start, stop, dash)


def _line(
    draw: ImageDraw.ImageDraw,
    start: tuple[float, float],
    stop: tuple[float, float],
    dash: tuple[int, int] | None,
) -> None:
    """A horizontal or vertical line."""
    length = abs(stop[0] - start[0]) + abs(stop[1] - start[1])
    if dash is None or length == 0:
        draw.line((start, stop), fill=WHITE, width=3)
        return
    for place in np.arange(0.0, length, sum(dash)):
        ends = [
            tuple(a + (b - a) * min(at, length) / length for a, b in zip(start, stop, strict=True))
            for at in (place, place + dash[0])
        ]
        draw.line([(ends[0][0], ends[0][1]), (ends[1][0], ends[1][1])], fill=WHITE, width=3)


def _tag(
    draw: ImageDraw.ImageDraw,
    frame: tuple[float, float, float, float],
    text: str,
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
    shape: tuple[int, ...],
) -> None:
    """A label above the box, or below it where there is no room above."""
    width = draw.textlength(text, font=font) + 8
    top = frame[1] - LINE_PX
    if top < 0:
        top = min(frame[3], shape[0] - LINE_PX)
    left = max(0.0, min(frame[0], shape[1] - width))
    draw.rectangle((left, top, left + width, top + LINE_PX - 1), fill=BLACK)
    draw.text((left + 4, top + LINE_PX / 2), text, fill=WHITE, font=font, anchor="lm")


def _strip(
    width: int,
    told: Mapping[str, str],
    dashes: Mapping[str, tuple[int, int] | None],
    notes: Sequence[str],
) -> Picture:
    """Scores in words beside the line of their boxes, the scale of the heat, and notes."""
    height = MARGIN_PX * 2 + LINE_PX * (len(told) + len(notes) + 1)
    image = Image.new("RGB", (width, height), BLACK)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(TEXT_PX)
    y = MARGIN_PX + LINE_PX / 2
    for finding, text in told.items():
        _line(draw, (MARGIN_PX, y), (MARGIN_PX + 40, y), dashes[finding])
        draw.text((MARGIN_PX + 52, y), text, fill=WHITE, font=font, anchor="lm")
        y += LINE_PX
    _colour_bar(image, draw, y, font)
    for note in notes:
        y += LINE_PX
        draw.text((MARGIN_PX, y), note, fill=GREY, font=font, anchor="lm")
    return np.asarray(image)


def _told(finding: str, score: float, *, threshold: float | None, n_boxes: int) -> str:
    told = f"{finding_name(finding)}: score {score:.2f}"
    if threshold is None:
        return f"{told}, no threshold known"
    verdict = "at or above" if is_reached(score, threshold) else "below"
    boxes = f", {n_boxes} box{'' if n_boxes == 1 else 'es'}"
    return f"{told}, {verdict} the threshold of {threshold:.2f}{boxes}"


def _colour_bar(
    image: Image.Image,
    draw: ImageDraw.ImageDraw,
    y: float,
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
) -> None:
    ramp = np.repeat(np.linspace(0, 255, 160).astype(np.uint8)[None], 14, axis=0)
    colours = cv2.applyColorMap(ramp, cv2.COLORMAP_INFERNO)[..., ::-1]
    draw.text((MARGIN_PX, y), "Heat: 0", fill=GREY, font=font, anchor="lm")
    left = MARGIN_PX + round(draw.textlength("Heat: 0", font=font)) + 8
    image.paste(Image.fromarray(np.ascontiguousarray(colours)), (left, round(y - 7)))
    text = "1; thin line: where the score reaches the threshold"
    draw.text((left + 168, y), text, fill=GREY, font=font, anchor="lm")
