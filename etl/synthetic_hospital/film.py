"""Renders one synthetic film from a request: the door to the image half of the hospital."""

from __future__ import annotations

import numpy as np

from etl.synthetic_hospital.appearance import MAXIMUM_GREY, expose, sample_exposure
from etl.synthetic_hospital.film_anatomy import frontal_absorbers
from etl.synthetic_hospital.film_other_views import abdomen_absorbers, lateral_absorbers
from etl.synthetic_hospital.film_request import Film, FilmBox, FilmRequest, FractureRequest
from etl.synthetic_hospital.film_streams import Streams
from etl.synthetic_hospital.fracture_site import sample_fractures

__all__ = ["Film", "FilmBox", "FilmRequest", "FractureRequest", "render_film", "sample_fractures"]


def render_film(request: FilmRequest) -> Film:
    """The film of a request; the same request gives the same bits.

    Every part of the film draws from a random stream of its own, so that a fracture changes
    the bone where it is and nothing else. Fractures are drawn and boxed on frontal films only.
    """
    streams = Streams(seed=request.seed)
    boxes: tuple[FilmBox, ...] = ()
    if request.projection == "LATERAL":
        absorbers, geometry = lateral_absorbers(request, streams)
    elif request.projection == "ABDOMEN":
        absorbers, geometry = abdomen_absorbers(request, streams)
    else:
        absorbers, geometry, boxes = frontal_absorbers(request, streams)
    exposure = sample_exposure(streams["exposure"], is_portable=request.projection == "AP")
    grey = expose(streams["noise"], absorbers, exposure)
    return Film(
        pixels=np.rint(grey * MAXIMUM_GREY).astype(np.uint16),
        boxes=boxes,
        pixel_spacing_mm=geometry.pixel_spacing_mm,
    )
