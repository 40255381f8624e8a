"""Makes machine code of the kernels of one module, with numba; nothing else imports numba.

Each kernel is compiled by itself, without numba's runtime: it can make no array and call no
Python. Then all are put into one LLVM module with an entry for each signature, which takes the
address of its arguments in slots of 64 bits, and that module becomes one object file.
"""

import os
import types
from types import ModuleType
from typing import Any

from memwatch_heap import _jit, _machine
from memwatch_heap._jit import Kernel, Signature

# All that an object may want from outside: what LLVM makes of loops that copy or clear.
_FROM_LIBC = {"memcpy", "memmove", "memset"}
# A division by zero gives 0 instead of an exception, and nothing is counted by references.
_OPTIONS = {"error_model": "numpy", "_nrt": False}


def compile_module(module: ModuleType, cpu: str, features: str) -> bytes:
    """The object file of a module's kernels for a CPU; its symbols are `Kernel.symbol`s."""
    # numba chooses the width of vectors when it optimises: let it not look at this machine alone
    os.environ.setdefault("NUMBA_CPU_NAME", cpu)
    os.environ.setdefault("NUMBA_CPU_FEATURES", features)
    import llvmlite.binding as llvm

    scope = _scope(module)
    linked = llvm.parse_assembly("")
    symbols = set()
    for kernel in _jit.registry[module.__name__]:
        for number, signature in enumerate(kernel.signatures):
            for text in _assembly(kernel, number, signature, scope):
                part = llvm.parse_assembly(text)
                part.verify()
                linked.link_in(part)
            symbols.add(kernel.symbol(number))
    for function in linked.functions:
        if not function.is_declaration and function.name not in symbols:
            function.linkage = "internal"
    return _emit(linked, module.__name__, cpu, features)


def _emit(linked: Any, name: str, cpu: str, features: str) -> bytes:
    """Optimises the module once more (kernels go into their entries) and emits it."""
    import llvmlite.binding as llvm

    target = llvm.Target.from_triple(llvm.get_process_triple())
    machine = target.create_target_machine(
        cpu=cpu, features=features, opt=3, reloc="pic", codemodel="default"
    )
    linked.triple = llvm.get_process_triple()
    linked.data_layout = str(machine.target_data)
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(3))
    builder.getModulePassManager().run(linked, builder)
    wanted = {
        function.name
        for function in linked.functions
        if function.is_declaration and not function.name.startswith("llvm.")
    }
    if wanted - _FROM_LIBC:
        foreign = ", ".join(sorted(wanted - _FROM_LIBC))
        raise RuntimeError(f"cannot compile {name}: it calls {foreign}, which only numba has")
    emitted: bytes = machine.emit_object(linked)
    return emitted


def _scope(module: ModuleType) -> dict[str, Any]:
    """The names that the kernels of a module see: its own, its helpers ready for numba."""
    import numba

    instructions = _instructions()
    scope = dict(vars(module))
    for name, value in vars(module).items():
        if getattr(value, "__module__", "") == _machine.__name__:
            scope[name] = instructions[value.__name__]
    njit: Any = numba.njit
    inlined = njit(forceinline=True, **_OPTIONS)
    for function in _jit.helpers.get(module.__name__, ()):
        scope[function.__name__] = inlined(types.FunctionType(function.__code__, scope))
    return scope


def _instructions() -> dict[str, Any]:
    """By the names of `_machine`: the instructions themselves."""
    from llvmlite import ir
    from numba import types as kinds
    from numba.extending import intrinsic

    def word(context, address):  # type: ignore[no-untyped-def]
        def build(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            wide = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
            return builder.load(wide, align=1)

        return kinds.uint64(kinds.int64), build

    def byte(context, address):  # type: ignore[no-untyped-def]
        def build(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            narrow = builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())
            return builder.zext(builder.load(narrow), ir.IntType(64))

        return kinds.int64(kinds.int64), build

    def no_digits(context, address):  # type: ignore[no-untyped-def]
        def build(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            return _mask(builder, arguments[0], 64)

        return kinds.uint64(kinds.int64), build

    def no_digits_32(context, address):  # type: ignore[no-untyped-def]
        def build(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            return _mask(builder, arguments[0], 32)

        return kinds.uint64(kinds.int64), build

    def zeros_below(context, number):  # type: ignore[no-untyped-def]
        def build(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

        return kinds.int64(kinds.uint64), build

    return {
        function.__name__: intrinsic(function)
        for function in (word, byte, no_digits, no_digits_32, zeros_below)
    }


def _mask(builder: Any, address: Any, count: int) -> Any:
    """Code for a number whose bit k is set where byte k at an address is no digit."""
    from llvmlite import ir

    row = ir.VectorType(ir.IntType(8), 16)  # as wide as any 64-bit machine has them
    zero, nine = (ir.Constant(row, [value] * 16) for value in (48, 9))
    found = ir.Constant(ir.IntType(64), 0)
    for at in range(0, count, 16):
        place = builder.add(address, ir.Constant(ir.IntType(64), at))
        text = builder.load(builder.inttoptr(place, row.as_pointer()), align=1)
        bits = builder.icmp_unsigned(">", builder.sub(text, zero), nine)
        part = builder.zext(builder.bitcast(bits, ir.IntType(16)), ir.IntType(64))
        found = builder.or_(found, builder.shl(part, ir.Constant(ir.IntType(64), at)))
    return found


def _assembly(
    kernel: Kernel, number: int, signature: Signature, scope: dict[str, Any]
) -> tuple[str, str]:
    """The LLVM assembly of a kernel for a signature, and that of its entry."""
    import numba
    from numba import types as kinds

    given = tuple(
        kinds.Array(getattr(kinds, kind[:-2]), 1, "C") if kind.endswith("[]") else kinds.int64
        for kind in signature.arguments
    )
    result = kinds.int64 if signature.returns else kinds.void
    njit: Any = numba.njit
    bare = njit([result(*given)], no_cpython_wrapper=True, no_cfunc_wrapper=True, **_OPTIONS)
    compiled = bare(types.FunctionType(kernel.function.__code__, scope))
    found = compiled.overloads[given]
    entry = _entry(found, kernel.symbol(number), given, result)
    return found.library.get_llvm_str(), entry


def _entry(compiled: Any, symbol: str, given: tuple[Any, ...], result: Any) -> str:
    """A function of one pointer that unpacks the slots and calls a compiled kernel."""
    from llvmlite import ir
    from numba.core import types as kinds
    from numba.np import arrayobj

    making: Any = arrayobj
    context = compiled.target_context
    module = context.create_module(symbol)
    slot = ir.IntType(64)
    entry = ir.Function(module, ir.FunctionType(slot, [slot.as_pointer()]), symbol)
    builder = ir.IRBuilder(entry.append_basic_block("entry"))
    at = 0

    def take() -> Any:
        nonlocal at
        at += 1
        return builder.load(builder.gep(entry.args[0], [ir.Constant(slot, at - 1)]))

    arguments = []
    for kind in given:
        if not isinstance(kind, kinds.Array):
            arguments.append(take())
            continue
        array = making.make_array(kind)(context, builder)
        data = builder.inttoptr(take(), context.get_data_type(kind.dtype).as_pointer())
        step = ir.Constant(slot, context.get_abi_sizeof(context.get_data_type(kind.dtype)))
        making.populate_array(array, data, [take()], [step], step, None)
        arguments.append(array._getvalue())
    target = context.declare_function(module, compiled.fndesc)
    _, value = context.call_conv.call_function(builder, target, result, given, arguments)
    builder.ret(value if result == kinds.int64 else ir.Constant(slot, 0))
    return str(module)
