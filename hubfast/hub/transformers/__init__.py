"""Models of transformers (`hf:NAME`), of images and of text."""
