"""How much a FlowScript file may hold: whatever somebody writes, it is read in little time and memory, or refused with the limit."""

DEEPEST = 100
"""Blocks in blocks, those of files in files and of fallbacks of fallbacks, too."""
DEEPEST_FILES = 20
MOST_FILES = 1000
"""Files that a file names, and those that they name: one that is told other names is another one."""
MOST_NODES = 20_000
"""Of a file, with those of the files that it names, and of fallbacks, as often as they are named."""
MOST_LEVELS = 100_000
"""The nodes of a file, each as often as there are blocks around it."""
MOST_CYCLES = 20
"""Of a block, that are told."""
MOST_WAITS = 500_000
"""How often nodes of a file wait for one another."""
