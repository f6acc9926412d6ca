"""Write a Dockerfile."""


def recipe() -> str:
    """Return a Dockerfile for this context:

    app.js         the program, which changes many times a day
    package.json   the list of its packages, which changes once a month
    install        a shell script that reads package.json and the file /run/secrets/token, and
                   writes `installed`, all in the current directory but the token.  It takes long,
                   and leaves a directory /tmp/rubbish behind
    token          a password: no owner of the image may find it, in no layer

    The image `base` has a shell, cat, ls, mkdir and rm.  The token is given to the build as the
    secret "token".  In the new image
    - /app has app.js, package.json and installed
    - `cat /app/app.js` is the command, run as the user 1000, without a shell
    - the rubbish takes no space in any layer
    - when app.js changes, `install` is not run again; when package.json changes, it is
    """
    raise NotImplementedError
