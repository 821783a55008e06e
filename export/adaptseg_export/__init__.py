"""adaptseg_export: checkpoint -> bundle, written only when the graph agrees with PyTorch."""
