"""Data, training, evaluation and baselines; never shipped with the extension."""
