"""What a process may reach, closed by the Linux kernel's Landlock for itself and all that it starts.

Imports the standard library alone: it runs in processes that have nothing else.
"""

import ctypes
import os
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
"""The numbers of Landlock's system calls, the same on every processor."""
RULESET_VERSION, PATH_BENEATH = 1, 1
PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 24, 36, 38

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
CHANGE_FOLDERS = sum(1 << bit for bit in range(4, 13))
"""Removing and making files, folders, links, sockets, pipes and devices."""
REFER, TRUNCATE, DEVICE_CALLS = 1 << 13, 1 << 14, 1 << 15
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | DEVICE_CALLS
READING = EXECUTE | READ_FILE | READ_DIR
TCP = 3
"""Binding a TCP port, and connecting to one."""
SCOPES = 3
"""Abstract sockets, and signals, of processes outside."""
FILES_ABI, REFER_ABI, TRUNCATE_ABI, TCP_ABI, DEVICES_ABI, SCOPES_ABI = range(1, 7)

KEPT_CAPABILITIES = (0, 1, 3, 4, 6, 7)
"""Of root's: CHOWN, DAC_OVERRIDE, FOWNER, FSETID, SETGID, SETUID; Landlock bounds what they reach."""
CAPABILITIES_VERSION = 0x20080522

PROGRAMS = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store")
ABOUT_THE_SYSTEM = ("/proc", "/sys/devices/system", "/sys/fs/cgroup")
CONFIGURATION = (
    *("alternatives", "bash.bashrc", "ca-certificates", "ca-certificates.conf", "debian_version", "fonts"),
    *("gai.conf", "gitconfig", "group", "host.conf", "hostname", "hosts", "inputrc", "ld.so.cache"),
    *("ld.so.conf", "ld.so.conf.d", "locale.alias", "localtime", "magic", "magic.mime", "mime.types"),
    *("nsswitch.conf", "odbcinst.ini", "os-release", "passwd", "perl", "pki/ca-trust", "pki/tls/cert.pem"),
    *("pki/tls/certs", "protocols", "R", "resolv.conf", "rpc", "services", "ssl/cert.pem", "ssl/certs"),
    *("ssl/openssl.cnf", "terminfo", "timezone"),
)
"""What programs read below /etc, where secrets lie too."""
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")


@dataclass(frozen=True)
class Rules:
    """What a process may reach; everything else is closed."""

    abi: int
    """The version of Landlock to use; 0 closes nothing."""
    readable: tuple[str, ...] = ()
    """Files and folders that it may read and execute."""
    writable: tuple[str, ...] = ()
    """Folders in which it may do everything."""
    network: bool = False
    """Whether it may use TCP."""


class ConfinementError(OSError):
    """The kernel refused to confine a process."""


@cache
def abi() -> int:
    """The version of Landlock that the kernel has; 0 where it has none, or has it switched off."""
    if sys.platform != "linux":
        return 0
    found = _libc().syscall(CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(RULESET_VERSION))
    return max(int(found), 0)


def open_still(version: int) -> tuple[str, ...]:
    """What a command can do all the same where the kernel has this version of Landlock, for people."""
    if version < FILES_ABI:
        return ("read and change what the worker can, and end its processes",)
    lacking = ((TRUNCATE_ABI, "cut off files of the worker"), (SCOPES_ABI, "end processes of the worker"))
    return tuple(said for since, said in lacking if version < since)


def system_paths(further: Iterable[Path] = ()) -> tuple[str, ...]:
    """What programs of this system and of this Python need to read, and further paths."""
    python = (sys.prefix, sys.base_prefix, str(Path(sys.executable).resolve().parent.parent))
    settled = [*(f"/etc/{name}" for name in CONFIGURATION), *map(str, sorted(Path("/etc").glob("java-*")))]
    return tuple(dict.fromkeys([*PROGRAMS, *ABOUT_THE_SYSTEM, *settled, *python, *map(str, further)]))


def without(path: Path, hidden: Sequence[Path]) -> Iterator[Path]:
    """A path, or in its place all that lies below it, as far as it neither is nor holds a hidden path."""
    if any(path.is_relative_to(one) for one in hidden):
        return
    if not any(one.is_relative_to(path) for one in hidden):
        yield path
    elif path.is_dir():
        for below in sorted(path.iterdir()):
            if not below.is_symlink():
                yield from without(below, hidden)


def confine(rules: Rules) -> None:
    """Closes everything but these paths for this process and all that it starts from now on.

    Signals to other processes, their memory and their part of /proc are closed too, as far as the kernel can.

    Raises:
        ConfinementError: the kernel refused.
    """
    give_up_privileges()
    if rules.abi < FILES_ABI:
        return
    handled = READING | WRITE_FILE | CHANGE_FOLDERS
    for right, since in ((REFER, REFER_ABI), (TRUNCATE, TRUNCATE_ABI), (DEVICE_CALLS, DEVICES_ABI)):
        handled |= right if rules.abi >= since else 0
    tcp = TCP if rules.abi >= TCP_ABI and not rules.network else 0
    ruleset = _ruleset(rules.abi, handled, tcp, SCOPES if rules.abi >= SCOPES_ABI else 0)
    for path in rules.readable:
        _allow(ruleset, path, READING & handled)
    for path in rules.writable:
        _allow(ruleset, path, handled)
    for path in DEVICES:
        _allow(ruleset, path, (READ_FILE | WRITE_FILE | TRUNCATE | DEVICE_CALLS) & handled)
    _restrict(ruleset)


def fence_signals(version: int) -> bool:
    """Lets this process signal none but those that it starts from now on; whether the kernel does that."""
    if version < SCOPES_ABI:
        return False
    _prctl(PR_SET_NO_NEW_PRIVS, 1)
    _restrict(_ruleset(version, 0, 0, SCOPES))
    try:
        os.kill(os.getppid(), 0)
    except PermissionError:
        return True
    except ProcessLookupError:
        return False
    return False


def give_up_privileges() -> None:
    """No program gains rights by being executed, and root keeps only rights over files."""
    if sys.platform != "linux":
        return
    _prctl(PR_SET_NO_NEW_PRIVS, 1)
    if os.geteuid() != 0:
        return
    for capability in set(range(64)) - set(KEPT_CAPABILITIES):
        _libc().prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    kept = sum(1 << capability for capability in KEPT_CAPABILITIES)
    header = (ctypes.c_uint32 * 2)(CAPABILITIES_VERSION, 0)
    sets = (ctypes.c_uint32 * 6)(kept, kept, 0, 0, 0, 0)
    if _libc().capset(header, sets) < 0:
        raise _refused("capabilities cannot be given up")


def adopt_orphans() -> None:
    """Makes this process the parent of every process below it whose own parent ends."""
    if sys.platform == "linux":
        _prctl(PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(signal_number: int, parent: int) -> None:
    """Has the kernel send this process a signal when its parent ends; ends at once where that is gone."""
    if sys.platform == "linux":
        _prctl(PR_SET_PDEATHSIG, signal_number)
    if os.getppid() != parent:
        os._exit(1)


class _Ruleset(ctypes.Structure):
    _fields_ = [("files", ctypes.c_uint64), ("tcp", ctypes.c_uint64), ("scopes", ctypes.c_uint64)]


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("allowed", ctypes.c_uint64), ("path", ctypes.c_int32)]


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _ruleset(version: int, files: int, tcp: int, scopes: int) -> int:
    fields = 3 if version >= SCOPES_ABI else 2 if version >= TCP_ABI else 1
    attributes, size = _Ruleset(files, tcp, scopes), ctypes.c_size_t(8 * fields)
    made = _libc().syscall(CREATE_RULESET, ctypes.byref(attributes), size, ctypes.c_uint32(0))
    if made < 0:
        raise _refused("no ruleset can be made")
    return int(made)


def _allow(ruleset: int, path: str, allowed: int) -> None:
    """Adds a rule for a path; none for a path that is not there."""
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        is_folder = stat.S_ISDIR(os.fstat(opened).st_mode)
        rule = _PathBeneath(allowed if is_folder else allowed & OF_FILES, opened)
        if _libc().syscall(ADD_RULE, ruleset, PATH_BENEATH, ctypes.byref(rule), ctypes.c_uint32(0)) < 0:
            raise _refused(f"no rule for {path} can be added")
    finally:
        os.close(opened)


def _restrict(ruleset: int) -> None:
    try:
        if _libc().syscall(RESTRICT_SELF, ruleset, ctypes.c_uint32(0)) < 0:
            raise _refused("the ruleset is not taken")
    finally:
        os.close(ruleset)


def _prctl(option: int, value: int) -> None:
    rest = (ctypes.c_ulong(0),) * 3
    if _libc().prctl(option, ctypes.c_ulong(value), *rest) < 0:
        raise _refused(f"prctl {option} is refused")


def _refused(what: str) -> ConfinementError:
    number = ctypes.get_errno()
    return ConfinementError(number, f"{what}: {os.strerror(number)}")
