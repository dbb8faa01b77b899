"""How fast networks and the whole pipeline are on this machine, measured side by side in one run."""
