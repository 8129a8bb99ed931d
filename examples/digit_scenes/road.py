"""The whole road: data, dense training, pruning, folding, export, comparison."""

import json
from typing import IO, Any, Dict, List, NamedTuple, Optional

import numpy as np

from examples.digit_scenes import (
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
from examples.digit_scenes.stages import Stages

HELD_OUT_DIGITS = 0.2  # fraction of the digits no training scene is made of
DENSE_RATE = 0.15  # learning rate
PRUNE_RATE = 0.05  # learning rate
COMPARED = 16  # scenes on which masked and folded outputs are compared
PICTURED = 6  # scenes in the picture


class Settings(NamedTuple):
    """What the command line settles.

    Attributes:
        sparsity: Target of every masked weight, 0 to 1.
        dense_steps: Steps of dense training.
        prune_steps: Steps of pruning.
        scenes: Training scenes.
        held_out: Held-out scenes.
        seed: Seed of everything random.
    """

    sparsity: float
    dense_steps: int
    prune_steps: int
    scenes: int
    held_out: int
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
    seed = settings.seed

    stages.rule("Data")
    held_out_scenes = make_data(layout, settings, stages)

    stages.rule("Dense")
    dense = config.Phase(layout.dense, settings.dense_steps, DENSE_RATE)
    config.write_config(dense, layout)
    dense_parts = training.make_estimator(dense, seed)
    with stages.stage("dense_train", "train from random weights", dense.steps) as progress:
        dense_checkpoint = training.train(dense_parts, progress)
    with stages.stage("dense_evaluate", "evaluate on held-out scenes", settings.held_out) as progress:
        dense_scores = training.evaluate(dense_parts, dense_checkpoint, progress)
    with stages.stage("dense_export", "export a frozen graph"):
        exporting.export(dense, dense.config, dense_checkpoint)

    stages.rule("Pruned")
    pruned = config.Phase(layout.pruned, settings.prune_steps, PRUNE_RATE, start_from=dense_checkpoint)
    config.write_config(pruned, layout)
    spec = pruning.make_spec(settings.sparsity, settings.prune_steps)
    masked_parts = training.make_estimator(pruned, seed, pruning.masked_creator(spec))
    with stages.stage("prune_train", "prune from the dense checkpoint on", pruned.steps) as progress:
        masked_checkpoint = training.train(masked_parts, progress)
    folded_checkpoint = str(layout.folded_checkpoint)
    with stages.stage("fold", "fold the masks into the weights"):
        pruning.fold(masked_checkpoint, layout.folded_checkpoint)
    # From here on the model is the original one again: the dense Estimator and the dense config do.
    with stages.stage("pruned_evaluate", "evaluate the folded checkpoint", settings.held_out) as progress:
        pruned_scores = training.evaluate(dense_parts, folded_checkpoint, progress)
    with stages.stage("pruned_export", "export a frozen graph"):
        exporting.export(pruned, dense.config, folded_checkpoint)

    stages.rule("Comparison")
    layers = sparsity.layer_table(masked_checkpoint, folded_checkpoint, settings.sparsity)
    compared = min(COMPARED, settings.held_out)
    with stages.stage("compare", "masked against folded, raw outputs"):
        difference = comparing.differences(
            comparing.raw_outputs(masked_parts, masked_checkpoint, compared),
            comparing.raw_outputs(dense_parts, folded_checkpoint, compared),
        )
    titles = [
        "ground truth",
        f"dense, mAP@0.5 {dense_scores.at_50:.2f}",
        f"{100 * settings.sparsity:.0f}% pruned, mAP@0.5 {pruned_scores.at_50:.2f}",
    ]
    with stages.stage("draw", "draw detections of the frozen graphs"):
        shown = crowded(held_out_scenes, PICTURED)
        images = np.stack([scene.image for scene in shown])
        drawing.draw_detections(
            shown,
            exporting.detect(dense.frozen_graph, images),
            exporting.detect(pruned.frozen_graph, images),
            titles,
            layout.picture,
        )

    entries = sum(row.entries for row in layers)
    dense_size = exporting.file_sizes(dense.frozen_graph)
    pruned_size = exporting.file_sizes(pruned.frozen_graph)
    summary = {
        "map50_dense": dense_scores.at_50,
        "map50_pruned": pruned_scores.at_50,
        "map_dense": dense_scores.mean,
        "map_pruned": pruned_scores.mean,
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
        "scenes": settings.scenes,
        "held_out_scenes": settings.held_out,
        "dense_steps": settings.dense_steps,
        "prune_steps": settings.prune_steps,
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


def make_data(layout: Layout, settings: Settings, stages: Stages) -> List[scenes.Scene]:
    """Writes training and held-out scenes, which share no digit, and returns the held-out ones."""
    style = scenes.SceneStyle()
    with stages.stage("data", "compose scenes of handwritten digits"):
        train, held_out = digits.split_digits(digits.load_digits(), HELD_OUT_DIGITS, settings.seed)
        train_scenes = scenes.make_scenes(train, settings.scenes, style, settings.seed + 1)
        records.write_records(train_scenes, layout.train_records, "train")
        held_out_scenes = list(scenes.make_scenes(held_out, settings.held_out, style, settings.seed + 2))
        records.write_records(held_out_scenes, layout.held_out_records, "held-out")
        records.write_label_map(layout.label_map)
    return held_out_scenes


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
