# SPDX-License-Identifier: MIT
"""dialog.py LIBRARY MODEL: a dialog, a grammar and an error through ctypes, with nothing but the standard library."""
import ctypes
import json
import sys
from ctypes import POINTER, byref, c_char_p, c_float, c_int32, c_int64, c_uint32, c_uint64, c_void_p

library = ctypes.CDLL(sys.argv[1])
message = ctypes.create_string_buffer(512)


class Sampling(ctypes.Structure):
    _fields_ = ([("struct_size", c_uint32), ("is_advised", c_int32), ("seed", c_uint64)] +
                [(name, c_float) for name in ("temperature", "top_p", "min_p", "typical_p", "repeat_penalty",
                                              "presence_penalty", "frequency_penalty")] +
                [(name, c_uint32) for name in ("top_k", "penalty_window", "reserved")])


class ConversationOptions(ctypes.Structure):
    _fields_ = [("struct_size", c_uint32), ("context", c_uint32), ("threads", c_uint32), ("answer_limit", c_uint32),
                ("when_full", c_int32), ("thinking", c_int32), ("show_thoughts", c_int32), ("stop_count", c_uint32),
                ("stop_texts", POINTER(c_char_p)), ("system", c_char_p), ("chat_format", c_char_p),
                ("sampling", POINTER(Sampling)), ("pages", c_void_p), ("tools", c_void_p),
                ("jobs", c_void_p)]


# Python passes int as 32 bits and cuts pointers unless it is told what a function takes.
library.bitnet_model_open.argtypes = [c_char_p, c_int64, c_void_p, POINTER(c_void_p), c_char_p, c_uint32]
library.bitnet_model_close.argtypes = [c_void_p]
library.bitnet_conversation_open.argtypes = [c_void_p, POINTER(ConversationOptions), POINTER(c_void_p), c_char_p,
                                             c_uint32]
library.bitnet_conversation_close.argtypes = [c_void_p]
library.bitnet_conversation_say.argtypes = [c_void_p, c_char_p, c_int64]
library.bitnet_conversation_step.argtypes = [c_void_p, c_uint64, POINTER(c_int32)]
library.bitnet_conversation_take_text.argtypes = [c_void_p, POINTER(c_void_p), POINTER(c_uint64)]
library.bitnet_conversation_constrain.argtypes = [c_void_p, c_void_p]
library.bitnet_grammar_open.argtypes = [c_int32, c_char_p, c_int64, POINTER(c_void_p), c_char_p, c_uint32]
library.bitnet_grammar_close.argtypes = [c_void_p]
library.bitnet_conversation_error.argtypes = [c_void_p]
library.bitnet_conversation_error.restype = c_char_p
library.bitnet_code_name.restype = c_char_p


def check(code):
    if code != 0:
        sys.exit(f"{library.bitnet_code_name(code).decode()}: {message.value.decode()}")


def answer(talk, question):
    check(library.bitnet_conversation_say(talk, question.encode(), -1))
    state, text, size, out = c_int32(1), c_void_p(), c_uint64(), b""
    while state.value != 0:
        check(library.bitnet_conversation_step(talk, 5000, byref(state)))
        check(library.bitnet_conversation_take_text(talk, byref(text), byref(size)))
        out += ctypes.string_at(text, size.value)
    return out.decode()


model, talk, grammar = c_void_p(), c_void_p(), c_void_p()
check(library.bitnet_model_open(sys.argv[2].encode(), -1, None, byref(model), message, 512))
options = ConversationOptions()
check(library.bitnet_conversation_options_init(byref(options)))
assert options.struct_size == ctypes.sizeof(ConversationOptions)
sampling = Sampling()
check(library.bitnet_sampling_init(byref(sampling)))
assert sampling.struct_size == ctypes.sizeof(Sampling)
sampling.seed = 1
options.context, options.threads, options.answer_limit = 512, 1, 32
options.chat_format, options.system, options.sampling = b"llama3", b"You tell stories.", ctypes.pointer(sampling)
check(library.bitnet_conversation_open(model, byref(options), byref(talk), message, 512))
library.bitnet_model_close(model)  # the conversation keeps it
assert answer(talk, "Who lived in the castle?")

schema = {"type": "object", "properties": {"name": {"enum": ["Ann", "Bob"]}}, "required": ["name"],
          "additionalProperties": False}
check(library.bitnet_grammar_open(1, json.dumps(schema).encode(), -1, byref(grammar), message, 512))
check(library.bitnet_conversation_constrain(talk, grammar))
library.bitnet_grammar_close(grammar)
said = answer(talk, "Who?")
assert json.loads(said)["name"] in ("Ann", "Bob"), said

assert library.bitnet_conversation_edit(talk, 77, b"x", c_int64(1)) == -1
assert b"77" in library.bitnet_conversation_error(talk)
library.bitnet_conversation_close(talk)
print("a dialog from Python:", said)
