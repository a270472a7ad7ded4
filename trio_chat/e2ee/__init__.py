"""End-to-end encryption: what a client adds to `mls` to talk in private with people.

    device       device certificates: what one says, and their making
    identity     who a leaf of a group is: the judging of its chain
    trust        safety numbers, short authentication strings
    people       whose keys are known, and which were verified
    policy       who may do what in a room
    payload      what is inside an encrypted message
    store        what a client must not lose, in an encrypted file
    changes      what one event writes there
    key          the key of that file

Those before the store are pure: no I/O, no clock. The server knows nothing of this.
"""
