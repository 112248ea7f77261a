"""Hugging Face models in this process, behind a DSPy engine: `tale_dspy.LM("local:PATH[+ADAPTER]")`.

    names     what a model string points to
    files     which folders are taken, checked before anything is loaded; hashes of what they hold
    weights   a folder -> a model and its tokenizer, one per process
    columns   keys and values of the rows that are being written
    decoders  one step of a model over these rows: any model, and a shorter way for small plain Llamas
    requests  a DSPy request -> tokens and settings; how a reply ends
    sampling  the next token of each row
    batch     rows that come and go while others are written
    worker    the thread that does it
    draws     which of several draws of one request a call asks for
    engine    what DSPy sees

Nothing here loads torch before the first call. A model of a few million parameters writes with one thread of PyTorch,
others with as many as PyTorch takes; nothing of it is set for the rest of the process.
"""
