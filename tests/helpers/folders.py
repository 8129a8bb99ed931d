"""What lies in folders and checkpoints, and copies of it that are changed."""

import os
from typing import Any, Callable, Dict

import tensorflow.compat.v1 as tf

from fixtures.estimators import read_all


def files_of(folder: Any) -> Dict[str, bytes]:
    """Returns the content of every file below a folder, by its path from there."""
    found = {}
    for root, _, names in os.walk(str(folder)):
        for name in names:
            path = os.path.join(root, name)
            with open(path, "rb") as stream:
                found[os.path.relpath(path, str(folder))] = stream.read()
    return found


def rewritten(source: Any, copy: Any, change: Callable[[Dict[str, Any]], Any]) -> str:
    """Writes a checkpoint's tensors anew, changed, and without a graph; returns the prefix of the copy."""
    values = read_all(str(source))
    change(values)
    with tf.Graph().as_default(), tf.Session() as session:
        variables = {name: tf.Variable(value) for name, value in values.items()}
        session.run(tf.global_variables_initializer())
        tf.train.Saver(variables).save(session, str(copy), write_meta_graph=False)
    return str(copy)
