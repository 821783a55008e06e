"""adaptseg_training: what makes checkpoints. Importing it, or its `config`, does not load torch."""
