"""One call, from its arguments to its answer.

`callsite` keys and starts a call; `flow` is the call as a generator of `effects`, on the `plan` of its function: a
`lookup`, the call of the function, and `storing` its answer. `decision` says which candidates may serve and `serving`
tries them. All of these are pure, like `maintenance`, the flows that never call the function. `drivers` perform the
effects, in place or awaiting, on the `core` that all calls of one cache share. `recallm.cache` makes the call sites;
`stand_in` is what is called in a function's place, and `sending` has functions work in other processes.

To add an effect, add it to `effects` and a case to ``EffectHandler.begin``; to add a step to a call, extend `flow`.
"""
