"""What a decoder does once a file has taken it over: functions for a confined child."""

import ctypes
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from pydantic import BaseModel

from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.media.errors import MediaError


class Order(BaseModel):
    """What to try, and with what."""

    text: str = ""
    number: int = 0


class Told(BaseModel):
    """What came of it."""

    text: str


def answer(order: Order) -> Told:
    return Told(text=order.text.upper())


def refuse(order: Order) -> Told:
    raise MediaError(FaultCode.MEDIA_UNSUPPORTED, order.text)


def stumble(order: Order) -> Told:
    raise ZeroDivisionError(order.text)


def segfault(_order: Order) -> Told:
    ctypes.string_at(0)
    return Told(text="lived")


def abort(_order: Order) -> Told:
    os.abort()


def spin(_order: Order) -> Told:
    while True:
        pass


def sleep(_order: Order) -> Told:
    time.sleep(60)
    return Told(text="woke")


def hoard(order: Order) -> Told:
    return Told(text=str(len(bytearray(order.number))))


def write(order: Order) -> Told:
    try:
        Path(order.text).write_bytes(bytes(order.number))
    except OSError as error:
        return Told(text=type(error).__name__)
    return Told(text="written")


def open_many(order: Order) -> Told:
    files = []
    try:
        for _ in range(order.number):
            files.append(os.open(os.devnull, os.O_RDONLY))  # noqa: PERF401  # the count at the error is what is asked
    except OSError:
        return Told(text=str(len(files)))
    return Told(text="no end")


def call(order: Order) -> Told:
    host, port = order.text.split(":")
    try:
        socket.create_connection((host, int(port)), timeout=2).close()
    except OSError as error:
        return Told(text=type(error).__name__)
    return Told(text="called")


def has_own_network(_order: Order) -> Told:
    return Told(text=str([name for _, name in socket.if_nameindex()]))


def look_around(_order: Order) -> Told:
    names = sorted(os.environ)  # what a thief would read first
    descriptors = sorted(int(name) for name in os.listdir("/proc/self/fd"))  # noqa: PTH208  # open ones, by number
    limit = resource.getrlimit(resource.RLIMIT_CORE)[0]
    return Told(text=f"{Path.cwd()} {names} {len(descriptors)} {limit}")


def leave_a_child(order: Order) -> Told:
    code = f"import time; open({order.text!r}, 'w').write('here'); time.sleep(600)"
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.DEVNULL, start_new_session=bool(order.number)
    )
    while not Path(order.text).exists():
        time.sleep(0.01)
    return Told(text=str(child.pid))


def lie(_order: Order) -> Told:
    """Write something of another form into the pipe."""
    for descriptor in range(3, 32):
        try:
            os.write(descriptor, b'{"value": "{}", "loot": 1}')
        except OSError:
            continue
    os._exit(0)


def talk(_order: Order) -> Told:
    """Say two megabytes where a few hundred bytes are expected, and never end."""
    for descriptor in range(3, 32):
        try:
            os.write(descriptor, bytes(1))
        except OSError:
            continue
        for _ in range(64):
            os.write(descriptor, bytes(1 << 15))
    time.sleep(60)
    return Told(text="lived")


def name_parent(_order: Order) -> Told:
    return Told(text=str(os.getppid()))


def kill_itself(_order: Order) -> Told:
    """End as by the memory guard of the system."""
    os.kill(os.getpid(), signal.SIGKILL)
    return Told(text="lived")


def kill_the_template(_order: Order) -> Told:
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)
    return Told(text="lived")
