import sys
from dataclasses import replace

import containerkit as ck
from img_kubia import one_file, small

image = small()
other = image.append(one_file("more", b"one more\n"))
mixed = replace(image, config_data=other.config_data)  # one image's manifest, the other's config
try:
    mixed.validate()
except ck.ImageError as error:
    sys.exit(str(error))
