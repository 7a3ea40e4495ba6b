"""Modeling: the torch room. ViLT backbones, fine-tuning strategies, training and prediction, given files and seeds."""
