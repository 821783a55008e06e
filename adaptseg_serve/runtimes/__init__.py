"""What runs a bundle's graph, one module per runtime, each behind `adaptseg_serve.predictor.Predictor`."""
