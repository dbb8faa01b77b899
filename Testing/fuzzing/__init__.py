"""Files and lines that were made to harm, by number, and the guard that watches what reading them does.

``python Testing/fuzz_files.py`` runs them.
"""
