"""Small tools that know nothing of models: threads, progress, files, optional packages."""
