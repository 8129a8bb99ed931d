"""The only package that names TensorFlow's private API, and the only one that knows which TensorFlow it is (1.15)."""

import tensorflow.compat.v1  # noqa: F401  tensorflow_estimator, imported first, would leave it without `estimator`

from graph_masker.tf_compat.estimators import estimator_model_fn, estimator_with, replace_method, wrap_estimators
from graph_masker.tf_compat.ops import (
    as_function,
    beside,
    bincount,
    choose,
    collections_of,
    first_control_flow,
    in_context_of,
    mark_names_as_used,
    nth_element,
    outlined,
    outside_everything,
    paused_collector,
    root_variable_scope,
    twin_of,
    update_input,
)
from graph_masker.tf_compat.savers import (
    extend_saver,
    recorded_savers,
    saver_entries,
    saver_has_only_variables,
    saver_is_built,
    saver_reshapes,
    saver_variables,
    set_scaffold_saver,
)
from graph_masker.tf_compat.variables import load_variable, part_of, saved_name, set_slice, writers_of
from graph_masker.tf_compat.views import (
    captured_variables,
    names_in_collection,
    view_of_body,
    view_of_graph,
    view_of_meta_graph,
)
from graph_masker.tf_compat.watching import GradientWatcher, around_functions, around_gradients

__all__ = [
    "GradientWatcher",
    "around_functions",
    "around_gradients",
    "as_function",
    "beside",
    "bincount",
    "captured_variables",
    "choose",
    "collections_of",
    "estimator_model_fn",
    "estimator_with",
    "extend_saver",
    "first_control_flow",
    "in_context_of",
    "load_variable",
    "mark_names_as_used",
    "names_in_collection",
    "nth_element",
    "outlined",
    "outside_everything",
    "part_of",
    "paused_collector",
    "recorded_savers",
    "replace_method",
    "root_variable_scope",
    "saved_name",
    "saver_entries",
    "saver_has_only_variables",
    "saver_is_built",
    "saver_reshapes",
    "saver_variables",
    "set_scaffold_saver",
    "set_slice",
    "twin_of",
    "update_input",
    "view_of_body",
    "view_of_graph",
    "view_of_meta_graph",
    "wrap_estimators",
    "writers_of",
]
