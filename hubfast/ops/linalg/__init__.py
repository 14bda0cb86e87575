"""Gram matrices, spectra and band forms: the linear algebra under the scores."""
