"""``python -m graph_masker.spec`` prints the JSON Schema of spec files, for editors."""

from graph_masker.spec.schema import schema_text

print(schema_text(), end="")
