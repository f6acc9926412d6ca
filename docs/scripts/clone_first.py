import containerkit as ck

plan = ck.plan(run=["/bin/sh", "-c", "echo I am $$, my parent is $PPID"])
print(plan)

result = plan.run()
print()
print("it said:       ", result.text.strip())
print("it ended with: ", result.exit_code)
