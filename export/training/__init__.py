"""Training DeepMask: its joint objective, its sampler, and scenes to train on."""
