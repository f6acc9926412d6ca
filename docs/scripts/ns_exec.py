import containerkit as ck

base = ck.rootfs.from_programs(["sh", "cat", "hostname", "grep", "mount"])
walls = ["grep", "-E", "^(CapEff|NoNewPrivs|Seccomp):", "/proc/self/status"]
with ck.plan(ck.sandbox(base), run=["sh", "-c", "echo up; read wait"]).spawn(
    stdin=ck.PIPE, stdout=ck.PIPE
) as container:
    container.stdout.readline()
    print(ck.exec(container, ["hostname"]).text, end="")
    print(ck.exec(container, walls).text, end="")
    mount = ck.exec(container, ["mount", "-t", "tmpfs", "none", "/tmp"])
    print(mount.stderr.decode().splitlines()[0])
    assert mount.exit_code != 0

    with ck.Inside(container, capabilities=ck.Capabilities.only("CAP_SYS_CHROOT")) as inside:
        print("with more, by name:", ck.run(walls, inside).text.splitlines()[0])

    try:
        ck.exec(container.pid, ["hostname"])
    except ck.Unavailable as error:
        print(error)
