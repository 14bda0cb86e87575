"""TensorFlow SavedModels (`tfhub:FOLDER`)."""
