"""One call, from its arguments to its answer.

`callsite` keys and starts a call; `flow` is the call as a generator of `effects`, and `decision` says which
candidate may serve: both pure, like `maintenance`, the flows that never call the function. `drivers` perform the
effects, in place or awaiting, on the `core` that all calls of one cache share. `recallm.cache` makes the call sites.

To add an effect, add it to `effects` and a case to ``EffectHandler.begin``; to add a step to a call, extend `flow`.
"""
