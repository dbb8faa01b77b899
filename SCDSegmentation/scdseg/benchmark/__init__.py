"""How fast networks and the whole pipeline are on this machine, measured side by side in one run."""

PARTS = ("windows", "volume", "stages", "growth")
"""What can be measured: see :func:`scdseg.benchmark.run.benchmark`."""

PEERS = ("swinunetr", "segresnet", "dynunet", "unetr")
"""Networks of MONAI that ours are measured beside: see :mod:`scdseg.benchmark.networks`."""
