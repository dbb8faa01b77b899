"""Training: recipes, data made from label maps, the Lightning module, and the way from a checkpoint to a bundle."""
