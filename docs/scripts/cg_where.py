from containerkit.cgroup import system

found = system()
print("mode:", found.mode)
for hierarchy in found.hierarchies:
    controls = " ".join(sorted(hierarchy.controllers)) or "no controller"
    print(f"v{hierarchy.version} at {hierarchy.mount:26} {controls:14}")
