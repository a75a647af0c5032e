"""The published TripoSG as V1's first stage: its transformer and its decoder with its own names of weights, run over a clip at once."""
