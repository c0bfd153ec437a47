"""BGP through ExaBGP: one unprivileged worker process per VRF, and one for the core.

The node decides and keeps the routes; a worker keeps sessions. ``SpeakerPool`` turns the worker's
lines into events and the control plane's actions into commands. A worker that dies is started
again; every session then comes up anew, and the control plane advertises again what it has.
"""

from controlplane.speaker.pool import SpeakerPool
from controlplane.speaker.session import SessionSnapshot

__all__ = ["SessionSnapshot", "SpeakerPool"]
