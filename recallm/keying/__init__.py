"""From a call to what it asks for: the prompt taken out, everything else turned into a digest. Pure.

`keyer` reads a call; `signature` knows the function's arguments and which of them carries the prompt, `wrappers` which
wrappers do as what they wrap; `chat` takes the prompt out of messages; `canonical` turns a value into bytes that are
equal exactly if two values mean the same; `objects` reads what an object holds; `identity` tells functions apart;
`responses` reads what a response says of itself. `recallm.cache` makes a `Keyer` for each function, the engine asks it
at each call.

To add a type that may be an argument, add its writer to the table in `canonical`, and its reader to `objects` if it
holds others; to add a way to define a function or to carry messages, extend `signature` or `chat`.
"""
