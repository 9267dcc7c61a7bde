"""Functions in LLVM's intermediate language: vectors of 16 float32, loops, and blocks of work taken in turns.

llvmlite, which numba brings along, compiles them for this machine's CPU in some milliseconds. They are written out,
as what numba makes of the same loops in Python does not use vector registers: it cannot know that the arrays do not
overlap. bfloat16 is the upper half of a float32, so loading is a shift; storing rounds to the nearest even.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from llvmlite import binding, ir

LANES = 16
INT = ir.IntType(64)
FLOAT = ir.FloatType()
DOUBLE = ir.DoubleType()
FLOATS = ir.VectorType(FLOAT, LANES)
_DOUBLES = ir.VectorType(DOUBLE, LANES)
_BITS = ir.VectorType(ir.IntType(32), LANES)
_HALVES = ir.VectorType(ir.IntType(16), LANES)
# a * b + c in one instruction, rounded once.
_FUSED = ("contract",)


class VectorCode:
    """A function of one argument, the address of an int64 array, in the making.

    Args:
        name: Name of the function.
        names: Names of the elements of the array. The first is the counter that threads share.
        half: Element type of the tensors: True for bfloat16, False for float32.
    """

    def __init__(self, name: str, names: Sequence[str], half: bool):
        self.module = ir.Module(name)
        self.name, self.half = name, half
        kind = ir.FunctionType(ir.VoidType(), [INT.as_pointer()])
        self.function = ir.Function(self.module, kind, name)
        self.builder = ir.IRBuilder(self.function.append_basic_block("entry"))
        (self._args,) = self.function.args
        self.args = {key: self.builder.load(self.place(index)) for index, key in enumerate(names)}

    def place(self, index: int) -> Any:
        return self.builder.gep(self._args, [INT(index)])

    # Whole numbers.

    def plus(self, *terms: Any) -> Any:
        first, *rest = (self.whole(term) for term in terms)
        for term in rest:
            first = self.builder.add(first, term)
        return first

    def times(self, *factors: Any) -> Any:
        first, *rest = (self.whole(factor) for factor in factors)
        for factor in rest:
            first = self.builder.mul(first, factor)
        return first

    def smaller(self, a: Any, b: Any) -> Any:
        return self.builder.select(self.builder.icmp_signed("<", a, b), a, b)

    @staticmethod
    def whole(value: Any) -> Any:
        return INT(value) if isinstance(value, int) else value

    @contextmanager
    def loop(self, start: Any, stop: Any, step: int = 1) -> Iterator[Any]:
        """Loop over start, start + step, ... below stop; yield the index."""
        builder, start, stop = self.builder, self.whole(start), self.whole(stop)
        before = builder.block
        body, after = builder.append_basic_block("body"), builder.append_basic_block("after")
        builder.cbranch(builder.icmp_signed("<", start, stop), body, after)
        builder.position_at_end(body)
        index = builder.phi(INT)
        index.add_incoming(start, before)
        yield index
        following = builder.add(index, INT(step))
        index.add_incoming(following, builder.block)
        builder.cbranch(builder.icmp_signed("<", following, stop), body, after)
        builder.position_at_end(after)

    @contextmanager
    def blocks(self, count: Any) -> Iterator[Any]:
        """Take blocks of work from the shared counter until all ``count`` are taken; yield the block's number."""
        builder = self.builder
        turn, body, after = (builder.append_basic_block(name) for name in ("turn", "body", "after"))
        builder.branch(turn)
        builder.position_at_end(turn)
        block = builder.atomic_rmw("add", self.place(0), INT(1), "monotonic")
        builder.cbranch(builder.icmp_signed("<", block, count), body, after)
        builder.position_at_end(body)
        yield block
        builder.branch(turn)
        builder.position_at_end(after)

    # Vectors.

    def variable(self, value: Any = None) -> Any:
        """Return a place for a vector, which optimisation keeps in a register."""
        with self.builder.goto_entry_block():
            place = self.builder.alloca(FLOATS)
        self.builder.store(self.constant(0.0) if value is None else value, place)
        return place

    @staticmethod
    def constant(value: float) -> Any:
        return ir.Constant(FLOATS, [ir.Constant(FLOAT, value)] * LANES)

    def get(self, variable: Any) -> Any:
        return self.builder.load(variable)

    def set(self, variable: Any, value: Any) -> None:
        self.builder.store(value, variable)

    def fused(self, a: Any, b: Any, c: Any) -> Any:
        """Return a * b + c."""
        return self.builder.fadd(self.builder.fmul(a, b, flags=_FUSED), c, flags=_FUSED)

    def minus(self, a: Any, b: Any) -> Any:
        return self.builder.fsub(a, b, flags=_FUSED)

    def product(self, a: Any, b: Any) -> Any:
        return self.builder.fmul(a, b, flags=_FUSED)

    def total(self, a: Any, b: Any) -> Any:
        return self.builder.fadd(a, b, flags=_FUSED)

    def clipped(self, value: Any, low: float | None, high: float | None) -> Any:
        """Return a vector within bounds; NaN stays NaN."""
        for bound, sign in ((low, "<"), (high, ">")):
            if bound is not None:
                limit = self.constant(bound)
                value = self.builder.select(self.builder.fcmp_ordered(sign, value, limit), limit, value)
        return value

    def inside(self, value: Any, tested: Any, low: float | None, high: float | None) -> Any:
        """Return a vector, 0 where the tested one is at a bound or beyond; where that is NaN, the vector stays."""
        for bound, sign in ((low, "<="), (high, ">=")):
            if bound is not None:
                beyond = self.builder.fcmp_ordered(sign, tested, self.constant(bound))
                value = self.builder.select(beyond, self.constant(0.0), value)
        return value

    def sigmoid(self, value: Any) -> Any:
        """Return 1 / (1 + exp(-value)), within two units in the last place of float32; NaN stays NaN.

        exp(-x) = 2^n exp(r): n is the nearest whole number to -x / ln 2, which leaves r from -0.35 to 0.35 for a
        polynomial. Adding 1.5 * 2^23 to a float32 rounds it, and its last bits are the whole number.
        """
        builder, shifter = self.builder, self.constant(1.5 * 2**23)
        x = self.clipped(self.product(value, self.constant(-1.0)), -87.0, 88.0)
        shifted = self.fused(x, self.constant(1 / math.log(2)), shifter)
        whole = builder.fsub(shifted, shifter)
        # ln 2 in two parts, of which the first times n is exact.
        r = self.fused(whole, self.constant(-0.693359375), x)
        r = self.fused(whole, self.constant(0.693359375 - math.log(2)), r)
        power = self.constant(1 / math.factorial(7))
        for term in range(6, -1, -1):
            power = self.fused(power, r, self.constant(1 / math.factorial(term)))
        exponent = builder.shl(builder.bitcast(shifted, _BITS), _all_bits(23))
        power = builder.bitcast(builder.add(builder.bitcast(power, _BITS), exponent), FLOATS)
        result = builder.fdiv(self.constant(1.0), self.total(self.constant(1.0), power))
        return builder.select(builder.fcmp_unordered("uno", value, value), value, result)

    def floats(self, address: Any, index: Any) -> Any:
        """Return 16 float32 from the array at an address."""
        return self.builder.load(self._pointer(address, index, FLOAT, FLOATS), align=4)

    def set_floats(self, address: Any, index: Any, value: Any) -> None:
        self.builder.store(value, self._pointer(address, index, FLOAT, FLOATS), align=4)

    def elements(self, address: Any, index: Any) -> Any:
        """Return 16 elements of the tensor at an address, as float32."""
        if not self.half:
            return self.floats(address, index)
        halves = self.builder.load(self._pointer(address, index, ir.IntType(16), _HALVES), align=2)
        wide = self.builder.shl(self.builder.zext(halves, _BITS), _all_bits(16))
        return self.builder.bitcast(wide, FLOATS)

    def set_elements(self, address: Any, index: Any, value: Any) -> None:
        """Write 16 float32 to the tensor at an address."""
        if not self.half:
            self.set_floats(address, index, value)
            return
        builder = self.builder
        bits = builder.bitcast(value, _BITS)
        odd = builder.and_(builder.lshr(bits, _all_bits(16)), _all_bits(1))
        rounded = builder.add(bits, builder.add(odd, _all_bits(0x7FFF)))
        # NaN, whose last bits may be set, must not round up to another number.
        rounded = builder.select(builder.fcmp_unordered("uno", value, value), _all_bits(0x7FC00000), rounded)
        halves = builder.trunc(builder.lshr(rounded, _all_bits(16)), _HALVES)
        builder.store(halves, self._pointer(address, index, ir.IntType(16), _HALVES), align=2)

    # Single numbers, in float64.

    def element(self, address: Any, index: Any) -> Any:
        """Return an element of the tensor at an address, as float32."""
        if not self.half:
            return self.builder.load(self._pointer(address, index, FLOAT, FLOAT), align=4)
        half = self.builder.load(self._pointer(address, index, ir.IntType(16), ir.IntType(16)), align=2)
        wide = self.builder.shl(self.builder.zext(half, ir.IntType(32)), ir.IntType(32)(16))
        return self.builder.bitcast(wide, FLOAT)

    def number(self, address: Any, index: Any, kind: Any = FLOAT) -> Any:
        """Return a float32 (or float64) from the array at an address, as float64."""
        value = self.builder.load(self._pointer(address, index, kind, kind), align=4)
        return value if kind is DOUBLE else self.builder.fpext(value, DOUBLE)

    def set_number(self, address: Any, index: Any, value: Any, kind: Any = FLOAT) -> None:
        """Write a float32 or float64 to a float32 (or float64) array."""
        if kind is FLOAT and value.type is DOUBLE:
            value = self.builder.fptrunc(value, FLOAT)
        self.builder.store(value, self._pointer(address, index, kind, kind), align=4)

    def sum_of(self, values: Callable[[Any], Any], count: Any) -> Any:
        """Return the sum of ``values(index)`` over indices below ``count``, float64."""
        with self.builder.goto_entry_block():
            place = self.builder.alloca(DOUBLE)
        self.builder.store(DOUBLE(0.0), place)
        with self.loop(0, count) as index:
            self.builder.store(self.builder.fadd(self.builder.load(place), values(index)), place)
        return self.builder.load(place)

    def add_rows(self, source: Any, target: Any, rows: Any, columns: Any) -> None:
        """Write the sums of the rows of a float32 array to a float64 one; the columns are a multiple of 16."""
        builder = self.builder
        with builder.goto_entry_block():
            place = builder.alloca(_DOUBLES)
        with self.loop(0, columns, LANES) as column:
            builder.store(ir.Constant(_DOUBLES, [ir.Constant(DOUBLE, 0.0)] * LANES), place)
            with self.loop(0, rows) as row:
                values = self.floats(source, self.plus(self.times(row, columns), column))
                builder.store(builder.fadd(builder.load(place), builder.fpext(values, _DOUBLES)), place)
            builder.store(builder.load(place), self._pointer(target, column, DOUBLE, _DOUBLES), align=8)

    def as_double(self, name: str) -> Any:
        """Return an argument that holds the bits of a float64."""
        return self.builder.bitcast(self.args[name], DOUBLE)

    def _pointer(self, address: Any, index: Any, element: Any, kind: Any) -> Any:
        start = self.builder.inttoptr(address, element.as_pointer())
        return self.builder.bitcast(self.builder.gep(start, [self.whole(index)]), kind.as_pointer())

    def finish(self) -> str:
        """End the function; return its text."""
        self.builder.ret_void()
        return str(self.module)


def _all_bits(value: int) -> Any:
    return ir.Constant(_BITS, [ir.Constant(ir.IntType(32), value)] * LANES)


class Compiled:
    """A function compiled for this CPU.

    Args:
        code: A function in the making; it ends here.
    """

    def __init__(self, code: VectorCode):
        for part in ("target", "asmprinter"):
            getattr(binding, f"initialize_native_{part}")()
        module = binding.parse_assembly(code.finish())
        module.verify()
        target = binding.Target.from_default_triple()
        features = binding.get_host_cpu_features().flatten()
        machine = target.create_target_machine(binding.get_host_cpu_name(), features, opt=3, jit=True)
        options = binding.create_pipeline_tuning_options(speed_level=3)
        binding.create_pass_builder(machine, options).getModulePassManager().run(
            module, binding.create_pass_builder(machine, options)
        )
        # The engine owns the machine code, so it must live as long as this object.
        self._engine = binding.create_mcjit_compiler(module, machine)
        self._engine.finalize_object()
        self.address: int = self._engine.get_function_address(code.name)
