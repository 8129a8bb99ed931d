"""The machine that a measurement was made on."""

import os
import platform
from pathlib import Path
from typing import Dict, Union

Machine = Dict[str, Union[str, int]]


def describe() -> Machine:
    """Returns the processor's model, the number of cores this process may use, and versions."""
    import numpy
    import tensorflow.compat.v1 as tf

    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "numpy": numpy.__version__,
    }


def sentence(machine: Machine) -> str:
    """Returns the description as one sentence."""
    text = "{processor}, {cores} cores, {system}; Python {python}, TensorFlow {tensorflow}, NumPy {numpy}."
    return text.format(**machine)


def _processor() -> str:
    known = Path("/proc/cpuinfo")
    lines = known.read_text().splitlines() if known.exists() else []
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    name = facts.get("model name", "")
    if name and name != "unknown":
        return name
    if "vendor_id" in facts:
        return "{vendor_id} family {cpu family} model {model}".format(**facts)
    return platform.processor() or "processor unknown"
