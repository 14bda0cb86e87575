"""The evidence of Bayesian linear regression, maximised over its hyperparameters."""
