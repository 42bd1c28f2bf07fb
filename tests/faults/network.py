"""Networks for servers that are to be cut off from each other, on one machine. Needs root."""

import os
import subprocess

from cluster import run, wait_for


class Place:
    """A network namespace. It goes with this process, however that ends."""

    def __init__(self):
        self.holder = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "sleep", "infinity"])
        own = os.readlink("/proc/self/ns/net")
        wait_for("a namespace", lambda: os.readlink(self.file) != own)
        # What a command that is to run there begins with.
        self.enter = ["nsenter", f"--net={self.file}"]
        run(*self.enter, "ip", "link", "set", "lo", "up")

    @property
    def file(self):
        return f"/proc/{self.holder.pid}/ns/net"

    def close(self):
        self.holder.kill()
        self.holder.wait()


class Network:
    """A switch with a port for each host. What does not get through is lost without a word, as behind a dead switch."""

    def __init__(self, name, prefix):
        """`prefix`: the first three bytes of its addresses."""
        self.name = name
        self.prefix = prefix
        self.switch = Place()
        run(*self.switch.enter, "ip", "link", "add", "switch", "type", "bridge")
        run(*self.switch.enter, "ip", "link", "set", "switch", "up")

    def join(self, host, place=None):
        """Gives the place, or this process, the address of that number."""
        # Several test processes may do so side by side.
        interface = self.name if place else f"cowherd{os.getpid()}"
        enter = place.enter if place else []
        run(*self.switch.enter, "ip", "link", "add", f"port{host}", "type", "veth", "peer", "name", interface,
            "netns", place.holder.pid if place else os.getpid())
        run(*self.switch.enter, "ip", "link", "set", f"port{host}", "master", "switch", "up")
        run(*enter, "ip", "address", "add", f"{self.address(host)}/24", "dev", interface)
        run(*enter, "ip", "link", "set", interface, "up")
        return self.address(host)

    def address(self, host):
        return f"{self.prefix}.{host}"

    def cut(self, host):
        self.port(host, "state", 0)

    def heal(self, host):
        self.port(host, "state", 3)

    def separate(self, host, separate=True):
        """Those that are separate do not reach each other, but all others."""
        self.port(host, "isolated", "on" if separate else "off")

    def port(self, host, *change):
        run(*self.switch.enter, "bridge", "link", "set", "dev", f"port{host}", *change)

    def close(self):
        self.switch.close()
