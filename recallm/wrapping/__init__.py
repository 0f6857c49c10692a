"""How a function is wrapped: the options that users give, and the call site that is made from them.

`options` has a row for each option, from which signatures, docstrings and checks are made; `call_site` makes of a
function and its options what `recallm.engine` needs. `recallm.cache` and `recallm.decorator` call both.

To add an option, add its type and its row to `options`, and hand it to the keyer or the plan in `call_site`.
"""
