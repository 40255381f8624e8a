"""What the engines' objects are called and look like: all names the analysis goes by, as data.

Each table says what its entries mean; each entry has its reason. Nothing else in this package
knows a class, an edge or a file of an engine by name.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """One name (or the start of one) and why it is treated so."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Part:
    """What holds a part of itself under a label; `named`: by further names, such as events."""

    kind: str
    named: bool
    reason: str


# Node types that stand between a container and what it holds: a growing Map swaps its table for a
# larger one, and nobody who looks for a leak wants to hear of the table.
SEE_THROUGH_TYPES = (
    Rule("array", "backing stores: elements, properties, hash tables"),
    Rule("hidden", "V8's own small parts: weak cells, property cells, fixed arrays"),
    Rule("object shape", "hidden classes, from Node 20 on"),
)
# Objects of JavaScript type that are the engine's own parts all the same.
SEE_THROUGH_NAMES = (
    Rule("system / ", "parts of V8 that carry the type of an object"),
    Rule("Node / ", "Node's C++ halves of objects"),
    Rule("cell", "CPython: a variable shared with a closure"),
    Rule("builtin_function_or_method", "CPython: a method of a C object, bound to it"),
)
# Nodes of a see-through type or name that people do meet.
SOLID_NAMES = (
    Rule("system / Context", "the variables of a function that its closures share"),
    Rule("system / PromiseReaction", "one wait (`await`, `then`) on a promise that is not settled"),
)
# What the engine makes while a program warms up; growth of it is not the program's.
NOISE_TYPES = (
    Rule("code", "functions' code, feedback, scripts, inline caches"),
    Rule("synthetic", "the roots that the snapshot writer makes up"),
)
NOISE_NAMES = (
    Rule("system / NativeContext", "a realm's own objects: prototypes, builtins, string caches"),
    Rule("system / WeakCell", "an entry of a FinalizationRegistry or WeakRef, of the engine"),
    Rule("WeakCell", "the same in other versions of Node"),
    Rule("weakref.ReferenceType", "CPython: holds nothing; it follows what it refers to"),
    Rule("weakref", "CPython: its name up to 3.10"),
    Rule("weakref.KeyedRef", "CPython: the same in a WeakValueDictionary"),
    Rule("asyncio.events.Handle", "CPython: a call in a loop's next turn, which takes them all"),
    Rule("getset_descriptor", "CPython: made with its type"),
    Rule("member_descriptor", "CPython: made with its type"),
    Rule("wrapper_descriptor", "CPython: made with its type"),
    Rule("method_descriptor", "CPython: made with its type"),
    Rule("frozen_importlib.ModuleSpec", "CPython: made with a module"),
    Rule("_frozen_importlib.ModuleSpec", "CPython: made with a module"),
    Rule("_frozen_importlib_external.SourceFileLoader", "CPython: made with a module"),
)
# What may hold a leak but is none itself.
HOLDERS_ONLY = (
    Rule("module", "CPython: more of them are an import, not a leak"),
    Rule("(Global handles)", "objects that C++ code has pinned"),
    Rule("(Traced handles)", "objects that C++ code has pinned for a tracing collector"),
)

# Classes that chains are not told by: they nest in one another everywhere.
NEVER_CHAINS = (
    Rule("Object", "plain objects nest; they chain by the name of the link instead"),
    Rule("Array", "arrays in arrays are a table, not a chain"),
    Rule("Map", "maps in maps are an index"),
    Rule("Set", "sets in sets are an index"),
    Rule("Function", "closures nest by scope"),
    Rule("system / Context", "contexts nest by scope"),
    Rule("Promise", "promises that wait for one another end together"),
    Rule("dict", "dicts nest as data"),
    Rule("list", "lists nest as data"),
    Rule("tuple", "tuples nest as data"),
    Rule("set", "sets nest as data"),
    Rule("function", "functions nest by scope"),
    Rule("type", "classes hold one another as bases"),
)
CHAIN_BY_LABEL = (
    Rule("Object", "`{value, next}`: a list made of plain objects"),
    Rule("dict", "`{'value': …, 'next': …}`"),
    Rule("tuple", "a list of pairs, as in Lisp"),
)

# Classes of texts: an object changes from one to another while it lives.
TEXT = "(string)"
TEXTS = ("(string)", "(concatenated string)", "(sliced string)")

# How a container is called, by the class of the object that holds; the first that fits.
KINDS = {
    "Map": "Map",
    "Set": "Set",
    "Array": "Array",
    "Object": "Object",
    "Promise": "Promise",
    "WeakMap": "WeakMap",
    "WeakSet": "WeakSet",
    "TimersList": "timers",
    "Immediate": "timers",
    "ImmediateList": "timers",
    "PriorityQueue": "timers",
    "Function": "Function",
    "system / Context": "closure variables",
    "(Global handles)": "native handles",
    "(Traced handles)": "native handles",
    "list": "list",
    "dict": "dict",
    "collections.defaultdict": "dict",
    "collections.OrderedDict": "dict",
    "collections.Counter": "dict",
    "set": "set",
    "frozenset": "set",
    "tuple": "tuple",
    "collections.deque": "deque",
    "type": "class",
    "module": "module",
    "function": "function",
    "_contextvars.Context": "context variables",
}
# A container that is a part of an object of one of these classes is called by that object.
WHOLES = {
    "functools._lru_cache_wrapper": "lru_cache",
    "weakref.WeakKeyDictionary": "WeakKeyDictionary",
    "weakref.WeakValueDictionary": "WeakValueDictionary",
    "weakref.WeakSet": "WeakSet",
    "queue.Queue": "queue",
    "queue.SimpleQueue": "queue",
    "asyncio.queues.Queue": "asyncio queue",
    "asyncio.locks.Event": "asyncio waiters",
    "asyncio.locks.Condition": "asyncio waiters",
    "asyncio.locks.Lock": "asyncio waiters",
    "asyncio.locks.Semaphore": "asyncio waiters",
}
# A container that is a part of a larger one by the label under which the larger one holds it.
PARTS = {
    "_events": Part("EventEmitter", True, "listeners of an EventEmitter by event"),
    "<symbol kEvents>": Part("EventTarget", False, "listeners of an EventTarget, in chains"),
    "<symbol events.kEvents>": Part("EventTarget", False, "the same in other versions of Node"),
}
CHAIN_KIND = "linked list"
CHAINS_OF_THEIR_OWN = ("Promise", "TimersList")  # chains that have a better name than that

# Edges a path never takes: they lead from anything to its class and from there to everywhere.
PATH_NEVER = (
    Rule("__proto__", "an object's prototype"),
    Rule("constructor", "a prototype's class"),
    Rule("map", "V8's hidden class"),
    Rule("__class__", "CPython: an object's type"),
    Rule("__mro__", "CPython: the bases of a class"),
    Rule("__bases__", "CPython: the bases of a class"),
    Rule("__base__", "CPython: the base of a class"),
    Rule("__globals__", "CPython: from a function to its whole module"),
    Rule("__builtins__", "CPython: from a module to the builtins"),
    Rule("f_globals", "CPython: from a frame to its module"),
    Rule("native_context", "V8: the realm"),
)
# Labels that words leave out: the reader knows that an object has a `__dict__`.
SILENT_LABELS = ("__dict__", "table", "elements", "properties", "ref", "reactions_or_result")

# Labels that lead from a function's shared part to the constants of its code.
CODE_LABELS = ("function_data", "trusted_function_data", "instruction_stream", "interpreter_data")
BYTECODE = "system / BytecodeArray"  # a function that has it is compiled
# Parts of a function's code that name its own variables, not those that it uses.
NO_CODE = ("system / ScopeInfo", "system / FeedbackMetadata", "system / FeedbackVector")
# Methods that put something into a container, by its kind.
ADDERS = {
    "Map": ("set",),
    "WeakMap": ("set",),
    "Set": ("add",),
    "Array": ("push", "unshift", "splice", "concat"),
    "EventEmitter": ("on", "once", "addListener", "prependListener"),
    "EventTarget": ("addEventListener",),
    "Promise": ("then", "finally"),
    "timers": ("setTimeout", "setInterval", "setImmediate"),
}
# Methods that take something out of a container, by its kind: where code names such a one together
# with the container, two snapshots cannot tell a leak from a bound that is not reached yet.
REMOVERS = {
    "Map": ("delete", "clear"),
    "Set": ("delete", "clear"),
    "Array": ("pop", "shift", "splice"),
}
# Parts of containers that are only there where the container has a bound.
BOUNDED_PARTS = {
    "functools._lru_list_elem": "an lru_cache with a maxsize lets go when it is full",
}

# Classes whose objects stand for a function that has begun and not ended.
RUNNING = {
    "Generator": "async function or generator",
    "AsyncGenerator": "async generator",
    "AsyncFunctionObject": "async function",
}
# What the words in a function's code weigh when the one that fills a container is looked for.
WORD_WEIGHTS = {"container": 3, "adder": 2, "key": 1}

# Scripts of the engine itself: growth located there is shown, but never as the place to look at.
STANDARD_LIBRARY = re.compile(r"/lib(64)?/python3\.\d+/")  # CPython's, where it is installed
ENGINE_SCRIPTS = ("node:", "internal/", "evalmachine.", "<frozen ", "extensions::")


@dataclass(frozen=True, slots=True)
class Limits:
    """The figures of judgement, in one place.

    Attributes:
        min_new: fewer new objects under a holder are not growth but chance.
        min_base: with so many objects kept since the first snapshot, two snapshots can show that
            nothing is ever let go; with fewer they cannot tell a leak from filling up once.
        few_new: fewer new objects than `min_new` are looked at if they are so heavy, bytes.
        churn: this share of a holder's objects gone between two snapshots is turnover.
        leaky: up to this share gone still looks like nothing is let go.
        levelled: net growth of the last interval below this share of the one before, with
            objects going that did not go before, is a bound that was reached.
        settled: fewer new in the last interval than this share of all new: it has stopped.
        told: of objects whose ids are addresses, so large a share must have values that tell them
            apart.
        rollup: so many containers alike under one holder are one container spread out.
        few, small_share: so few new objects with so small a share of all that is new are not
            called a leak.
        shown: suspects in a report; more are counted.
        samples: object ids shown per suspect.
    """

    min_new: int = 10
    min_base: int = 10
    few_new: int = 3
    heavy_bytes: int = 1 << 20
    churn: float = 0.5
    leaky: float = 0.1
    levelled: float = 0.5
    settled: float = 0.05
    told: float = 0.5
    rollup: int = 8
    few: int = 50
    small_share: float = 0.01
    shown: int = 8
    samples: int = 3


LIMITS = Limits()
