"""From a call to what it asks for: the prompt taken out, everything else turned into a digest. Pure.

`keyer` reads a call: `signature` knows the function's arguments and which of them carries the prompt, `chat` takes the
prompt out, `identity` says what the function is now. `canonical` turns a value into bytes that are equal exactly if two
values mean the same, with `scalars`, `containers`, `instances` and what `objects` finds in an object; `reader` bounds
the work. `definitions` reads functions and classes: their `code`, its `usage` of variables, whose code it is (`scope`),
what is `live`, `ignoring`, and what is only `bookkeeping`; `watch` notices changes; `wrappers` knows which wrappers do
as what they wrap, and `tokens` stand for what cannot be read. `responses` reads what a response says of itself,
`completeness` whether it is a whole answer in one of the `shapes` of vendors, `said` the texts and calls in it.

To add a type that may be an argument, add its writer to the table in `canonical`; to add a way to define a function or
to carry messages, extend `signature` or `chat`; to add a vendor's form of responses, extend `shapes`.
"""
