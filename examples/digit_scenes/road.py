"""The whole road: data, dense training, pruning, folding, export, comparison."""

import json
from typing import IO, Any, Dict, List, NamedTuple, Optional, Tuple

import numpy as np

from examples.digit_scenes import (
    backbone,
    comparing,
    config,
    digits,
    drawing,
    exporting,
    pruning,
    records,
    report,
    scenes,
    sparsity,
    training,
)
from examples.digit_scenes.layout import Layout
from examples.digit_scenes.models import Model
from examples.digit_scenes.stages import Stages

HELD_OUT_DIGITS = 0.2  # fraction of the digits no training scene is made of
COMPARED = 16  # scenes on which masked and folded outputs are compared
PICTURED = 6  # scenes in the picture


class Settings(NamedTuple):
    """What the command line settles.

    Attributes:
        model: The model, with its steps and numbers of scenes.
        sparsity: Target of every masked weight, 0 to 1.
        seed: Seed of everything random.
    """

    model: Model
    sparsity: float
    seed: int


def run(layout: Layout, settings: Settings, stream: Optional[IO[str]] = None) -> Dict[str, Any]:
    """Runs every stage and writes all results below the layout's root.

    Args:
        layout: A prepared output folder.
        settings: Sizes and seeds.
        stream: Where progress is shown; None is standard output.

    Returns:
        The summary, as written to summary.json.
    """
    stages = Stages(stream)
    model, seed = settings.model, settings.seed

    stages.rule("Data")
    train_digits, held_out_scenes = make_data(layout, settings, stages)

    stages.rule(f"{model.title}, dense")
    start = train_backbone(train_digits, layout, settings, stages) if model.backbone_steps else None
    dense = config.Phase(layout.dense, model.dense_steps, model.dense_rate, start, model.template, from_classifier=True)
    config.write_config(dense, layout)
    dense_parts = training.make_estimator(dense, seed)
    with stages.stage("dense_train", "train the detector", dense.steps) as progress:
        dense_checkpoint = training.train(dense_parts, progress)
    with stages.stage("dense_evaluate", "evaluate on held-out scenes", model.held_out) as progress:
        dense_scores = training.evaluate(dense_parts, dense_checkpoint, progress)
    with stages.stage("dense_export", "export a frozen graph"):
        exporting.export(dense, dense.config, dense_checkpoint)

    stages.rule("Pruned")
    pruned = config.Phase(layout.pruned, model.prune_steps, model.prune_rate, dense_checkpoint, model.template)
    config.write_config(pruned, layout)
    spec = pruning.make_spec(settings.sparsity, model.prune_steps)
    masked_parts = training.make_estimator(pruned, seed, pruning.masked_creator(spec))
    with stages.stage("prune_train", "prune from the dense checkpoint on", pruned.steps) as progress:
        masked_checkpoint = training.train(masked_parts, progress)
    folded_checkpoint = str(layout.folded_checkpoint)
    with stages.stage("fold", "fold the masks into the weights"):
        pruning.fold(masked_checkpoint, layout.folded_checkpoint)
    # From here on the model is the original one again: the dense Estimator and the dense config do.
    with stages.stage("pruned_evaluate", "evaluate the folded checkpoint", model.held_out) as progress:
        pruned_scores = training.evaluate(dense_parts, folded_checkpoint, progress)
    with stages.stage("pruned_export", "export a frozen graph"):
        exporting.export(pruned, dense.config, folded_checkpoint)

    stages.rule("Comparison")
    layers = sparsity.layer_table(masked_checkpoint, folded_checkpoint, settings.sparsity)
    compared = min(COMPARED, model.held_out)
    with stages.stage("compare", "masked against folded, raw outputs"):
        difference = comparing.differences(
            comparing.raw_outputs(masked_parts, masked_checkpoint, compared),
            comparing.raw_outputs(dense_parts, folded_checkpoint, compared),
        )
    titles = [
        "ground truth",
        f"dense\nmAP@0.5 {shown_scores(dense_scores)}",
        f"{100 * settings.sparsity:.0f}% pruned\nmAP@0.5 {shown_scores(pruned_scores)}",
    ]
    with stages.stage("draw", "draw detections of the frozen graphs"):
        shown = crowded(held_out_scenes, PICTURED)
        images = np.stack([scene.image for scene in shown])
        drawing.draw_detections(
            shown,
            exporting.detect(dense.frozen_graph, images),
            exporting.detect(pruned.frozen_graph, images),
            titles,
            model.shown,
            layout.picture,
        )

    entries = sum(row.entries for row in layers)
    dense_size = exporting.file_sizes(dense.frozen_graph)
    pruned_size = exporting.file_sizes(pruned.frozen_graph)
    summary = {
        "model": model.title,
        "map50_dense": dense_scores.at_50,
        "map50_pruned": pruned_scores.at_50,
        "map_dense": dense_scores.mean,
        "map_pruned": pruned_scores.mean,
        "masks_map50_dense": dense_scores.masks_at_50,
        "masks_map50_pruned": pruned_scores.masks_at_50,
        "masks_map_dense": dense_scores.masks_mean,
        "masks_map_pruned": pruned_scores.masks_mean,
        "target_sparsity": settings.sparsity,
        "reached_sparsity": sum(row.zeros_folded for row in layers) / entries,
        "sparsity_exact": all(row.zeros_asked == row.zeros_mask == row.zeros_folded for row in layers),
        "max_abs_difference": max(difference.values()),
        "differences": difference,
        "compared_scenes": compared,
        "frozen_bytes_dense": dense_size.raw,
        "frozen_bytes_pruned": pruned_size.raw,
        "frozen_gzip_bytes_dense": dense_size.gzipped,
        "frozen_gzip_bytes_pruned": pruned_size.gzipped,
        "scenes": model.scenes,
        "held_out_scenes": model.held_out,
        "backbone_steps": model.backbone_steps,
        "dense_steps": model.dense_steps,
        "prune_steps": model.prune_steps,
        "seed": seed,
        "dense_checkpoint": dense_checkpoint,
        "masked_checkpoint": masked_checkpoint,
        "folded_checkpoint": folded_checkpoint,
        "layers": [dict(row._asdict(), shape=list(row.shape), sparsity=row.sparsity) for row in layers],
        "stage_seconds": stages.seconds,
        "seconds": round(stages.total, 1),
    }
    layout.summary.write_text(json.dumps(summary, indent=2) + "\n")
    show(summary, layers, layout, stages)
    return summary


def make_data(layout: Layout, settings: Settings, stages: Stages) -> Tuple[digits.Digits, List[scenes.Scene]]:
    """Writes training and held-out scenes, which share no digit; returns the training digits, the held-out scenes."""
    model, style = settings.model, settings.model.style
    with stages.stage("data", "compose scenes of handwritten digits"):
        train, held_out = digits.split_digits(digits.load_digits(), HELD_OUT_DIGITS, settings.seed)
        train_scenes = scenes.make_scenes(train, model.scenes, style, settings.seed + 1)
        records.write_records(train_scenes, layout.train_records, "train")
        held_out_scenes = list(scenes.make_scenes(held_out, model.held_out, style, settings.seed + 2))
        records.write_records(held_out_scenes, layout.held_out_records, "held-out")
        records.write_label_map(layout.label_map)
    return train, held_out_scenes


def train_backbone(train: digits.Digits, layout: Layout, settings: Settings, stages: Stages) -> str:
    """Trains the classifier that the detector starts from; returns its checkpoint's prefix."""
    model = settings.model
    layout.backbone.parent.mkdir()
    with stages.stage("backbone_train", "train a classifier of single digits", model.backbone_steps) as progress:
        right = backbone.train(train, model.style, model.backbone_steps, settings.seed, layout.backbone, progress)
    stages.console.print(f"of its last digits the classifier knew {100 * right:.0f}%")
    return str(layout.backbone)


def shown_scores(scores: training.Scores) -> str:
    """Shows the mAP at 0.5 of boxes and, if there are any, of instance masks."""
    boxes = f"{scores.at_50:.2f}"
    return boxes if scores.masks_at_50 is None else f"{boxes}, masks {scores.masks_at_50:.2f}"


def crowded(choices: List[scenes.Scene], count: int) -> List[scenes.Scene]:
    """Picks the first scenes with at least three digits, which show more, then any others."""
    full = [scene for scene in choices if len(scene.labels) >= 3]
    rest = [scene for scene in choices if len(scene.labels) < 3]
    return (full + rest)[:count]


def show(summary: Dict[str, Any], layers: List[sparsity.LayerSparsity], layout: Layout, stages: Stages) -> None:
    """Prints the tables and where the files are."""
    console = stages.console
    console.print(report.layers_table(layers, summary["target_sparsity"]))
    console.print(report.results_table(summary))
    console.print(
        f"largest difference between masked and folded outputs on {summary['compared_scenes']} scenes: "
        f"[bold]{summary['max_abs_difference']:g}"
    )
    console.print(f"all in {summary['seconds']:.0f} s; results in {layout.root}", soft_wrap=True)
