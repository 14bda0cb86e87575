"""LogME: the log of the maximum evidence, per sample and target."""
