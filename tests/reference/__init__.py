"""Reference implementations in plain numpy: short, slow and obviously right."""
