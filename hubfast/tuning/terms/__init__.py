"""Loss terms, one file each: a plain function and a small module."""
