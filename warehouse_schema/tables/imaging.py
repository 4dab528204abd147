"""Images, their cached pixels, their links to encounters, and readers' boxes."""

from warehouse_schema.table import Table, flag, integer, moment, real, text

ANNOTATION_STATUSES = ("drawn", "confirmed", "rejected")

IMAGES = Table(
    name="images",
    meaning="One DICOM instance or public film that was readable, chest film or not.",
    primary_key=("image_id",),
    columns=(
        text("image_id", "Pseudonym of the SOP Instance UID (or dataset and file name)."),
        text("patient_id", "Patient."),
        text("source", "Site mapping or dataset."),
        text("study_id", "Pseudonym of the Study Instance UID."),
        text("series_id", "Pseudonym of the Series Instance UID."),
        text("accession_id", "Pseudonym of the accession number.", null_meaning="not recorded"),
        moment("acquired_datetime", "Acquisition, shifted.", null_meaning="not recorded"),
        integer("study_year", "Unshifted year, kept for drift.", null_meaning="not recorded"),
        real("age_years", "Age at acquisition; 90 stands for all over 89.", null_meaning="unknown"),
        text("sex_code", "F, M or O.", null_meaning="not recorded"),
        text("modality_code", "CR, DX or another DICOM modality."),
        text("view_position_code", "PA, AP, LL ...", null_meaning="not recorded"),
        text("body_part", "Body part examined, upper case.", null_meaning="not recorded"),
        text("manufacturer", "Manufacturer.", null_meaning="not recorded"),
        integer("rows_px", "Rows of the source image."),
        integer("columns_px", "Columns of the source image."),
        real("pixel_spacing_mm", "Between rows; image_pixels says whose.", null_meaning="unknown"),
        flag("is_frontal_chest", "True where the film is a frontal chest film."),
        text(
            "selection_reason", "Why it is, or is not, a frontal chest film (tag and value rule)."
        ),
        real(
            "frontal_check_score",
            "Confidence of the image check that it is an upright frontal chest film, 0 to 1.",
            null_meaning="the tags decided",
        ),
        text(
            "copy_of_image_id",
            "The film that stands for the same exposure, stored more than once.",
            null_meaning="no copy is known, or it is the one that stands",
        ),
        text("source_sha256", "SHA-256 of the source file."),
        text(
            "published_split",
            "train, validation or test, as the public dataset divides its films.",
            null_meaning="a hospital's film, or the dataset is not divided",
        ),
        flag("is_synthetic", "SYNTHETIC data."),
    ),
)

IMAGE_PIXELS = Table(
    name="image_pixels",
    meaning="Where the cached uint8 film of an image lies, and its geometry: "
    "cache_x_px = source_x_px * scale + pad_left_px, and likewise for y; "
    "a film is cached as it is stored, never flipped or turned.",
    primary_key=("image_id",),
    columns=(
        text("image_id", "Image."),
        text("transform_hash", "Hash of the transform (size, windowing version)."),
        text("shard_name", "File under cache/: a .npy of shape (n, size, size), uint8."),
        integer("shard_row", "Row in the shard."),
        integer("size_px", "Side of the square cached film."),
        real("scale", "Cached pixels per source pixel."),
        integer("pad_left_px", "First valid column in the cached film."),
        integer("pad_top_px", "First valid row."),
        integer("valid_width_px", "Valid (unpadded) columns."),
        integer("valid_height_px", "Valid (unpadded) rows."),
        text("pixel_sha256", "SHA-256 of the cached film's bytes."),
        real("row_spacing_mm", "Between rows of the source image.", null_meaning="unknown"),
        real("column_spacing_mm", "Between its columns.", null_meaning="unknown"),
        text(
            "spacing_origin",
            "detector (Imager Pixel Spacing), calibrated or unstated (Pixel Spacing), or scanned.",
            null_meaning="unknown",
        ),
        text(
            "patient_orientation",
            "Patient Orientation: where rows and columns run, as in L/F.",
            null_meaning="not recorded",
        ),
    ),
)

IMAGE_LINKS = Table(
    name="image_links",
    meaning="One candidate encounter of an image; the chosen one and those that lost.",
    primary_key=("image_id", "encounter_id"),
    columns=(
        text("image_id", "Image."),
        text("encounter_id", "Candidate encounter."),
        integer("rank", "1 is the best candidate."),
        flag("is_chosen", "True for the encounter the image is linked to."),
        text("reason", "accession, contains (film within the stay) or window (near the stay)."),
        real("distance_hours", "Hours from the stay to the film; 0 within the stay."),
        text(
            "lost_by",
            "What the chosen one has over it: reason, nearest, latest_start, earliest_start or "
            "encounter_id.",
            null_meaning="it is the chosen one",
        ),
    ),
)

ANNOTATIONS = Table(
    name="annotations",
    meaning="One reader's box on an image, in the source image's pixel frame.",
    primary_key=("annotation_id",),
    columns=(
        text("annotation_id", "Hash of image, reader, finding and box."),
        text("image_id", "Image."),
        text("finding", "rib_fracture, clavicle_fracture or another defined finding."),
        real("x_px", "Left edge, source pixels."),
        real("y_px", "Top edge, source pixels."),
        real("width_px", "Width, at least 1."),
        real("height_px", "Height, at least 1."),
        text("reader_id", "Pseudonym of the reader.", null_meaning="not recorded"),
        text("tool", "coco or another format."),
        text("status", "drawn, confirmed or rejected.", allowed=ANNOTATION_STATUSES),
        moment("annotated_datetime", "When it was drawn, shifted.", null_meaning="not recorded"),
        flag("is_clipped", "True where the box reached over the image's edge and was clipped."),
        flag("is_occluded", "As the annotation tool marks it.", null_meaning="not marked"),
        text(
            "drawn_shape",
            "rectangle, or the shape that the box is the hull of: rotated_rectangle, polygon ...",
            null_meaning="not recorded",
        ),
        text(
            "matched_by",
            "What the image was found by: sop_instance_uid, file_sha256, accession_number, "
            "file_name or image_id.",
            null_meaning="the data set's own key",
        ),
        real(
            "drawn_scale",
            "Source pixels per pixel of the annotated image, along its width.",
            null_meaning="the file gives no image size, or the data set's own frame",
        ),
        integer(
            "drawn_orientation",
            "EXIF orientation (1 to 8) in which the source was shown to the reader.",
            null_meaning="not recorded",
        ),
        text("file_sha256", "SHA-256 of the annotation file.", null_meaning="not recorded"),
    ),
)
