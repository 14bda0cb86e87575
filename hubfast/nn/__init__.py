"""What every part of hubfast does to PyTorch modules: modes, checkpoints."""
