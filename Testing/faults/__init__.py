"""Faults by number, struck at the module in the embedded host and its real worker.

``python Testing/fault_campaign.py`` strikes them.
"""
