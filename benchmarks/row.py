"""Runs one row in this process and prints its figures as one line of JSON: see `measure.py`. `run.py` calls it; each row is a process.

python benchmarks/row.py MODULE WORK SIZE [PEER]
"""

# Nothing up here: worker processes that are spawned import the program that started them, and that is nobody's figure.

if __name__ == "__main__":
    import sys

    from measure import main

    main(*sys.argv[1:])
