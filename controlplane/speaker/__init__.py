"""BGP through ExaBGP: one unprivileged child process per VRF, and one for the core.

The node decides and remembers; the child only speaks. ``SpeakerPool`` turns the child's lines into
events and the control plane's actions into commands. A child that dies is started again; every
session then comes up anew, and the control plane says again what it has to say.
"""

from controlplane.speaker.pool import SpeakerPool
from controlplane.speaker.session import SessionSnapshot

__all__ = ["SessionSnapshot", "SpeakerPool"]
