"""Runs the matrix, from small models to large, and writes its page."""

import argparse
import sys
from pathlib import Path

from tests.models.matrix import result
from tests.models.matrix.models import MODELS
from tests.models.matrix.page import page
from tests.models.matrix.running import RESULTS, ModelError, run_model


def main() -> int:
    """Returns the exit code: 1 if a model failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.models.matrix", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="models; all by default")
    parser.add_argument("--docs", type=Path, help="the page to write, of all results there are")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where results go")
    parser.add_argument("--keep", action="store_true", help="run only what has no result yet")
    options = parser.parse_args()
    unknown = set(options.names) - {model.name for model in MODELS}
    if unknown:
        parser.error(f"no such model: {', '.join(sorted(unknown))}; there are {', '.join(m.name for m in MODELS)}")
    failed = 0
    for model in MODELS:
        if options.names and model.name not in options.names:
            continue
        written = options.results / f"{model.name}.json"
        if options.keep and written.exists():
            continue
        try:
            found = run_model(model, options.results)
        except ModelError as error:
            failed += 1
            print(f"{model.name}: FAILED\n{error}", flush=True)
        else:
            print(f"{model.name}: {found.sites} weights masked, {found.seconds:.0f} s of CPU", flush=True)
    if options.docs and not failed:
        written = {model.name: options.results / f"{model.name}.json" for model in MODELS}
        results = {name: result.read(path) for name, path in written.items() if path.exists()}
        options.docs.write_text(page(results), encoding="utf-8")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
