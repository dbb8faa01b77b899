"""Model bundles: MONAI bundles with one more metadata key, ``scd``, that says how the engine runs the model.

A bundle is data. Nothing in it is evaluated or imported, and nothing of it is trusted before it was checked. Importing
this package does not import PyTorch: listing models stays quick.
"""

from scdseg.bundle.bundle import Bundle, Intensity, read_bundle
from scdseg.bundle.install import install_bundle
from scdseg.bundle.labels import Code, Label
from scdseg.bundle.search import find_bundle, find_bundles, model_folders
from scdseg.bundle.write import write_bundle

__all__ = [
    "Bundle",
    "Code",
    "Intensity",
    "Label",
    "find_bundle",
    "find_bundles",
    "install_bundle",
    "model_folders",
    "read_bundle",
    "write_bundle",
]
