"""Other libraries and programs on the same work, each as its own documentation would do it."""
