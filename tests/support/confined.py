"""Confines a process by a seccomp filter, which needs no rights: no network, or no writing."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
from errno import EROFS

SYSCALLS = {
    "x86_64": {"connect": 42, "sendto": 44, "open": 2, "openat": 257, "creat": 85, "mkdir": 83, "mkdirat": 258},
    "aarch64": {"connect": 203, "sendto": 206, "openat": 56, "mkdirat": 34},
}
"""The numbers of the system calls, by machine."""

FLAGS = {"open": 1, "openat": 2}
"""Which argument holds the flags."""

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
KILL, REFUSE_WRITING, ALLOW = 0x80000000, 0x00050000 | EROFS, 0x7FFF0000
LOAD, IF_EQUAL, IF_ANY, END = 0x20, 0x15, 0x45, 0x06
NO_NEW_PRIVILEGES, SECCOMP, FILTER = 38, 22, 2

NUMBERS = SYSCALLS.get(platform.machine(), {}) if sys.platform == "linux" else {}
CAN_CONFINE = bool(NUMBERS)
"""Whether this machine is one whose system calls are known here."""


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def forbid_network() -> None:
    """Kill this process, from now on, as soon as it connects or sends to anything, to look up a name for instance."""
    _install([step for name in ("connect", "sendto") for step in _on(name, KILL)])


def forbid_writing() -> None:
    """Have this process find every file system read-only from now on."""
    _install([step for name in ("open", "openat", "creat", "mkdir", "mkdirat") for step in _on(name, REFUSE_WRITING)])


def _on(name: str, verdict: int) -> list[bytes]:
    """Return the steps that decide over a system call, if this machine has it."""
    if name not in NUMBERS:
        return []
    end = _step(END, verdict)
    if name in FLAGS:
        flags = 16 + 8 * FLAGS[name]
        end = _step(LOAD, flags) + _step(IF_ANY, WRITING, if_not=1) + end
    return [_step(LOAD, 0), _step(IF_EQUAL, NUMBERS[name], if_not=len(end) // 8), end]


def _step(code: int, operand: int, *, if_not: int = 0) -> bytes:
    return struct.pack("HBBI", code, 0, if_not, operand)


def _install(steps: list[bytes]) -> None:
    code = b"".join([*steps, _step(END, ALLOW)])
    instructions = ctypes.create_string_buffer(code)
    program = _Program(len(code) // 8, ctypes.cast(instructions, ctypes.c_void_p))
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in ((NO_NEW_PRIVILEGES, 1, 0, 0, 0), (SECCOMP, FILTER, ctypes.byref(program))):
        if libc.prctl(*arguments):
            raise OSError(ctypes.get_errno(), "the process cannot be confined")


def obey_permissions() -> None:
    """Have this process, from now on, heed the permissions of files though its user is root."""

    class Header(ctypes.Structure):
        _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))

    class Sets(ctypes.Structure):
        _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))

    system, header, sets = ctypes.CDLL(None, use_errno=True), Header(0x20080522, 0), (Sets * 2)()
    if system.capget(ctypes.byref(header), sets):
        raise OSError(ctypes.get_errno(), "capget")
    sets[0].effective &= ~0b111  # to change owners, to override permissions, and to read in spite of them
    sets[0].permitted &= ~0b111
    if system.capset(ctypes.byref(header), sets):
        raise OSError(ctypes.get_errno(), "capset")
