"""From cohort and pixels to trained detectors and their predictions."""

import os

# Threads that spin while they wait lose most of a shared machine's time; OpenMP reads this when
# torch is first imported, which happens only below this package.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
