"""One model's run, in a process that does nothing else: `python -m tests.models.matrix.child NAME FOLDER RESULT`."""

import argparse
import logging
import resource
import time
import warnings
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("folder", type=Path, help="a folder that does not exist yet")
    parser.add_argument("result", type=Path, help="where the result goes, as JSON")
    parser.add_argument("--brief", action="store_true", help="train but once, and measure nothing")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    import tensorflow.compat.v1 as tf

    from tests.helpers.running import single_threaded
    from tests.models.matrix.models import Detector, model_named

    tf.logging.set_verbosity(tf.logging.ERROR)
    logging.getLogger("tensorflow").propagate = False
    # The first session of a process settles for all of them how many threads an op may use.
    with single_threaded(tf.Graph()):
        pass
    model = model_named(options.name)
    if isinstance(model, Detector):
        from tests.models.matrix import detection

        result = detection.run(model.name, model.config, options.folder, options.brief)
    else:
        from tests.models.matrix import classification

        result = classification.run(model, options.folder, options.brief)
    gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    result._replace(seconds=time.process_time(), gigabytes=gigabytes).write(options.result)


if __name__ == "__main__":
    main()
