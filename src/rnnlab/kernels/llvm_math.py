"""Element-wise operations of vectors in LLVM's language.

Numbers that are not a number stay so: a minimum or maximum is chosen by a comparison that is false for them.
"""

from collections.abc import Iterable

from rnnlab.kernels.llvm_text import Text

LIBRARY = {
    name: name for name in "sin cos tan asin acos atan sinh cosh erf erfc expm1 exp2 log2 log10 pow atan2".split()
}
"""Element-wise operations that C's library has: slower, one number after the other."""


def _clamp(t: Text, x: str, low: float, high: float, n: int) -> str:
    x = t.select("olt", x, t.splat(low, n), t.splat(low, n), x, n)
    return t.select("ogt", x, t.splat(high, n), t.splat(high, n), x, n)


def _polynomial(t: Text, x: str, coefficients: Iterable[float], n: int) -> str:
    first, *others = coefficients
    total = t.splat(first, n)
    for coefficient in others:
        total = t.call("fma", n, total, x, t.splat(coefficient, n))
    return total


def _exp(t: Text, x: str, n: int) -> str:
    single = t.real == "float"
    low, high = (-87.3, 88.72) if single else (-708.0, 709.78)
    c = _clamp(t, x, low, high, n)
    k = t.call("rint", n, t.arithmetic("fmul", c, t.splat(1.4426950408889634, n), n))
    # log 2 in two parts, the first with so few digits that its product with k is exact
    parts = (0.693359375, -2.12194440e-4) if single else (0.6931471803691238, 1.9082149292705877e-10)
    rest = c
    for part in parts:
        rest = t.call("fma", n, k, t.splat(-part, n), rest)
    if single:
        powers = [1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1]
    else:
        powers, factorial = [], 1.0
        for number in range(1, 14):
            factorial *= number
            powers.insert(0, 1 / factorial)
        powers = powers[:-1]
    p = _polynomial(t, rest, powers, n)
    p = t.call("fma", n, p, t.arithmetic("fmul", rest, rest, n), rest)
    p = t.arithmetic("fadd", p, t.splat(1.0, n), n)
    # 2^k in two halves, since that of the largest k is no number of its own
    bias, shift = (127, 23) if single else (1023, 52)
    kind = f"<{n} x {t.integer}>"
    exponent = t.op(f"fptosi {t.vector(n)} {k} to {kind}")
    half = t.op(f"ashr {kind} {exponent}, {t.integers(1, n)}")
    made = p
    for piece in (half, t.op(f"sub {kind} {exponent}, {half}")):
        power = t.op(f"add {kind} {piece}, {t.integers(bias, n)}")
        power = t.op(f"shl {kind} {power}, {t.integers(shift, n)}")
        made = t.arithmetic("fmul", made, t.op(f"bitcast {kind} {power} to {t.vector(n)}"), n)
    made = t.select("olt", x, t.splat(low, n), t.splat(0.0, n), made, n)
    return t.select("ogt", x, t.splat(high, n), t.splat(float("inf"), n), made, n)


def _tanh(t: Text, x: str, n: int) -> str:
    if t.real == "double":
        # tanh |x| = (1 - e) / (1 + e), e = exp(-2 |x|); near 0 the series, where the difference loses digits
        size = t.call("fabs", n, x)
        e = _exp(t, t.arithmetic("fmul", size, t.splat(-2.0, n), n), n)
        one = t.splat(1.0, n)
        far = t.arithmetic("fdiv", t.arithmetic("fsub", one, e, n), t.arithmetic("fadd", one, e, n), n)
        square = t.arithmetic("fmul", size, size, n)
        series = [-929569 / 638512875, 21844 / 6081075, -1382 / 155925, 62 / 2835, -17 / 315, 2 / 15, -1 / 3, 1.0]
        near = t.arithmetic("fmul", size, _polynomial(t, square, series, n), n)
        made = t.select("olt", size, t.splat(0.06, n), near, far, n)
        return t.call("copysign", n, made, x)
    # a rational approximation, as in Eigen
    c = _clamp(t, x, -7.90531110763549805, 7.90531110763549805, n)
    s = t.arithmetic("fmul", c, c, n)
    above = [-2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08,
             1.48572235717979e-05, 6.37261928875436e-04, 4.89352455891786e-03]  # fmt: skip
    below = [1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03]
    p = t.arithmetic("fmul", _polynomial(t, s, above, n), c, n)
    return t.arithmetic("fdiv", p, _polynomial(t, s, below, n), n)


def _sigmoid(t: Text, x: str, n: int) -> str:
    if t.real == "double":
        e = t.arithmetic("fadd", _exp(t, t.op(f"fneg {t.vector(n)} {x}"), n), t.splat(1.0, n), n)
        return t.arithmetic("fdiv", t.splat(1.0, n), e, n)
    half = t.splat(0.5, n)
    return t.call("fma", n, _tanh(t, t.arithmetic("fmul", x, half, n), n), half, half)


def _log_of_normal(t: Text, x: str, n: int) -> str:
    kind = f"<{n} x {t.integer}>"
    mantissa, bias, shift = (0x7FFFFF, 127, 23) if t.real == "float" else ((1 << 52) - 1, 1023, 52)
    bits = t.op(f"bitcast {t.vector(n)} {x} to {kind}")
    e = t.op(f"lshr {kind} {bits}, {t.integers(shift, n)}")
    e = t.op(f"sub {kind} {e}, {t.integers(bias, n)}")
    e = t.op(f"sitofp {kind} {e} to {t.vector(n)}")
    m = t.op(f"and {kind} {bits}, {t.integers(mantissa, n)}")
    m = t.op(f"or {kind} {m}, {t.integers(bias << shift, n)}")
    m = t.op(f"bitcast {kind} {m} to {t.vector(n)}")
    root = t.splat(1.4142135623730951, n)
    halved, raised = t.arithmetic("fmul", m, t.splat(0.5, n), n), t.arithmetic("fadd", e, t.splat(1.0, n), n)
    e = t.select("ogt", m, root, raised, e, n)
    m = t.select("ogt", m, root, halved, m, n)
    one = t.splat(1.0, n)
    s = t.arithmetic("fdiv", t.arithmetic("fsub", m, one, n), t.arithmetic("fadd", m, one, n), n)
    z = t.arithmetic("fmul", s, s, n)
    terms = 5 if t.real == "float" else 11
    p = _polynomial(t, z, [2 / (2 * k + 1) for k in range(terms - 1, -1, -1)], n)
    return t.call("fma", n, e, t.splat(0.6931471805599453, n), t.arithmetic("fmul", p, s, n))


def _log_at_edges(t: Text, made: str, x: str, n: int) -> str:
    """0, negative numbers, infinity and what is no number."""
    made = t.select("oeq", x, t.splat(0.0, n), t.splat(-float("inf"), n), made, n)
    made = t.select("ult", x, t.splat(0.0, n), t.splat(float("nan"), n), made, n)
    return t.select("oeq", x, t.splat(float("inf"), n), x, made, n)


def _log(t: Text, x: str, n: int) -> str:
    # numbers too small to be normal are made larger first
    tiny, by, power = (1.1754944e-38, 2.0**25, 25) if t.real == "float" else (2.2250738585072014e-308, 2.0**54, 54)
    larger = t.arithmetic("fmul", x, t.splat(by, n), n)
    normal = t.select("olt", x, t.splat(tiny, n), larger, x, n)
    made = _log_of_normal(t, normal, n)
    less = t.arithmetic("fsub", made, t.splat(power * 0.6931471805599453, n), n)
    return _log_at_edges(t, t.select("olt", x, t.splat(tiny, n), less, made, n), x, n)


def _log1p(t: Text, x: str, n: int) -> str:
    one = t.splat(1.0, n)
    w = t.op(f"fadd {t.vector(n)} {x}, {one}")
    # log w, and what was lost in the sum
    lost = t.op(f"fsub {t.vector(n)} {w}, {one}")
    lost = t.op(f"fsub {t.vector(n)} {x}, {lost}")
    made = t.arithmetic("fadd", _log_of_normal(t, w, n), t.arithmetic("fdiv", lost, w, n), n)
    return _log_at_edges(t, made, w, n)


def _from_library(t: Text, op: str, args: list[str], n: int) -> str:
    name = LIBRARY[op] + ("f" if t.real == "float" else "")
    t.declared.add(f"declare {t.real} @{name}({', '.join([t.real] * len(args))})")
    made = "poison"
    for lane in range(n):
        parts = [t.op(f"extractelement {t.vector(n)} {arg}, i32 {lane}") for arg in args]
        value = t.op(f"call {t.real} @{name}({', '.join(f'{t.real} {part}' for part in parts)})")
        made = t.op(f"insertelement {t.vector(n)} {made}, {t.real} {value}, i32 {lane}")
    return made


_ARITHMETIC = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv"}
_TESTS = {"eq": "oeq", "gt": "ogt", "lt": "olt", "ge": "oge", "le": "ole", "ne": "une"}
_INTRINSIC = {"abs": "fabs", "sqrt": "sqrt", "floor": "floor", "ceil": "ceil", "round": "roundeven", "trunc": "trunc"}
_MADE = {"exp": _exp, "tanh": _tanh, "sigmoid": _sigmoid, "log": _log, "log1p": _log1p}


def elementwise(t: Text, op: str, args: list[str], n: int, boolean: bool) -> str:
    """An element-wise operation of n numbers."""
    kind, truth = t.vector(n), f"<{n} x i1>"
    if op in _ARITHMETIC:
        return t.arithmetic(_ARITHMETIC[op], args[0], args[1], n)
    if op in _TESTS:
        return t.op(f"fcmp {_TESTS[op]} {kind} {args[0]}, {args[1]}")
    if op in _INTRINSIC:
        return t.call(_INTRINSIC[op], n, *args)
    if op in _MADE:
        return _MADE[op](t, args[0], n)
    if op in ("max", "min"):
        # b where it is no number, a where that is none
        a, b = args
        better = t.op(f"fcmp {'ogt' if op == 'max' else 'olt'} {kind} {a}, {b}")
        broken = t.op(f"fcmp uno {kind} {a}, {a}")
        either = t.op(f"or {truth} {better}, {broken}")
        return t.op(f"select {truth} {either}, {kind} {a}, {kind} {b}")
    if op in ("and", "or", "xor"):
        return t.op(f"{op} {truth} {args[0]}, {args[1]}")
    if op == "not":
        return t.op(f"xor {truth} {args[0]}, <{', '.join(['i1 true'] * n)}>")
    if op == "where":
        kind = truth if boolean else kind
        return t.op(f"select {truth} {args[0]}, {kind} {args[1]}, {kind} {args[2]}")
    if op == "neg":
        return t.op(f"fneg {kind} {args[0]}")
    if op == "spread":
        return args[0]
    return _from_library(t, op, args, n)
