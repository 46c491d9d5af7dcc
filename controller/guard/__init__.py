"""The guard: the last thing that a command passes before it is sent. Pure, compiled, apart.

It knows nothing of the law or the motion that asked. Each check looks at what it is given, at the limits and at its own
memory, and returns a code of the catalogue: 0, or what is wrong. What the newest code speaks of is in the record's
`axis`, `value` and `bound`.
"""
