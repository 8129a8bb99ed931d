"""Prunes an unmodified model of the Object Detection API to 80 % sparsity, start to end.

Run it as `python examples/digit_scenes/demo.py --out DIR` or `python -m examples.digit_scenes --out DIR`.
"""

import contextlib
import os
import sys
from pathlib import Path

import click


@click.command()
@click.option(
    "--out", type=click.Path(file_okay=False), default="build/demo", show_default=True, help="Folder for all results."
)
@click.option(
    "--sparsity",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.8,
    show_default=True,
    help="Fraction of every masked weight that becomes zero.",
)
@click.option(
    "--model",
    type=click.Choice(["ssd", "mask_rcnn"]),
    default="ssd",
    show_default=True,
    help="SSD MobileNet V1, or Mask R-CNN Inception V2, which predicts instance masks, too.",
)
@click.option("--backbone-steps", type=click.IntRange(1), help="Steps of the classifier that mask_rcnn starts from.")
@click.option("--dense-steps", type=click.IntRange(1), help="Steps of dense training.")
@click.option("--prune-steps", type=click.IntRange(1), help="Steps of pruning, from the dense checkpoint on.")
@click.option("--scenes", type=click.IntRange(1), help="Training scenes.")
@click.option("--held-out", type=click.IntRange(1), help="Held-out scenes.")
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of data, weights and shuffling.")
@click.option("--verbose", is_flag=True, help="Show what TensorFlow and the API print.")
def main(out: str, model: str, sparsity: float, seed: int, verbose: bool, **sizes) -> None:
    """Trains a detector on scenes of real handwritten digits, prunes it, folds the masks and exports both.

    Steps and numbers of scenes are the model's own where they are not given.
    """
    if not verbose:
        # TensorFlow reads this when it is imported, so it has to be imported after.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if __package__ in (None, ""):
        # Run as a script: make the project's root importable.
        sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from examples.digit_scenes import layout, quiet

    try:
        places = layout.prepare(Path(out))
    except FileExistsError as error:
        raise click.UsageError(str(error)) from error
    with contextlib.ExitStack() as stack:
        stream = None if verbose else stack.enter_context(quiet.output_to(places.log))
        from examples.digit_scenes import models, road

        given = {name: value for name, value in sizes.items() if value is not None}
        road.run(places, road.Settings(models.MODELS[model]._replace(**given), sparsity, seed), stream)


if __name__ == "__main__":
    main()
