"""Images: portable, layered, shared.  Nothing here knows of steps: what comes out is bytes and directories.

    digest  reference  media  platform  descriptor     names and labels
    blobs                                              where bytes are, read only while they are being verified
    documents  config  image  index                    what JSON says, kept byte for byte
    mutate  validate                                   new images from old ones; what does not fit together

:see: https://github.com/opencontainers/image-spec
"""
