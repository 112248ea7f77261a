"""Hugging Face models in this process, behind a DSPy engine.

They are opened with `tale_dspy.LM("local:PATH[+ADAPTER]")`.

    model_path        what a model string points to
    files             which folders are taken, checked before anything is loaded; hashes of what they hold
    weights           a folder -> a model, its tokenizer and its adapters
    shared_model      one model per process for all that use it; rows that fit into memory
    chat_template     messages -> the text a model is given; training takes it from here, too
    prompt_tokenizer  a DSPy request -> tokens and settings; how a reply ends
    kv_cache          keys and values of the rows that are being written
    prefixes          first tokens that prompts share
    decoders          one step of a model over these rows: any model, and a shorter way for small plain Llamas
    sampling          the next token of each row
    batch             rows that come and go while others are written
    threads           how many threads of PyTorch a step takes
    worker            the thread that writes
    sample_request    which of several samples of one request a call stands for
    engine            what DSPy sees

Nothing here loads torch before the first call. A model of a few million parameters is written with one thread of
PyTorch, others with the number that is quickest; nothing of it is set for the rest of the process.
"""
