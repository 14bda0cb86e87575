"""Programs of torch.export (`export:FILE`)."""
