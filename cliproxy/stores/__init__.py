"""Where the config and the auth files are kept beyond this machine, and how the copies here and there stay the same.

`store` says what every store does; `file`, `postgres`, `git` and `s3` do it; `choice` says which one is used, `opening`
begins with it.
`replica` keeps a directory of this machine and a store alike, and `merge` decides where both have changed.
"""
