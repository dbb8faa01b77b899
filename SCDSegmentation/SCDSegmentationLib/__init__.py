"""The Slicer side of SCDSegmentation: one job a file. Nothing in here imports PyTorch or MONAI."""
