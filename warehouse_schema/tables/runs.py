"""Training runs, epochs and predictions; lineage and quarantine of every stage."""

from warehouse_schema.table import Table, integer, moment, real, text

TRAINING_RUNS = Table(
    name="training_runs",
    meaning="One training run of one method on one fold.",
    primary_key=("run_id",),
    columns=(
        text("run_id", "METHOD-fold-seed-hash of the configuration and its inputs."),
        text("method", "supervised, aals ..."),
        text("recipe", "demo, paper, nih ..."),
        integer("fold", "Cross-validation fold."),
        integer("seed", "Seed of weights, order and augmentation."),
        text("initial_run_id", "Run whose best epoch it starts from.", null_meaning="none"),
        text("backbone", "Backbone by name."),
        text("weights_source", "random, or the name and SHA-256 of the weights file."),
        integer("image_size_px", "Side of the network's input."),
        text("findings", "Comma-separated findings, one output channel each, in order."),
        real("alpha", "EMA coefficient per step (paper, eq. 2).", null_meaning="no teacher"),
        real("a0", "Largest sharpening strength (eq. 7).", null_meaning="no AALS"),
        real("t", "Sharpening centre (eq. 6).", null_meaning="no AALS"),
        text("configuration_json", "The whole recipe."),
        text("configuration_hash", "SHA-256 of configuration_json."),
        integer("n_train_r", "Training images in R."),
        integer("n_train_p", "Training images in P."),
        integer("n_train_n", "Training images in N."),
        integer("n_steps", "Optimiser steps taken."),
        integer("best_epoch", "Epoch with the best mean validation AUROC."),
        text("status", "completed or stopped."),
        text("checkpoint_path", "Best checkpoint, relative to the home folder."),
        text("code_version", "Version of Ribline and git commit.", is_volatile=True),
        text("device", "Device, and the precision of its arithmetic.", is_volatile=True),
        real("images_per_s", "Training throughput.", is_volatile=True),
        moment("started_datetime", "Start.", is_volatile=True),
        real("wall_s", "Duration.", is_volatile=True),
    ),
)

TRAINING_EPOCHS = Table(
    name="training_epochs",
    meaning="One measured number of one epoch, in long form, written as the epoch ends.",
    primary_key=("run_id", "epoch", "finding", "metric"),
    columns=(
        text("run_id", "Run."),
        integer("epoch", "Epoch, from 1."),
        text("finding", "Finding, or 'all'."),
        text(
            "metric",
            "loss, loss_sup, loss_semi, learning_rate, validation_auroc, "
            "validation_auroc_teacher, aals_inactive_share, aals_mean_boost ...",
        ),
        real("value", "Value.", null_meaning="undefined in this epoch"),
    ),
)

PREDICTIONS = Table(
    name="predictions",
    meaning="One finding's score on one image by one run's network, and where its map lies.",
    primary_key=("run_id", "network", "image_id", "finding"),
    columns=(
        text("run_id", "Run."),
        text("network", "student or teacher; student is primary."),
        text("image_id", "Image."),
        text("finding", "Finding."),
        integer("fold", "Fold."),
        text("split", "train, validation or test."),
        real(
            "score",
            "Image score in 16 bits, divided by 65535: the map's maximum over the valid area, a "
            "detector's best score, or a classifier's probability.",
        ),
        text(
            "map_path",
            "A .npy under the home folder, shape (n, height, width), uint16 = round(65535 p).",
            null_meaning="the method has no comparable map",
        ),
        integer("map_row", "Row in the file.", null_meaning="no map"),
    ),
)

LINEAGE = Table(
    name="lineage",
    meaning="What one committed stage read, with which code and configuration.",
    primary_key=("commit_version", "input_table"),
    columns=(
        integer("commit_version", "Manifest number that published the stage."),
        text("stage", "extract, label, train ..."),
        text("run_id", "Training run.", null_meaning="not a training or evaluation stage"),
        text("input_table", "Table read."),
        integer("input_version", "Version of that table that was read."),
        text("code_version", "Version of Ribline and git commit.", is_volatile=True),
        text("configuration_hash", "SHA-256 of the stage's arguments."),
    ),
)

COMMITTED_RUNS = Table(
    name="committed_runs",
    meaning="One run that has been committed and is never committed again.",
    primary_key=("run_key",),
    columns=(
        text("run_key", "SHA-256 of flow, date and definitions."),
        text("flow", "Flow or stage."),
        text("run_date", "Date the run was for, as 2026-01-31."),
        text("definition_hash", "Hash of the definitions in force."),
        integer("commit_version", "Manifest number that published it."),
        moment("committed_datetime", "When.", is_volatile=True),
    ),
)

QUARANTINE = Table(
    name="quarantine",
    meaning="One input row or file that was set aside, and why.",
    primary_key=("stage", "source", "key"),
    columns=(
        text("stage", "extract, ingest-images, import-boxes ..."),
        text("source", "Table, file kind or dataset."),
        text("key", "Pseudonymous key of the row or file (never a path or a name)."),
        text("reason", "What was wrong, without personal data."),
    ),
)
