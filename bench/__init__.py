"""The benchmark: this gateway beside a bare `mitmdump`, as ratios of one run. `python -m bench --help`."""
