import containerkit as ck

result = ck.run(["/bin/true"])
print(result.trace)

slowest = max(result.trace, key=lambda entry: entry.microseconds)
print("\nthe slowest:", slowest.step.call.name, "-", slowest.step.why)
