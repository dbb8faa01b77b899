"""The networks: SCD-UNETR and the dense UNETR that it is measured against."""

from scdseg.networks.cost import macs
from scdseg.networks.pruning import keep_counts, stage_keep_ratios
from scdseg.networks.scd_unetr import SCDUNETR, TokenTrace
from scdseg.networks.unetr import UNETR

__all__ = ["SCDUNETR", "UNETR", "TokenTrace", "keep_counts", "macs", "stage_keep_ratios"]
