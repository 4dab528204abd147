"""Readings of images, what their readers agree on, and how well."""

from warehouse_schema.table import TEXTS, Table, integer, list_of, moment, real, text

IMAGE_READINGS = Table(
    name="image_readings",
    meaning="One reader's reading of one image, whether or not a box was drawn.",
    primary_key=("reading_id",),
    columns=(
        text("reading_id", "Hash of image and reader."),
        text("image_id", "Image."),
        text("reader_id", "Pseudonym of the reader.", null_meaning="not recorded"),
        text("tool", "coco or another format, or a data set's name."),
        integer("n_boxes", "Boxes kept, rejected ones among them."),
        integer("n_refused", "Boxes set aside for their geometry, status or form."),
        moment("read_datetime", "When it was read, shifted.", null_meaning="not recorded"),
        text("file_sha256", "SHA-256 of the annotation file.", null_meaning="not recorded"),
    ),
)

CONSENSUS_BOXES = Table(
    name="consensus_boxes",
    meaning="One box that an image's readers agree on: what training and evaluation use.",
    primary_key=("consensus_id",),
    columns=(
        text("consensus_id", "annotation_id of a box that stands alone, else a hash of its boxes."),
        text("image_id", "Image."),
        text("finding", "Finding."),
        real("x_px", "Left edge, source pixels: the mean of its boxes."),
        real("y_px", "Top edge."),
        real("width_px", "Width."),
        real("height_px", "Height."),
        text(
            "rule",
            "single (one reader's box as it is), majority (more than half of the readers drew it) "
            "or confirmed (an adjudicator did).",
            allowed=("single", "majority", "confirmed"),
        ),
        integer("n_readers", "Readers of the image that count."),
        integer("n_agreeing", "Readers whose boxes it is made of."),
        list_of(TEXTS, "annotation_ids", "Annotations that it is made of."),
    ),
)

READER_AGREEMENT = Table(
    name="reader_agreement",
    meaning="One measure of how far readers agree on a finding.",
    primary_key=("finding", "reader_id_a", "reader_id_b", "measure"),
    columns=(
        text("finding", "Finding."),
        text("reader_id_a", "First reader; 'all' for a measure over all readers."),
        text("reader_id_b", "Second reader; 'all' likewise."),
        text(
            "measure",
            "cohen_kappa or fleiss_kappa (finding on the image or not), observed_agreement (share "
            "of images), box_agreement (share of boxes with a partner) or mean_iou (of partners).",
        ),
        real("value", "Value.", null_meaning="undefined: nothing to compare, or no variation"),
        real("ci_low", "Lower end of the 95 % interval.", null_meaning="no interval"),
        real("ci_high", "Upper end.", null_meaning="no interval"),
        integer("n_images", "Images read by both, or by at least two."),
        integer("n_positive", "Images among them on which at least one of them drew a box."),
        integer("n_boxes", "Boxes of both, or of all pairs."),
        integer("n_matched", "Pairs of boxes that the measure counts."),
    ),
)

BOX_MATCHES = Table(
    name="box_matches",
    meaning="Two readers' boxes of one finding that are matched to each other.",
    primary_key=("annotation_id_a", "annotation_id_b"),
    columns=(
        text("annotation_id_a", "Box of the first reader."),
        text("annotation_id_b", "Box of the second reader."),
        text("image_id", "Image."),
        text("finding", "Finding."),
        text("reader_id_a", "First reader."),
        text("reader_id_b", "Second reader."),
        real("iou", "Intersection over union, above 0."),
    ),
)
