"""Imports all that a run needs, once for many: what `rnnlab.launch.local` forks its jobs from.

The garbage collector rests meanwhile, and what is there afterwards is no
more looked at: neither here nor in the forks, whose memory then stays shared.
"""

import gc

gc.disable()
try:
    import rnnlab.launch.check
    import rnnlab.launch.job  # noqa: F401
    from rnnlab.runs.provenance import provenance

    provenance()  # remembered by the forks
finally:
    gc.enable()
    gc.freeze()
