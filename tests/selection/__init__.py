"""Selection against its reference, exactly."""
