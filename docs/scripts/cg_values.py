import containerkit as ck

for name, limits in (
    ("a", {"memory_max": "64X"}),
    ("a", {"memory_maximum": "64M"}),
    ("a", {"cpu_max": 0}),
    ("a", {"cpu_max": 0.2, "cpu_max_burst": 50_000}),
    ("a", {"cpuset_cpus": "0-9999"}),
    ("a", {"io_max": {"/proc": {"wbps": "4M"}}}),
    ("a", {"devices": ["/dev/nothing rw"]}),
    ("..", {}),
    ("../../system.slice", {}),
    ("a\nb", {}),
    ("a\0b", {}),
    ("cgroup.procs", {}),
):
    try:
        ck.Cgroup(name, **limits)
    except ck.PlanError as error:
        print(error)
