import hashlib
import json

from img_kubia import kubia

image = kubia()
for name, data in (("manifest", image.data), ("config", image.config_data)):
    print(f"{name}: {len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()[:12]}")
    print(json.dumps(json.loads(data), indent=2), "\n")
