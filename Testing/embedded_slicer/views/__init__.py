"""Slice and 3-D views with the real displayable managers, rendered off-screen when asked."""
