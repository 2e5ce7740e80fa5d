"""systemd's notify socket: ready, alive, what it does. Nothing happens where there is none.

Source: sd_notify(3), sd_watchdog_enabled(3).
"""

import os
import socket


def notify(*lines: str) -> bool:
    """Send lines such as READY=1; False when nobody listens."""
    name = os.environ.get("NOTIFY_SOCKET")
    if not name or name[0] not in "/@":
        return False
    address = "\0" + name[1:] if name.startswith("@") else name
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.settimeout(1)
            sock.connect(address)
            sock.sendall("\n".join(lines).encode()[:4_000])
    except OSError:
        return False
    return True
