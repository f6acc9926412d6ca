"""Every system call of Linux on x86-64 and aarch64, once: its purpose, and for a denied call the attack that its denial stops.

The policy is docker's.  `GRANTED` has the calls that come with a capability; the API reference has a table of the differences.
"""

from __future__ import annotations


def _table(groups: dict[str, str]) -> dict[str, tuple[str, ...]]:
    return {about: tuple(names.split()) for about, names in groups.items()}


ALLOWED = _table({
    "read, write and wait": """
        close close_range copy_file_range dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait
        epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 fallocate fcntl fdatasync flock fsync ftruncate ioctl
        io_cancel io_destroy io_getevents io_pgetevents io_setup io_submit lseek pipe pipe2 poll ppoll pread64 preadv
        preadv2 pselect6 pwrite64 pwritev pwritev2 read readahead readv select sendfile splice sync sync_file_range syncfs
        tee truncate vmsplice write writev fadvise64""",
    "files by name": """
        access cachestat chdir chmod chown creat faccessat faccessat2 fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchownat
        fgetxattr flistxattr fremovexattr fsetxattr fstat fstatfs futimesat getcwd getdents
        getdents64 getxattr getxattrat inotify_add_watch inotify_init inotify_init1 inotify_rm_watch lchown lgetxattr link
        linkat listxattr listxattrat llistxattr lremovexattr lsetxattr lstat mkdir mkdirat mknod mknodat
        name_to_handle_at newfstatat open openat openat2 readlink readlinkat removexattr removexattrat rename renameat
        renameat2 rmdir setxattr setxattrat stat statfs statx symlink symlinkat umask unlink unlinkat utime utimensat
        utimes""",
    "memory": """
        brk madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mlock mlock2 mlockall mmap mprotect mremap
        mseal msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect process_mrelease remap_file_pages""",
    "processes, threads and signals": """
        alarm arch_prctl execve execveat exit exit_group fork futex futex_requeue futex_wait futex_waitv futex_wake
        get_robust_list get_thread_area getcpu getitimer getpgid getpgrp getpid getppid getpriority getrlimit getrusage
        getsid gettid ioprio_get ioprio_set kill modify_ldt pause pidfd_open pidfd_send_signal prctl prlimit64
        process_vm_readv process_vm_writev ptrace restart_syscall rseq
        rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend
        rt_sigtimedwait rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr
        sched_getparam sched_getscheduler sched_rr_get_interval sched_setaffinity sched_setattr sched_setparam
        sched_setscheduler sched_yield set_robust_list set_thread_area set_tid_address setitimer setpgid setpriority
        setrlimit setsid sigaltstack signalfd signalfd4 tgkill times tkill uretprobe vfork wait4 waitid""",
    "who one is; fewer privileges": """
        capget capset getegid geteuid getgid getgroups getresgid getresuid getuid landlock_add_rule landlock_create_ruleset
        landlock_restrict_self seccomp setfsgid setfsuid setgid setgroups setregid
        setresgid setresuid setreuid setuid""",
    "messages": """
        accept accept4 bind connect getpeername getsockname getsockopt listen mq_getsetattr mq_notify mq_open
        mq_timedreceive mq_timedsend mq_unlink msgctl msgget msgrcv msgsnd recvfrom recvmmsg recvmsg semctl semget semop
        semtimedop sendmmsg sendmsg sendto setsockopt shmat shmctl shmdt shmget shutdown socketpair""",
    "time, and what the machine is": """
        adjtimex clock_adjtime clock_getres clock_gettime clock_nanosleep getrandom gettimeofday listmount nanosleep statmount sysinfo
        time timer_create timer_delete timer_getoverrun timer_gettime timer_settime timerfd_create timerfd_gettime
        timerfd_settime uname""",
})  # fmt: skip

#: Calls that are allowed for some arguments only, or have an answer of their own: the rules are in `seccomp`.
SPECIAL = _table({
    "a new process, but not a new namespace: in one of its own an attacker is root, and all of mount and netfilter is open to him": "clone",
    "its flags lie in memory, where no filter can look: ENOSYS, and libc falls back to clone": "clone3",
    "personalities that switch off address randomization or map page zero help an exploit": "personality",
    "attributes of files by name: ENOSYS, so that programs ask ioctl, which reaches the same through a file that is open": """
        file_getattr file_setattr""",
    "labels of security modules: ENOSYS, so that programs read /proc/self/attr instead": "lsm_get_self_attr lsm_list_modules",
    "AF_VSOCK reaches the hypervisor past every network namespace; AF_ALG drives the kernel's ciphers, which libraries have too": "socket",
})  # fmt: skip

DENIED = _table({
    "change what is mounted: uncover masked paths, or set up a filesystem whose code trusts its image": """
        fsconfig fsmount fsopen fspick mount mount_setattr move_mount open_tree open_tree_attr pivot_root umount2""",
    "another root: a process with a descriptor outside of it walks out": "chroot",
    "make or enter namespaces: full capabilities inside open code that was written for root alone": "setns unshare",
    "open a file by a number instead of a path: reaches every file of the filesystem, above the root too": "open_by_handle_at",
    "take descriptors out of other processes, compare their insides, steer their memory": "kcmp pidfd_getfd process_madvise",
    "kernel keyrings: shared by all containers of a user, and often broken": "add_key keyctl request_key",
    "run programs inside the kernel, and read it by side channels": "bpf perf_event_open",
    "stop the kernel at a page fault in the middle of a copy, which wins races": "userfaultfd",
    "a second door to most system calls that no filter can see behind": "io_uring_enter io_uring_register io_uring_setup",
    "replace the kernel or put code into it": """
        create_module delete_module finit_module init_module kexec_file_load kexec_load""",
    "stop the machine, or its swap and accounting": "acct reboot swapoff swapon",
    "the clock is everybody's": "clock_settime settimeofday",
    "the kernel's log gives away addresses": "syslog",
    "raw hardware": "ioperm iopl",
    "names and quotas of the host": "quotactl quotactl_fd setdomainname sethostname",
    "watch or veto what others do with files": "fanotify_init",
    "place memory on nodes: rarely needed, and with bugs of its own": """
        get_mempolicy mbind migrate_pages move_pages set_mempolicy set_mempolicy_home_node""",
    "change the label that a security module goes by": "lsm_set_self_attr",
    "hang up a terminal that may be the host's": "vhangup",
    "old, obsolete, or never made: nothing needs them, so whatever they still reach is only an opening": """
        _sysctl afs_syscall get_kernel_syms getpmsg lookup_dcookie nfsservctl putpmsg query_module security sysfs tuxcall
        uselib ustat vserver""",
})  # fmt: skip

#: Calls for which the kernel asks for this capability anyway: a program that has it may make the call.
GRANTED = {f"CAP_{name}": tuple(calls.split()) for name, calls in {
    "BPF": "bpf",
    "DAC_READ_SEARCH": "open_by_handle_at",
    "PERFMON": "perf_event_open",
    "SYSLOG": "syslog",
    "SYS_ADMIN": """
        bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr lsm_list_modules
        lsm_set_self_attr mount mount_setattr move_mount open_tree open_tree_attr perf_event_open quotactl quotactl_fd
        setdomainname sethostname setns syslog umount2 unshare""",
    "SYS_BOOT": "reboot",
    "SYS_CHROOT": "chroot",
    "SYS_MODULE": "delete_module finit_module init_module",
    "SYS_NICE": "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    "SYS_PACCT": "acct",
    "SYS_PTRACE": "kcmp pidfd_getfd process_madvise",
    "SYS_RAWIO": "ioperm iopl",
    "SYS_TIME": "clock_settime settimeofday",
    "SYS_TTY_CONFIG": "vhangup",
}.items()}  # fmt: skip
KNOWN = frozenset(name for groups in (ALLOWED, SPECIAL, DENIED) for names in groups.values() for name in names)


def why_denied(name: str) -> str:
    """Return the attack that denying a call stops, or ""."""
    return next((about for groups in (DENIED, SPECIAL) for about, names in groups.items() if name in names), "")
