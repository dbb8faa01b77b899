"""The networks: SCD-UNETR and the dense UNETR that it is measured against."""

from scdseg.networks.cost import macs
from scdseg.networks.pruning import stage_keep_ratios
from scdseg.networks.scd_unetr import SCDUNETR, TokenTrace
from scdseg.networks.unetr import UNETR
from scdseg.window_cost import keep_counts

__all__ = ["SCDUNETR", "UNETR", "TokenTrace", "keep_counts", "macs", "stage_keep_ratios"]
